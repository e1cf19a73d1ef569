"""Moves pending entries back to their streams, where the server delivers them anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from headrace import HeadraceError
from headrace.calls.call import Call
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.member import Member
from headrace_worker.protocol import rescuing
from headrace_worker.protocol.delivery import WAS_DELETED, Entry, Stream
from headrace_worker.protocol.rescuing import PendingEntry
from headrace_worker.protocol.settling import BadEntry
from headrace_worker.streams.dead_letters import bad_entry, dead_letter
from headrace_worker.streams.isolation import is_refusal, isolate, require_foreign_record

log = get_logger("headrace.worker")


async def requeue(
    member: Member,
    stream: Stream,
    pending: Sequence[PendingEntry],
    call_for: Callable[[Sequence[PendingEntry]], Call[int]],
) -> int:
    """Move entries back to their stream; dead-letter one whose record is not Headrace's.

    Args:
        call_for: makes the call that moves entries.

    Returns:
        How many entries were moved; or the first answer below 0, with which the script refuses to move any.
    """
    server = member.server

    async def move_to_dead(culprit: PendingEntry, error: HeadraceError) -> None:
        bad = _bad_entry(culprit, error, server.keys.event_prefix)
        await require_foreign_record(server, bad.event_id, error)
        await dead_letter(member, stream, bad, log, "entry can't be re-queued and is moved to dead")

    moved, left = 0, deque([pending])
    answer: int | HeadraceError
    while left:
        part = left.popleft()
        (answer,) = await server.commands.run([call_for(part)], partial=True)
        if is_refusal(answer):
            left.extendleft(reversed(await isolate(part, answer, move_to_dead)))
        elif isinstance(answer, HeadraceError):
            raise answer
        elif answer < 0:
            return answer
        else:
            moved += answer
    return moved


async def release(member: Member, stream: Stream, pending: Sequence[PendingEntry]) -> None:
    """Move this worker's own entries back to their stream, with nothing counted."""
    moved = await requeue(member, stream, pending, lambda part: rescuing.release(stream, part))
    member.observer.released(stream, moved)


async def forget_deleted(member: Member, stream: Stream, entries: Sequence[Entry]) -> None:
    """Acknowledge this worker's own entries of canceled runs; dead-letter those that something else has deleted."""
    canceled = await of_canceled_runs(member, stream, [entry for entry in entries if entry[1] is None])
    if canceled:
        await requeue(member, stream, canceled, lambda part: rescuing.release(stream, part))


async def of_canceled_runs(member: Member, stream: Stream, deleted: Sequence[Entry]) -> list[PendingEntry]:
    """Return the deleted entries of canceled runs; dead-letter the others, which something else has deleted."""
    calls = [rescuing.is_canceled(stream, entry.decode()) for entry, _ in deleted]
    marks = await member.server.commands.run(calls) if calls else []
    for entry, is_marked in zip(deleted, marks, strict=True):
        if not is_marked:
            bad = bad_entry(entry, WAS_DELETED)
            await dead_letter(member, stream, bad, log, "entry was deleted and is moved to dead", queue=stream.name)
    return [PendingEntry(entry.decode()) for (entry, _), is_marked in zip(deleted, marks, strict=True) if is_marked]


def _bad_entry(pending: PendingEntry, error: HeadraceError, record_prefix: str) -> BadEntry:
    event_id, job_id = pending.record.removeprefix(record_prefix), pending.job.partition("/")[2]
    return BadEntry(pending.entry, "unreadable", str(error), event_id, job_id, pending.ordering_key)
