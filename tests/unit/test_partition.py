"""The answers to a lease decide what a worker may do in a partition, and a stop releases what it has read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headrace import ServerError, ServerUnreachable
from headrace.calls.call import Call
from headrace_worker.dispatch.dispatcher import Dispatcher
from headrace_worker.dispatch.route_table import RouteTable
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.partition import Partition
from headrace_worker.protocol.leases import Fenced, Renewed
from headrace_worker.run.quarantine import Quarantine
from headrace_worker.run.settler import Settler
from tests.support.scripted_server import ScriptedServer, member_over, name_of

LEADS = Renewed(is_leader=True, may_dispatch=True, version="1", next_ms=1, expired=[], dead=[], now_ms=1)
FOLLOWS = Renewed(is_leader=False, may_dispatch=False, version="1", next_ms=1, expired=[], dead=[], now_ms=1)


class _Server(ScriptedServer):
    """Has pending entries of `events` until they are released, and keeps what was asked in order."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.asked: list[str] = []
        self.held = 0

    def _answer(self, call: Call[Any]) -> Any:
        self.asked.append(name_of(call))
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
    """Has nothing to execute, and keeps the calls of `end_all`."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, int | None, str | None]] = []

    def end_all(self, cause: str, partition: int | None = None, name: str | None = None) -> None:
        self.ended.append((cause, partition, name))


class _Setup:
    """A partition that has not started, over a server that only answers."""

    def __init__(self) -> None:
        self.server = _Server()
        self.member = member_over(self.server)
        self.identity = self.member.identity
        self.identity.is_registered.set()
        in_flight, self.executor = InFlight(10), _Executor()
        self.dispatcher = Dispatcher(self.member, RouteTable(self.member.server))
        reader: Any = _Reader(self.server.asked)
        self.dispatcher.reader = reader
        executor: Any = self.executor
        self.partition = Partition(
            self.member, in_flight, Settler(self.member, in_flight), self.dispatcher, executor, Quarantine(in_flight),
            lambda _verdict, _transport: None, lambda: None,
        )  # fmt: skip
        self.partition._readers = (reader,) * 3

    @property
    def rights(self) -> tuple[bool, bool]:
        """Whether it leads, and has a dispatcher slot."""
        return self.identity.is_leader.is_set(), self.identity.may_dispatch.is_set()


async def test_rights_are_what_the_last_answer_says() -> None:
    """Both come and go with it."""
    setup = _Setup()
    for answer, rights in ((LEADS, (True, True)), (FOLLOWS, (False, False)), (LEADS, (True, True))):
        setup.partition._on_lease_answer(setup.identity.name, answer)
        assert setup.rights == rights


async def test_only_answers_for_a_registered_name_give_rights() -> None:
    """It was on its way while a new name was taken, which may neither dispatch nor lead before it is registered."""
    setup = _Setup()
    setup.partition._on_lease_answer("another", LEADS)
    setup.partition._on_lease_answer("another", Fenced())
    setup.identity.is_registered.clear()
    setup.partition._on_lease_answer(setup.identity.name, LEADS)
    setup.partition._on_lease_answer(setup.identity.name, Fenced())
    assert setup.rights == (False, False)
    assert setup.executor.ended == []


async def test_what_was_known_of_due_is_forgotten_with_the_leadership() -> None:
    """Another leader has moved some of it since, and only the leader is woken."""
    setup = _Setup()
    promoter = setup.partition._promoter
    promoter._look_at = 1e12
    setup.partition._on_lease_answer(setup.identity.name, FOLLOWS)
    assert promoter._look_at == 0


async def test_a_fenced_worker_ends_its_reads_before_a_new_lease() -> None:
    """What an open read gets under the old name would stay pending for no worker; the name's runs are cancelled."""
    setup = _Setup()
    old = setup.identity.name
    setup.partition._on_lease_answer(old, Fenced())
    renaming = setup.partition._renaming
    assert renaming is not None
    await asyncio.wait_for(renaming, 20)
    assert setup.executor.ended == [("released", 0, old)]
    assert setup.server.asked == ["end of a read"] * 3 + ["divide", "register"]
    assert setup.identity.name != old
    assert setup.identity.is_registered.is_set()


async def never_end() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ServerError("no")


async def test_a_failed_batch_fails_its_loop() -> None:
    """So that it looks at pending entries, whatever came of the next read."""
    setup = _Setup()
    setup.identity.may_dispatch.set()
    setup.dispatcher._under_way = asyncio.ensure_future(fail())
    with pytest.raises(ServerError):
        await setup.dispatcher.tick()


async def test_pending_events_are_released_at_a_stop() -> None:
    """All of them, whether or not the batch that was under way could be dispatched."""
    setup = _Setup()
    setup.server.held = 2

    setup.dispatcher._under_way = asyncio.ensure_future(fail())
    await setup.dispatcher.end()
    assert setup.server.asked == ["XREADGROUP", "release", "XREADGROUP"]
    assert setup.server.held == 0


async def test_a_batch_under_way_is_broken_off_with_the_lease() -> None:
    """A stop that is itself broken off leaves nothing behind that goes on dispatching."""
    setup = _Setup()
    batch = setup.dispatcher._under_way = asyncio.ensure_future(never_end())
    await asyncio.wait_for(setup.dispatcher.break_off(), 20)
    assert batch.cancelled()


@pytest.mark.parametrize("why", ["failed", "a connection is new"])
async def test_a_dispatcher_checks_pending_entries_before_it_reads(why: str) -> None:
    """The server may have delivered entries in a lost reply, or may be back with older data."""
    setup = _Setup()
    setup.identity.may_dispatch.set()
    await setup.dispatcher.tick()
    if why == "failed":
        await setup.dispatcher.recover(ServerUnreachable("gone"))
    else:
        setup.member.server.connections += 1
    await setup.dispatcher.tick()
    await setup.dispatcher.tick()
    assert setup.server.asked == ["read", "XREADGROUP", "read", "read"]
