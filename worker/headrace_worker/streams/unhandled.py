"""What leaves a worker's hands without an outcome: back to its stream for others, or aside in `dead` for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace import HeadraceError
from headrace.calls.call import Call
from headrace_worker import protocol
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.state import WorkerState
from headrace_worker.protocol import BadEntry, HeldEntry
from headrace_worker.protocol.delivery import Stream
from headrace_worker.streams.reader import has_foreign_record, is_refusal

log = get_logger("headrace.worker")


async def put_back(
    state: WorkerState, stream: Stream, held: Sequence[HeldEntry], ask: Callable[[Sequence[HeldEntry]], Call[int]]
) -> int:
    """Returns how many entries are back, or what else the script answers, which is less than 0 then.

    Entries that are refused for their content are halved until the culprit is alone, and that one is in `dead`.

    Args:
        ask: makes the call that puts entries back.
    """
    answer: int | HeadraceError = (await state.commands.run([ask(held)], partial=True))[0]
    if not isinstance(answer, HeadraceError):
        return answer
    if not is_refusal(answer) or not held:
        raise answer
    if len(held) > 1:
        half = len(held) // 2
        moved = await put_back(state, stream, held[:half], ask)
        return moved if moved < 0 else moved + await put_back(state, stream, held[half:], ask)
    event_id, job_id = held[0].record.removeprefix(state.keys.event_prefix), held[0].job.partition("/")[2]
    if not await has_foreign_record(state, event_id):
        raise answer
    log.error("entry can't be put back and is set aside in dead", entry=held[0].entry, error=str(answer))
    await bury(
        state, stream, BadEntry(held[0].entry, "unreadable", str(answer), event_id, job_id, held[0].ordering_key)
    )
    return 0


async def release(state: WorkerState, stream: Stream, held: Sequence[HeldEntry]) -> None:
    """This worker's own entries are back in their stream, with nothing counted."""
    moved = await put_back(state, stream, held, lambda part: protocol.release(stream, part))
    state.observer.released(stream, moved)


async def bury(state: WorkerState, stream: Stream, bad: BadEntry) -> None:
    """The entry is in `dead` as it is, unless it was not there any more."""
    (is_buried,) = await state.commands.run([protocol.bury(state.keys, stream, bad, state.config.retention)])
    if is_buried:
        state.observer.buried(stream, bad)
