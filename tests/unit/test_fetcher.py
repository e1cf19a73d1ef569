"""A run begins once, under the name to which it was delivered, and only while that name's lease holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from headrace import ServerUnreachable
from headrace.calls.call import Call
from headrace.formats.partitions import Partitions
from headrace_worker import App, WorkerConfig, event_trigger
from headrace_worker.membership.in_flight import InFlight, InFlightRun
from headrace_worker.membership.member import Member
from headrace_worker.membership.setup import WorkerSetup
from headrace_worker.protocol.delivery import Delivery, Entry, Stream, decode_delivery
from headrace_worker.protocol.reading import MAX_READ
from headrace_worker.run.fetcher import Fetcher
from headrace_worker.run.quarantine import Quarantine
from headrace_worker.run.settler import Settler
from headrace_worker.streams.pending import pending_entries
from tests.support.scripted_server import ScriptedServer, member_over


async def _nothing() -> None:
    """No run is executed here."""


def _app() -> App:
    app = App("app")
    app.job(id="job", trigger=event_trigger("x"))(_nothing)
    return app


def _entries(first: int, count: int = 1, *, lost: int = 0) -> list[Entry]:
    ids = range(first, first + count)
    state = f"1 {lost} 0 0 0".encode()
    return [(f"{each}-0".encode(), [b"e", b"e%d" % each, b"j", b"job", b"s", state, b"b", b"x"]) for each in ids]


class _Server(ScriptedServer):
    """Has pending entries of each name, and keeps what was asked of it."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.pending: dict[str, list[Entry]] = {}
        self.asked: list[tuple[str, str]] = []
        self.on_own: Callable[[], None] | None = None

    def _answer(self, call: Call[Any]) -> Any:
        if call.script is not None:
            self.asked.append((call.script.name, ""))
            return 0
        name, after, count = str(call.args[3]), str(call.args[-1]), int(call.args[5])
        self.asked.append(("own", name))
        if self.on_own is not None:
            self.on_own()
        behind = [each for each in self.pending.get(name, []) if int(each[0][:-2]) > int(after.partition("-")[0])]
        return behind[:count]


class _Reader:
    """Returns what a test has prepared, read by read, and then blocks for ever."""

    def __init__(self) -> None:
        self.reads: list[Callable[[], list[Entry]]] = []
        self.asked = 0

    async def read(self, _: Call[Any]) -> list[Entry]:
        self.asked += 1
        if not self.reads:
            await asyncio.Event().wait()
        return self.reads.pop(0)()


class _Executor:
    """Adds each run that begins to those in flight."""

    def __init__(self, in_flight: InFlight) -> None:
        self.began: list[tuple[str, str]] = []
        self._in_flight = in_flight

    def start(self, delivery: Delivery, name: str) -> None:
        self.began.append((delivery.event_id, name))
        self._in_flight.take(InFlightRun(delivery, name, 0.0))


class _Setup:
    """A fetcher of one queue, over a server and a reader that only answer."""

    def __init__(self, concurrency: int = 1_000) -> None:
        self.server, self.reader = _Server(), _Reader()
        self.member = member_over(self.server, _app(), concurrency=concurrency, lease=600)
        self.identity = self.member.identity
        self.in_flight = InFlight(concurrency)
        self.executor = _Executor(self.in_flight)
        self.quarantine = Quarantine(self.in_flight)
        settler = Settler(self.member, self.in_flight)
        executor: Any = self.executor
        self.fetcher = Fetcher(self.member, self.in_flight, executor, settler, self.quarantine)
        self.fetcher.reader = self.reader  # type: ignore[assignment]
        self.fetcher._looked = self.fetcher._changes  # at the controls
        self.identity.is_registered.set()
        self.hold_lease()

    def hold_lease(self) -> None:
        """Renew the lease."""
        self.identity.lease_until = time.monotonic() + 600
        self.identity.renewed.set()

    def lose_lease(self) -> None:
        """Let the lease expire, as after a stall of the worker."""
        self.identity.lease_until = time.monotonic() - 1

    async def tick(self) -> None:
        """Let the fetcher's loop tick once."""
        await asyncio.wait_for(self.fetcher.tick(), 20)

    @property
    def began(self) -> list[str]:
        """The events whose runs have begun."""
        return [event for event, _ in self.executor.began]


