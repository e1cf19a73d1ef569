"""A loop looks at what is pending under its name after a failure and a new connection, and not again after that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.calls.call import Call
from headrace.formats.partitions import Partitions
from headrace_worker import App, WorkerConfig
from headrace_worker.membership.state import WorkerState
from headrace_worker.protocol.reading import events_stream
from headrace_worker.streams.pending import Pending


class _Server:
    """Has one page of one entry."""

    async def run(self, calls: Sequence[Call[Any]]) -> list[Any]:
        return [[(b"1-0", None)] if str(call.args[-1]) == "0" else [] for call in calls]


def a_state() -> WorkerState:
    state = WorkerState(App("app"), Partitions("test"), "redis://localhost:1", WorkerConfig())
    state.commands = _Server()  # type: ignore[assignment]
    return state


async def test_a_look_ends_the_doubt() -> None:
    """Whether it came of a failure or of a new connection."""
    state = a_state()
    pending, stream = Pending(state), events_stream(state.keys)
    doubted = [pending.may_be_unseen]
    for cause in ("failure", "connection"):
        if cause == "failure":
            pending.doubt()
        else:
            state.connections += 1
        doubted.append(pending.may_be_unseen)
        assert [each async for each in pending.look([stream])] == [(stream, [(b"1-0", None)])]
        doubted.append(pending.may_be_unseen)
    assert doubted == [False, True, False, True, False]


async def test_a_connection_made_during_a_look_asks_for_another() -> None:
    """Its server may have older data than what was looked at."""
    state = a_state()
    pending = Pending(state)
    pending.doubt()
    async for _ in pending.look([events_stream(state.keys)]):
        state.connections += 1
    assert pending.may_be_unseen
    assert not pending.is_doubted


async def test_a_look_under_an_old_name_leaves_the_doubt() -> None:
    """What is pending under the new name was not looked at."""
    state = a_state()
    pending = Pending(state)
    pending.doubt()
    async for _ in pending.look([events_stream(state.keys)]):
        state.take_new_name()
    assert pending.may_be_unseen
