"""What leaves a worker's hands without an outcome: back to its stream for others, or aside in `dead` for a person."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker import protocol
from headrace_worker.delivery import Stream
from headrace_worker.protocol import BadEntry, HeldEntry
from headrace_worker.state import WorkerState


async def release(state: WorkerState, stream: Stream, held: Sequence[HeldEntry]) -> None:
    """This worker's own entries are back in their stream, with nothing counted."""
    (moved,) = await state.commands.run([protocol.release(stream, held)])
    state.observer.released(stream, moved)


async def bury(state: WorkerState, stream: Stream, bad: BadEntry) -> None:
    """The entry is in `dead` as it is, unless it was not there any more."""
    (is_buried,) = await state.commands.run([protocol.bury(state.keys, stream, bad, state.config.retention)])
    if is_buried:
        state.observer.buried(stream, bad)
