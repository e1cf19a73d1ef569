"""What a worker hears of its lease decides what it may do in a partition, and a stop gives back what it has read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from headrace import ServerError, ServerUnreachable
from headrace.calls.call import Call
from headrace.formats.partitions import Partitions
from headrace_worker import App, WorkerConfig
from headrace_worker.dispatch.dispatcher import Dispatcher
from headrace_worker.dispatch.route_table import RouteTable
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.state import WorkerState
from headrace_worker.partition import Partition
from headrace_worker.protocol.leases import Fenced, Renewed
from headrace_worker.run.quarantine import Quarantine
from headrace_worker.run.settler import Settler

LEADS = Renewed(is_leader=True, may_dispatch=True, version="1", next_ms=1, expired=[], dead=[], now_ms=1)
FOLLOWS = Renewed(is_leader=False, may_dispatch=False, version="1", next_ms=1, expired=[], dead=[], now_ms=1)


class _Server:
    """Has entries of `events` in the worker's hands until they are released, and keeps what was asked in its order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held = 0
        self.fault: Exception | None = None

    async def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:  # noqa: ARG002 - all answer
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call[Any]) -> Any:
        self.asked.append(call.script.name if call.script else str(call.args[0]))
        if self.asked[-1] == "release":
            self.held = 0
        if self.asked[-1] == "XREADGROUP":
            after = int(str(call.args[-1]).partition("-")[0])
            return [(f"{entry}-0".encode(), None) for entry in range(after + 1, self.held + 1)]
        return 1


class _Reader:
    """A blocked read that can be ended."""

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    async def read(self, _: Call[Any]) -> list[Any]:
        self._asked.append("read")
        return []

    async def end(self) -> None:
        self._asked.append("end of a read")


class _Executor:
    """Has nothing to execute, and keeps what it was told."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, int | None, str | None]] = []

    def end_all(self, cause: str, partition: int | None = None, name: str | None = None) -> None:
        self.ended.append((cause, partition, name))


class _Scene:
    """A partition that has not started, over a server that only answers."""

    def __init__(self) -> None:
        self.state = WorkerState(App("app"), Partitions("test"), "redis://localhost:1", WorkerConfig())
        self.state.commands = self.server = _Server()  # type: ignore[assignment]
        self.state.is_registered.set()
        in_flight, self.executor = InFlight(10), _Executor()
        self.dispatcher = Dispatcher(self.state, RouteTable(self.state))
        reader: Any = _Reader(self.server.asked)
        self.dispatcher.reader = reader
        executor: Any = self.executor
        self.partition = Partition(
            self.state, in_flight, Settler(self.state, in_flight), self.dispatcher, executor, Quarantine(in_flight),
            lambda _verdict, _transport: None,
        )  # fmt: skip
        self.partition._readers = (reader,) * 3

    @property
    def rights(self) -> tuple[bool, bool]:
        """Whether it leads, and has a dispatcher slot."""
        return self.state.is_leader.is_set(), self.state.may_dispatch.is_set()


async def test_rights_are_what_the_last_answer_says() -> None:
    """Both come and go with it."""
    scene = _Scene()
    for answer, rights in ((LEADS, (True, True)), (FOLLOWS, (False, False)), (LEADS, (True, True))):
        scene.partition._on_lease_answer(scene.state.name, answer)
        assert scene.rights == rights


async def test_an_answer_for_another_name_or_one_without_a_lease_gives_no_rights() -> None:
    """It was on its way while a new name was taken, which may neither dispatch nor lead before it is registered."""
    scene = _Scene()
    scene.partition._on_lease_answer("another", LEADS)
    scene.partition._on_lease_answer("another", Fenced())
    scene.state.is_registered.clear()
    scene.partition._on_lease_answer(scene.state.name, LEADS)
    scene.partition._on_lease_answer(scene.state.name, Fenced())
    assert scene.rights == (False, False)
    assert scene.executor.ended == []


async def test_what_was_known_of_due_is_forgotten_with_the_leadership() -> None:
    """Another leader has moved some of it since, and nobody wakes who does not lead."""
    scene = _Scene()
    promoter = scene.partition._promoter
    promoter._look_at = 1e12
    scene.partition._on_lease_answer(scene.state.name, FOLLOWS)
    assert promoter._look_at == 0


async def test_a_fenced_worker_ends_its_reads_before_it_has_a_new_lease() -> None:
    """What an open read is handed under the old name is in the hands of nobody; its runs are told to end."""
    scene = _Scene()
    old = scene.state.name
    scene.partition._on_lease_answer(old, Fenced())
    renaming = scene.partition._renaming
    assert renaming is not None
    await asyncio.wait_for(renaming, 20)
    assert scene.executor.ended == [("released", 0, old)]
    assert scene.server.asked == ["end of a read"] * 3 + ["divide", "register"]
    assert scene.state.name != old
    assert scene.state.is_registered.is_set()


async def never_end() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ServerError("no")


async def test_a_batch_that_failed_is_told_to_its_loop() -> None:
    """So that it looks at what is in hand, whatever came of the next read."""
    scene = _Scene()
    scene.state.may_dispatch.set()
    scene.dispatcher._under_way = asyncio.ensure_future(fail())
    with pytest.raises(ServerError):
        await scene.dispatcher.tick()


async def test_events_that_are_left_in_hand_at_a_stop_go_back() -> None:
    """All of them, whether or not the batch that was under way could be dispatched."""
    scene = _Scene()
    scene.server.held = 2

    scene.dispatcher._under_way = asyncio.ensure_future(fail())
    await scene.dispatcher.end()
    assert scene.server.asked == ["XREADGROUP", "release", "XREADGROUP"]
    assert scene.server.held == 0


async def test_a_batch_under_way_is_broken_off_with_the_lease() -> None:
    """A stop that is itself broken off leaves nothing behind that goes on dispatching."""
    scene = _Scene()
    batch = scene.dispatcher._under_way = asyncio.ensure_future(never_end())
    await asyncio.wait_for(scene.dispatcher.break_off(), 20)
    assert batch.cancelled()


@pytest.mark.parametrize("why", ["failed", "a connection is new"])
async def test_a_dispatcher_looks_at_its_hands_before_it_reads_on(why: str) -> None:
    """The server may have put more into them than it has told, or may be back with older data."""
    scene = _Scene()
    scene.state.may_dispatch.set()
    await scene.dispatcher.tick()
    if why == "failed":
        await scene.dispatcher.recover(ServerUnreachable("gone"))
    else:
        scene.state.connections += 1
    await scene.dispatcher.tick()
    await scene.dispatcher.tick()
    assert scene.server.asked == ["read", "XREADGROUP", "read", "read"]