async def settled(*tasks: asyncio.Task[Any]) -> None:
    """Return when all tasks that can go on have gone on."""
    for _ in range(50):
        await asyncio.sleep(0)
    for task in tasks:
        if task.done():
            task.result()


async def test_what_was_read_begins_only_while_the_lease_surely_holds() -> None:
    """A worker that stood still between its read and the runs' beginning asks first whether it is fenced."""
    setup = _Setup()

    def read_then_stand_still() -> list[Entry]:
        setup.lose_lease()
        return _entries(1)

    setup.reader.reads = [read_then_stand_still]
    tick = asyncio.ensure_future(setup.fetcher.tick())
    await settled(tick)
    assert setup.began == []
    setup.hold_lease()
    await asyncio.wait_for(tick, 20)
    assert setup.began == ["e1"]


async def test_nothing_is_read_unless_the_lease_surely_holds() -> None:
    """Entries that a dead worker reads would be pending under a name without a lease."""
    setup = _Setup()
    setup.reader.reads = [lambda: _entries(1)]
    setup.lose_lease()
    tick = asyncio.ensure_future(setup.fetcher.tick())
    await settled(tick)
    assert setup.reader.asked == 0
    setup.hold_lease()
    await asyncio.wait_for(tick, 20)
    assert setup.began == ["e1"]


async def test_what_was_handed_to_a_name_that_is_fenced_does_not_begin() -> None:
    """It is rescued by others, and executes there."""
    setup = _Setup()

    def read_then_be_fenced() -> list[Entry]:
        setup.identity.take_new_name()
        return _entries(1)

    setup.reader.reads = [read_then_be_fenced]
    await setup.tick()
    assert setup.began == []


async def test_a_name_that_is_not_registered_reads_nothing() -> None:
    """A worker that is fenced while it waits for its lease waits for the new name's lease."""
    setup = _Setup()
    setup.reader.reads = [lambda: _entries(1)]
    setup.lose_lease()
    tick = asyncio.ensure_future(setup.fetcher.tick())
    await settled(tick)
    setup.identity.take_new_name()
    setup.hold_lease()
    await asyncio.wait_for(tick, 20)
    assert setup.reader.asked == 0


async def test_prefetched_runs_of_an_old_name_do_not_begin() -> None:
    """Its entries are pending under the old name."""
    setup = _Setup()
    old = setup.identity.name
    setup.reader.reads = [lambda: _entries(1, MAX_READ), lambda: _entries(500), lambda: _entries(600)]
    await setup.tick()
    await settled()
    assert setup.reader.asked == 2
    setup.identity.take_new_name()
    setup.identity.is_registered.set()
    await setup.tick()
    assert setup.executor.began[MAX_READ:] == [("e600", setup.identity.name)]
    assert {name for _, name in setup.executor.began[:MAX_READ]} == {old}


async def test_a_worker_that_is_quieted_takes_what_it_has_prefetched_and_reads_no_more() -> None:
    """Also if there is nothing in what it has prefetched."""
    setup = _Setup()
    setup.reader.reads = [lambda: _entries(1, MAX_READ), list, lambda: _entries(600)]
    await setup.tick()
    await settled()
    setup.identity.is_quiet = True
    await setup.tick()
    assert setup.reader.asked == 2
    assert len(setup.began) == MAX_READ


async def test_after_a_failure_all_pending_entries_begin_once() -> None:
    """A lost reply may have had many; the known runs in flight go on."""
    setup = _Setup()
    setup.hold_lease()
    setup.reader.reads = [lambda: _entries(1), lambda: _entries(1_000)]
    await setup.tick()
    setup.server.pending[setup.identity.name] = _entries(1, 2 * MAX_READ + 1)
    await setup.fetcher.recover(ServerUnreachable("gone"))
    await setup.tick()
    assert setup.began == [f"e{number}" for number in (*range(1, 2 * MAX_READ + 2), 1_000)]


