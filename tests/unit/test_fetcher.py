"""What a worker has read begins once, under the name that it was handed to, and only while that name's lease holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from headrace import ServerUnreachable
from headrace.calls.call import Call
from headrace.formats.partitions import Partitions
from headrace_worker import App, WorkerConfig, event_trigger
from headrace_worker.membership.in_flight import InFlight, InFlightRun
from headrace_worker.membership.state import WorkerState
from headrace_worker.protocol.delivery import Delivery, Entry, Stream, decode_delivery
from headrace_worker.protocol.reading import MAX_READ
from headrace_worker.run.fetcher import Fetcher
from headrace_worker.run.quarantine import Quarantine
from headrace_worker.run.settler import Settler
from headrace_worker.streams.pending import pending_entries


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


class _Server:
    """Has entries that are in a name's hands, and keeps what was asked of it."""

    def __init__(self) -> None:
        self.hands: dict[str, list[Entry]] = {}
        self.asked: list[tuple[str, str]] = []
        self.on_own: Callable[[], None] | None = None

    async def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:  # noqa: ARG002 - all answer
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call[Any]) -> Any:
        if call.script is not None:
            self.asked.append((call.script.name, ""))
            return 0
        name, after, count = str(call.args[3]), str(call.args[-1]), int(call.args[5])
        self.asked.append(("own", name))
        if self.on_own is not None:
            self.on_own()
        behind = [each for each in self.hands.get(name, []) if int(each[0][:-2]) > int(after.partition("-")[0])]
        return behind[:count]


class _Reader:
    """Gives what a test has laid out, read by read, and then nothing for ever."""

    def __init__(self) -> None:
        self.reads: list[Callable[[], list[Entry]]] = []
        self.asked = 0

    async def read(self, _: Call[Any]) -> list[Entry]:
        self.asked += 1
        if not self.reads:
            await asyncio.Event().wait()
        return self.reads.pop(0)()


class _Executor:
    """Takes what is to begin into the hand."""

    def __init__(self, in_flight: InFlight) -> None:
        self.began: list[tuple[str, str]] = []
        self._in_flight = in_flight

    def start(self, delivery: Delivery, name: str) -> None:
        self.began.append((delivery.event_id, name))
        self._in_flight.take(InFlightRun(delivery, name, 0.0))


class _Scene:
    """A fetcher of one queue, over a server and a reader that only answer."""

    def __init__(self, concurrency: int = 1_000) -> None:
        config = WorkerConfig(concurrency=concurrency, lease=600)
        self.state = WorkerState(_app(), Partitions("test"), "redis://localhost:1", config)
        self.server, self.reader = _Server(), _Reader()
        self.state.commands = self.server  # type: ignore[assignment]
        self.in_flight = InFlight(concurrency)
        self.executor = _Executor(self.in_flight)
        self.quarantine = Quarantine(self.in_flight)
        settler = Settler(self.state, self.in_flight)
        executor: Any = self.executor
        self.fetcher = Fetcher(self.state, self.in_flight, executor, settler, self.quarantine)
        self.fetcher.reader = self.reader  # type: ignore[assignment]
        self.state.is_registered.set()
        self.hold_lease()

    def hold_lease(self) -> None:
        """The lease has been renewed."""
        self.state.lease_until = time.monotonic() + 600
        self.state.renewed.set()

    def lose_lease(self) -> None:
        """The worker has stood still for so long that its lease may have run out."""
        self.state.lease_until = time.monotonic() - 1

    async def tick(self) -> None:
        """The fetcher's loop goes round once."""
        await asyncio.wait_for(self.fetcher.tick(), 20)

    @property
    def began(self) -> list[str]:
        """The events whose runs have begun."""
        return [event for event, _ in self.executor.began]


async def settled(*tasks: asyncio.Task[Any]) -> None:
    """Whatever can happen without anyone's doing has happened."""
    for _ in range(50):
        await asyncio.sleep(0)
    for task in tasks:
        if task.done():
            task.result()


async def test_what_was_read_begins_only_while_the_lease_surely_holds() -> None:
    """A worker that stood still between its read and the runs' beginning asks first whether it is fenced."""
    scene = _Scene()

    def read_then_stand_still() -> list[Entry]:
        scene.lose_lease()
        return _entries(1)

    scene.reader.reads = [read_then_stand_still]
    tick = asyncio.ensure_future(scene.fetcher.tick())
    await settled(tick)
    assert scene.began == []
    scene.hold_lease()
    await asyncio.wait_for(tick, 20)
    assert scene.began == ["e1"]


async def test_nothing_is_read_unless_the_lease_surely_holds() -> None:
    """What a dead worker reads would be in the hands of nobody."""
    scene = _Scene()
    scene.reader.reads = [lambda: _entries(1)]
    scene.lose_lease()
    tick = asyncio.ensure_future(scene.fetcher.tick())
    await settled(tick)
    assert scene.reader.asked == 0
    scene.hold_lease()
    await asyncio.wait_for(tick, 20)
    assert scene.began == ["e1"]


async def test_what_was_handed_to_a_name_that_is_fenced_does_not_begin() -> None:
    """It is rescued by others, and executes there."""
    scene = _Scene()

    def read_then_be_fenced() -> list[Entry]:
        scene.state.take_new_name()
        return _entries(1)

    scene.reader.reads = [read_then_be_fenced]
    await scene.tick()
    assert scene.began == []


