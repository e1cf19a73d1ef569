"""Finds undispatched events that precede a given one in its ordering key, whichever worker has read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from headrace import HeadraceError, UndecodableEvent
from headrace.formats.codec import decode_event
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.server import ServerAccess
from headrace_worker.protocol import dispatching, reading
from headrace_worker.protocol.delivery import EventEntry
from headrace_worker.streams.isolation import is_refusal

log = get_logger("headrace.dispatcher")

_MOST = 500
"""How many events of an ordering key are read at once."""
_NO_ENTRY = "0-0"
"""Stands for the entry of an event that another worker may have read; that worker then finds the event dispatched."""


async def earlier_events(server: ServerAccess, behind: Sequence[EventEntry]) -> list[EventEntry]:
    """Return the undispatched events that precede these in the orders of their keys, read from their records.

    An unreadable event leaves the order, as it is never dispatched; the worker that has the entry dead-letters it.
    """
    firsts: dict[str, str] = {}
    for entry in behind:
        firsts.setdefault(entry.ordering_key, entry.event_id)
    orders = await server.commands.run([dispatching.read_order(server.keys, key, _MOST) for key in firsts])
    earlier = [
        (key, event_id)
        for (key, first), order in zip(firsts.items(), orders, strict=True)
        for event_id in takewhile(first.__ne__, order)
    ]
    calls = [reading.read_body(server.keys, event_id) for _, event_id in earlier]
    bodies = await server.commands.run(calls, partial=True)
    events: list[EventEntry] = []
    for (key, event_id), body in zip(earlier, bodies, strict=True):
        if isinstance(body, HeadraceError) and not is_refusal(body):
            raise body
        try:
            events.append(_event(key, event_id, body))
        except UndecodableEvent as exc:
            log.warning("event can't be read and lets its ordering key go", event_id=event_id, error=str(exc))
            await server.commands.run([dispatching.leave_order(server.keys, key, event_id)])
    return events


def _event(ordering_key: str, event_id: str, body: bytes | HeadraceError | None) -> EventEntry:
    if not isinstance(body, bytes):
        why = "is gone" if body is None else f"can't be read: {body}"
        raise UndecodableEvent(f"its record {why}")
    return EventEntry(_NO_ENTRY, event_id, len(body), decode_event(body), ordering_key)