async def test_a_look_that_ends_under_another_name_is_repeated() -> None:
    """The new name's pending entries are looked at too: a read of its own may have failed before."""
    setup = _Setup()
    await setup.fetcher.recover(ServerUnreachable("gone"))
    old = setup.identity.name

    def be_fenced() -> None:
        setup.server.on_own = None
        setup.identity.take_new_name()
        setup.identity.is_registered.set()

    setup.server.on_own = be_fenced
    setup.reader.reads = [list, list]
    await setup.tick()
    await setup.tick()
    assert setup.server.asked == [("own", old), ("own", setup.identity.name)]


async def test_nothing_is_read_beside_a_quarantined_run() -> None:
    """Until it is settled."""
    setup = _Setup()
    setup.reader.reads = [lambda: _entries(1, lost=2), lambda: _entries(2)]
    await setup.tick()
    assert setup.began == ["e1"]
    tick = asyncio.ensure_future(setup.fetcher.tick())
    await settled(tick)
    assert setup.reader.asked == 1
    (held,) = setup.in_flight.runs.values()
    setup.in_flight.mark_ended(held)
    setup.in_flight.mark_recorded(held)
    await asyncio.wait_for(tick, 20)
    assert setup.began == ["e1", "e2"]


def _delivery(setup: _Setup, number: int, *, lost: int = 0) -> Delivery:
    (entry,) = _entries(number, lost=lost)
    return decode_delivery(setup.member.setup.queues[0], entry)


async def test_nothing_is_fetched_while_a_quarantined_run_waits() -> None:
    """Not in another partition either; what was fetched there already is released."""
    setup = _Setup()
    held = InFlightRun(_delivery(setup, 1), setup.identity.name, 0.0)
    setup.in_flight.take(held)
    last = _delivery(setup, 2, lost=2)
    waiting = asyncio.ensure_future(setup.quarantine.admit(setup.member, [last], setup.identity.name))
    await settled(waiting)
    assert setup.quarantine.is_closed
    second = WorkerSetup.of(_app(), Partitions("test", 2), "redis://localhost:1", WorkerConfig(), partition=1)
    elsewhere = Member.of(second)
    elsewhere.server.commands = setup.server  # type: ignore[assignment]
    assert await setup.quarantine.admit(elsewhere, [_delivery(setup, 3)], setup.identity.name) == []
    assert setup.server.asked == [("release", "")]
    setup.in_flight.mark_ended(held)
    setup.in_flight.mark_recorded(held)
    assert await asyncio.wait_for(waiting, 20) == [last]


@pytest.mark.parametrize("is_alone", [False, True])
async def test_a_fence_ends_the_wait_of_a_quarantined_run(
    is_alone: bool,  # noqa: FBT001
) -> None:
    """Its wait for the runs in flight ends with the name, and fetching goes on."""
    setup = _Setup()
    held = InFlightRun(_delivery(setup, 1), setup.identity.name, 0.0)
    setup.in_flight.take(held)
    waiting = asyncio.ensure_future(
        setup.quarantine.admit(setup.member, [_delivery(setup, 2, lost=2)], setup.identity.name)
    )
    await settled(waiting)
    setup.identity.take_new_name()
    if is_alone:
        setup.in_flight.mark_ended(held)
        setup.in_flight.mark_recorded(held)
    setup.in_flight.notify()
    assert await asyncio.wait_for(waiting, 20) == []
    assert not setup.quarantine.is_closed


@pytest.mark.parametrize("count", [0, 1, MAX_READ, MAX_READ + 1, 3 * MAX_READ])
async def test_pending_entries_are_read_page_by_page(count: int) -> None:
    """However much it is, each entry once."""
    setup = _Setup()
    setup.server.pending["w"] = _entries(1, count)
    stream = Stream("queue", "workers", "wake-up")
    found = [entry async for page in pending_entries(setup.member.server, stream, "w") for entry in page]
    assert found == setup.server.pending["w"]
