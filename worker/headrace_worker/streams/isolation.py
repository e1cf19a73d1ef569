"""Finds the one entry whose content makes the server refuse a whole batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeGuard, TypeVar

from headrace import HeadraceError, ServerError
from headrace_worker.membership.server import ServerAccess
from headrace_worker.protocol import reading

T = TypeVar("T")


async def isolate(
    batch: Sequence[T], error: HeadraceError, dead_letter: Callable[[T, HeadraceError], Awaitable[None]]
) -> list[Sequence[T]]:
    """Return the parts of a refused batch that are still to be sent: its halves, or none once the culprit is alone.

    The caller sends the halves in their order, before anything else, and isolates each half that is refused again.

    Args:
        error: why the batch was refused; no outage, as that is no entry's fault.
        dead_letter: receives the culprit and why the server refused it.

    Raises:
        HeadraceError: the error, if the batch is empty: then no entry is the culprit.
    """
    if not batch:
        raise error
    if len(batch) > 1:
        half = len(batch) // 2
        return [batch[:half], batch[half:]]
    await dead_letter(batch[0], error)
    return []


def is_refusal(answer: object) -> TypeGuard[ServerError]:
    """Return whether the server refused a call for its content: no outage, and no missing right."""
    return type(answer) is ServerError


async def require_foreign_record(server: ServerAccess, event_id: str, error: HeadraceError) -> None:
    """Raise the refusal of a call again, unless the event's record is its cause.

    The server refuses every script that touches a record which another program has overwritten.
    """
    (answer,) = await server.commands.run([reading.read_body(server.keys, event_id)], partial=True)
    if not is_refusal(answer):
        raise error
