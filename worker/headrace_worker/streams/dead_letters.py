"""Moves entries that can't be handled to `dead`, for a person to look at."""

from __future__ import annotations

from headrace_worker.logs.logger import SafeLogger
from headrace_worker.membership.member import Member
from headrace_worker.protocol import settling
from headrace_worker.protocol.delivery import Delivery, Entry, EventEntry, Stream, named_by
from headrace_worker.protocol.settling import BadEntry


async def dead_letter(
    member: Member, stream: Stream, bad: BadEntry, log: SafeLogger | None = None, line: str = "", **facts: str
) -> None:
    """Move an entry to `dead` as it is, unless it is not pending any more.

    Args:
        log: gets an error line with this text, the entry, the error and the facts, before anything is moved.
    """
    if log is not None:
        log.error(line, **facts, entry=bad.entry, error=bad.error)
    server = member.server
    call = settling.dead_letter(server.keys, stream, bad, member.setup.config.retention)
    (is_moved,) = await server.commands.run([call])
    if is_moved:
        member.observer.dead_lettered(stream, bad)


def bad_entry(entry: Entry, error: object) -> BadEntry:
    """Return the dead letter of an entry that can't be decoded, with the names in it that can be read."""
    return BadEntry(entry[0].decode(), "unreadable", str(error), *named_by(entry))


def bad_event(event: EventEntry, error: object) -> BadEntry:
    """Return the dead letter of an event that can't be dispatched."""
    return BadEntry(event.entry, "unreadable", str(error), event.event_id, ordering_key=event.ordering_key)


def bad_delivery(delivery: Delivery, error: object, reason: str = "unreadable") -> BadEntry:
    """Return the dead letter of a run whose entry can't be handled."""
    event_id, job_id, ordering_key = delivery.event_id, delivery.job_id, delivery.ordering_key
    return BadEntry(delivery.entry, reason, str(error), event_id, job_id, ordering_key)