async def test_a_name_that_is_not_registered_reads_nothing() -> None:
    """A worker that hears of its death while it waits for its lease waits for the new name's."""
    scene = _Scene()
    scene.reader.reads = [lambda: _entries(1)]
    scene.lose_lease()
    tick = asyncio.ensure_future(scene.fetcher.tick())
    await settled(tick)
    scene.state.take_new_name()
    scene.hold_lease()
    await asyncio.wait_for(tick, 20)
    assert scene.reader.asked == 0


async def test_what_was_read_ahead_under_an_old_name_does_not_begin_under_the_new_one() -> None:
    """Its entries are in the hands of the old name."""
    scene = _Scene()
    old = scene.state.name
    scene.reader.reads = [lambda: _entries(1, MAX_READ), lambda: _entries(500), lambda: _entries(600)]
    await scene.tick()
    await settled()
    assert scene.reader.asked == 2
    scene.state.take_new_name()
    scene.state.is_registered.set()
    await scene.tick()
    assert scene.executor.began[MAX_READ:] == [("e600", scene.state.name)]
    assert {name for _, name in scene.executor.began[:MAX_READ]} == {old}


async def test_after_a_failure_all_pages_of_what_is_in_hand_begin_once() -> None:
    """A reply that was lost may have had many; what is known to be in hand goes on."""
    scene = _Scene()
    scene.hold_lease()
    scene.reader.reads = [lambda: _entries(1), lambda: _entries(1_000)]
    await scene.tick()
    scene.server.hands[scene.state.name] = _entries(1, 2 * MAX_READ + 1)
    await scene.fetcher.recover(ServerUnreachable("gone"))
    await scene.tick()
    assert scene.began == [f"e{number}" for number in (*range(1, 2 * MAX_READ + 2), 1_000)]


async def test_a_look_that_ends_under_another_name_is_repeated() -> None:
    """The new name's hands are looked at too: a read of its own may have failed before."""
    scene = _Scene()
    await scene.fetcher.recover(ServerUnreachable("gone"))
    old = scene.state.name

    def be_fenced() -> None:
        scene.server.on_own = None
        scene.state.take_new_name()
        scene.state.is_registered.set()

    scene.server.on_own = be_fenced
    scene.reader.reads = [list, list]
    await scene.tick()
    await scene.tick()
    assert scene.server.asked == [("own", old), ("own", scene.state.name)]


async def test_nothing_is_read_beside_a_run_on_its_last_life() -> None:
    """Until it is settled."""
    scene = _Scene()
    scene.reader.reads = [lambda: _entries(1, lost=2), lambda: _entries(2)]
    await scene.tick()
    assert scene.began == ["e1"]
    tick = asyncio.ensure_future(scene.fetcher.tick())
    await settled(tick)
    assert scene.reader.asked == 1
    (held,) = scene.in_flight.runs.values()
    scene.in_flight.mark_ended(held)
    scene.in_flight.mark_recorded(held)
    await asyncio.wait_for(tick, 20)
    assert scene.began == ["e1", "e2"]


def _delivery(scene: _Scene, number: int, *, lost: int = 0) -> Delivery:
    (entry,) = _entries(number, lost=lost)
    return decode_delivery(scene.state.queues[0], entry)


async def test_nothing_is_fetched_while_a_run_on_its_last_life_waits_for_empty_hands() -> None:
    """Not in another partition either; what came there already is given back."""
    scene = _Scene()
    held = InFlightRun(_delivery(scene, 1), scene.state.name, 0.0)
    scene.in_flight.take(held)
    last = _delivery(scene, 2, lost=2)
    waiting = asyncio.ensure_future(scene.quarantine.admit(scene.state, [last], scene.state.name))
    await settled(waiting)
    assert scene.quarantine.is_closed
    elsewhere = WorkerState(_app(), Partitions("test", 2), "redis://localhost:1", WorkerConfig(), partition=1)
    elsewhere.commands = scene.server  # type: ignore[assignment]
    assert await scene.quarantine.admit(elsewhere, [_delivery(scene, 3)], scene.state.name) == []
    assert scene.server.asked == [("release", "")]
    scene.in_flight.mark_ended(held)
    scene.in_flight.mark_recorded(held)
    assert await asyncio.wait_for(waiting, 20) == [last]


@pytest.mark.parametrize("is_alone", [False, True])
async def test_a_run_on_its_last_life_that_was_handed_to_a_fenced_name_does_not_begin(
    is_alone: bool,  # noqa: FBT001
) -> None:
    """Its wait for empty hands ends with the name, and keeps nobody from fetching."""
    scene = _Scene()
    held = InFlightRun(_delivery(scene, 1), scene.state.name, 0.0)
    scene.in_flight.take(held)
    waiting = asyncio.ensure_future(
        scene.quarantine.admit(scene.state, [_delivery(scene, 2, lost=2)], scene.state.name)
    )
    await settled(waiting)
    scene.state.take_new_name()
    if is_alone:
        scene.in_flight.mark_ended(held)
        scene.in_flight.mark_recorded(held)
    scene.in_flight.notify()
    assert await asyncio.wait_for(waiting, 20) == []
    assert not scene.quarantine.is_closed


@pytest.mark.parametrize("count", [0, 1, MAX_READ, MAX_READ + 1, 3 * MAX_READ])
async def test_all_of_a_hand_is_read_page_by_page(count: int) -> None:
    """However much it is, each entry once."""
    scene = _Scene()
    scene.server.hands["w"] = _entries(1, count)
    stream = Stream("queue", "workers", "wake-up")
    found = [entry async for page in pending_entries(scene.state, stream, "w") for entry in page]
    assert found == scene.server.hands["w"]
