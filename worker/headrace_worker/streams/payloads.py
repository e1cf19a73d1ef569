"""Loads encoded events that are only in their records: many in one round trip, but at most 8 MB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headrace import HeadraceError
from headrace_worker.membership.server import ServerAccess
from headrace_worker.protocol import reading
from headrace_worker.streams.isolation import is_refusal

MAX_LOADED_BYTES = 8_388_608


async def load_payloads(server: ServerAccess, sizes: Mapping[str, int]) -> dict[str, bytes | str]:
    """Return each encoded event by its id; for one that can't be loaded, the reason in words.

    Args:
        sizes: the bytes of each encoded event, by its id, as its entry says.
    """
    found: dict[str, bytes | str] = {}
    for event_ids in _groups(sizes):
        calls = [reading.read_body(server.keys, event_id) for event_id in event_ids]
        for event_id, body in zip(event_ids, await server.commands.run(calls, partial=True), strict=True):
            if isinstance(body, HeadraceError) and not is_refusal(body):
                raise body
            found[event_id] = body if isinstance(body, bytes) else _reason(body)
    return found


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    group: list[str] = []
    total = 0
    for event_id, size in sizes.items():
        if group and total + size > MAX_LOADED_BYTES:
            yield group
            group, total = [], 0
        group.append(event_id)
        total += size
    if group:
        yield group


def _reason(body: HeadraceError | None) -> str:
    why = "and the record is gone" if body is None else f"which can't be read: {body}"
    return f"the event's payload was only in its record, {why}"
