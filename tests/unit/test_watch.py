"""A worker that does not work is found, and nothing that is as it should be is taken for that. Time is the test's."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from headrace import ServerError
from headrace.formats.codec import RunState
from headrace.formats.keys import Keys
from headrace_worker import WorkerConfig
from headrace_worker.membership import watch as watches
from headrace_worker.membership.in_flight import InFlight, InFlightRun, Stage
from headrace_worker.membership.watch import Pulse, Verdict, Watch
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.tasks.guard import Guard

LEASE_S, STALL_S, GRACE_S = 10.0, 40.0, 30.0


class _Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class _Scene:
    """A worker of two slots, whose loops and runs are what a test makes of them."""

    def __init__(self, clock: _Clock) -> None:
        self.clock = clock
        self.guard = Guard()
        self.in_flight = InFlight(2)
        self.watch = Watch(WorkerConfig(lease=LEASE_S, grace=GRACE_S), self.in_flight, self.guard)
        self.pulse, self.always = Pulse("fetcher"), Pulse("registration")
        self.always.rest()
        self.watch.start([self.pulse], self.always)
        self.renewed_since: float | None = clock.now

    def pass_time(self, seconds: float, *, turning: bool = True, beating: bool = False) -> None:
        """So much time passes, and the event loop turns meanwhile, if it does."""
        self.clock.now += seconds
        if turning:
            self.watch._moved_at = self.clock.now
        if beating:
            self.pulse.beat()

    def judge(self) -> Verdict:
        return self.watch.judge(self.renewed_since)

    def hold(self, **changes: Any) -> InFlightRun:
        """A run is in hand since now."""
        queue = reading.queue_stream(Keys("test"), "app", "default")
        number = len(self.in_flight.runs)
        held = InFlightRun(
            Delivery(queue, f"{number}-0", f"e{number}", "job", RunState(), None, 0), "w", self.clock.now
        )
        self.in_flight.take(held)
        for name, value in changes.items():
            setattr(held, name, value)
        return held


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> _Scene:
    clock = _Clock()
    monkeypatch.setattr(watches, "monotonic", clock.monotonic)
    return _Scene(clock)


async def test_a_standstill_of_the_event_loop_is_remembered_for_a_while(scene: _Scene) -> None:
    """As long as a call may take that was on its way then; what is shorter than a second says nothing."""
    assert scene.watch.stood_lately_s == 0
    scene.clock.now += LEASE_S / 12 + 0.9
    scene.watch._mark_movement()
    assert scene.watch.stood_lately_s == 0
    scene.clock.now += LEASE_S / 12 + 3
    assert scene.watch.stood_lately_s == pytest.approx(3)
    scene.watch._mark_movement()
    for _ in range(10):
        scene.clock.now += 1
        scene.watch._moved_at = scene.clock.now
        assert scene.watch.stood_lately_s == pytest.approx(3)
    scene.clock.now = scene.watch._moved_at = scene.clock.now + 10
    assert scene.watch.stood_lately_s == 0


# what is as it should be


def _renews_and_works(scene: _Scene) -> None:
    for _ in range(100):
        scene.pass_time(LEASE_S / 3, beating=True)


def _waits_for_long(scene: _Scene) -> None:
    with scene.pulse.waiting(lambda: False):
        scene.pass_time(100_000)
        assert scene.judge() == Verdict()


def _is_in_an_outage(scene: _Scene) -> None:
    scene.pulse.fail(RuntimeError())
    scene.renewed_since = None
    scene.pass_time(100_000)
    scene.pulse.fail(RuntimeError())


def _is_just_out_of_an_outage(scene: _Scene) -> None:
    _is_in_an_outage(scene)
    scene.renewed_since = scene.clock.now
    scene.pass_time(LEASE_S)


def _goes_on_after_a_sigstop(scene: _Scene) -> None:
    scene.hold()
    scene.pass_time(100_000, turning=False)
    scene.watch.note_stillness()


def _reads_for_as_long_as_it_may(scene: _Scene) -> None:
    scene.pulse.allow(300)
    scene.pass_time(300 + 15)


def _reads_after_it_has_failed_for_a_while(scene: _Scene) -> None:
    for _ in range(19):
        scene.pulse.fail(RuntimeError())
        scene.pass_time(0.5)
    scene.pulse.allow(60)
    scene.pass_time(60)


def _executes_a_run_for_long(scene: _Scene) -> None:
    for _ in range(2):
        scene.hold(stage=Stage.EXECUTING)
    scene.pass_time(100_000, beating=True)


def _has_recorded_a_run_that_goes_on(scene: _Scene) -> None:
    scene.hold(stage=Stage.RECORDED, recorded_at=scene.clock.now)
    scene.pass_time(100_000, beating=True)


def _is_stopping_within_its_grace(scene: _Scene) -> None:
    scene.watch.note_stop()
    scene.pass_time(GRACE_S + 14, beating=True)


def _has_loops_that_rest(scene: _Scene) -> None:
    scene.pulse.rest()
    scene.pass_time(100_000)


def _blocks_for_a_moment(scene: _Scene) -> None:
    scene.pass_time(LEASE_S / 3 - 0.1, turning=False)


@pytest.mark.parametrize(
    "happens",
    [
        _renews_and_works, _waits_for_long, _is_in_an_outage, _is_just_out_of_an_outage, _goes_on_after_a_sigstop,
        _reads_for_as_long_as_it_may, _executes_a_run_for_long, _has_recorded_a_run_that_goes_on,
        _is_stopping_within_its_grace, _has_loops_that_rest, _blocks_for_a_moment,
        _reads_after_it_has_failed_for_a_while,
    ],
)  # fmt: skip
async def test_what_is_as_it_should_be_is_no_fault(scene: _Scene, happens: Callable[[_Scene], None]) -> None:
    """Whatever it takes, and however long."""
    happens(scene)
    assert scene.judge() == Verdict()


# what is not


async def test_a_part_that_is_gone_is_final_at_once(scene: _Scene) -> None:
    """Even in an outage."""
    scene.guard.break_off("dispatcher")
    scene.renewed_since = None
    assert scene.judge() == Verdict("dispatcher has ended", is_final=True)


@pytest.mark.parametrize(
    ("seconds", "fault", "is_final"),
    [(LEASE_S / 3 - 0.1, False, False), (11.0, True, False), (STALL_S + 1, True, True)],
)
async def test_an_event_loop_that_stands_still(scene: _Scene, seconds: float, fault: bool, is_final: bool) -> None:  # noqa: FBT001
    """For a third of a lease it costs the dispatcher slot, for longer than the bound the lease; the place is told."""
    scene.pass_time(seconds, turning=False)
    verdict = scene.judge()
    assert (bool(verdict.fault), verdict.is_final, bool(verdict.stack)) == (fault, is_final, fault)


@pytest.mark.parametrize(
    ("timeout_s", "seconds", "is_over", "is_final"),
    [
        (None, 30, False, False), (None, STALL_S + 1, False, True), (5, 15, True, False), (5, 21, True, True),
        (1_000, 999, False, False), (1_000, 1_001, True, True),
    ],
)  # fmt: skip
async def test_a_run_that_blocks_has_its_timeout(
    scene: _Scene,
    timeout_s: float | None,
    seconds: float,
    is_over: bool,  # noqa: FBT001
    is_final: bool,  # noqa: FBT001
) -> None:
    """It takes the bound's place; a run without one has the bound. Two leases pass at least."""
    held = scene.hold(stage=Stage.EXECUTING, timeout_s=timeout_s, task=asyncio.current_task())
    scene.watch._blocking_run = lambda: held  # type: ignore[method-assign]
    scene.pass_time(seconds, turning=False)
    verdict = scene.judge()
    assert (verdict.timed_out is held, verdict.is_final) == (is_over, is_final)
    assert "run e0:app/job" in verdict.fault


async def test_the_run_that_blocks_is_found_by_its_task(scene: _Scene) -> None:
    """It is the task that the event loop is in."""
    held = scene.hold(stage=Stage.EXECUTING, task=asyncio.current_task())
    found = scene.watch._blocking_run()
    assert found in (held, None)  # by its context where Python tells of a task's


@pytest.mark.parametrize(("seconds", "fault", "is_final"), [(16, False, False), (17, True, False), (41, True, True)])
async def test_a_loop_without_progress(scene: _Scene, seconds: float, fault: bool, is_final: bool) -> None:  # noqa: FBT001
    """It may take as long as a silent server takes; the bound ends the worker."""
    scene.pass_time(seconds)
    verdict = scene.judge()
    assert (bool(verdict.fault), verdict.is_final) == (fault, is_final)


async def test_a_loop_that_waits_on_though_something_is_due(scene: _Scene) -> None:
    """From the first look that finds it so; a moment later it may have gone on."""
    due = False
    with scene.pulse.waiting(lambda: due):
        scene.pass_time(1_000)
        assert scene.judge() == Verdict()
        due = True
        assert scene.judge() == Verdict()
        scene.pass_time(LEASE_S + 1)
        assert "fetcher" in scene.judge().fault
        scene.pass_time(STALL_S)
        assert scene.judge().is_final
        due = False
        assert scene.judge() == Verdict()


async def test_a_loop_that_fails_for_as_long_as_the_bound(scene: _Scene) -> None:
    """Though it beats never, and is never long at one thing; the server is there meanwhile."""
    for second in range(60):
        scene.pulse.fail(RuntimeError())
        scene.pass_time(1)
        verdict = scene.judge()
        assert (bool(verdict.fault), verdict.is_final) == (second > LEASE_S, second > STALL_S)


async def test_a_loop_whose_calls_are_refused_costs_no_life(scene: _Scene) -> None:
    """That is for an operator to mend: the worker gives up its dispatcher slot, and lives."""
    for _ in range(60):
        scene.pulse.fail(ServerError("NOPERM"))
        scene.pass_time(1)
    verdict = scene.judge()
    assert "fetcher" in verdict.fault
    assert not verdict.is_final


async def test_a_loop_that_works_again_has_failed_for_nothing(scene: _Scene) -> None:
    """Its next failure is a first one."""
    for _ in range(30):
        scene.pulse.fail(RuntimeError())
        scene.pass_time(1)
    scene.pulse.succeed()
    scene.pulse.fail(RuntimeError())
    scene.pass_time(1)
    assert scene.judge() == Verdict()


async def test_registration_is_watched_in_an_outage_too(scene: _Scene) -> None:
    """Without it the lease is never renewed again, and nothing else would be judged."""
    scene.renewed_since = None
    scene.always.beat()
    scene.pass_time(STALL_S + 1)
    verdict = scene.judge()
    assert "registration" in verdict.fault
    assert verdict.is_final


async def test_a_stop_that_is_never_over_is_final(scene: _Scene) -> None:
    """The grace, and what cancellations and a silent server take, are all it has."""
    scene.watch.note_stop()
    scene.pass_time(GRACE_S + 16, beating=True)
    scene.watch.note_stop()
    assert scene.judge().is_final


async def test_a_run_whose_task_is_gone_is_final_at_the_second_look(scene: _Scene) -> None:
    """Between its task's end and what is told of it there may be a look."""

    async def end() -> None:
        """Nothing is told."""

    task = asyncio.ensure_future(end())
    await task
    scene.hold(stage=Stage.EXECUTING, task=task)
    assert scene.judge() == Verdict()
    verdict = scene.judge()
    assert "has ended without an outcome" in verdict.fault
    assert verdict.is_final


async def test_a_run_that_is_never_called_is_final(scene: _Scene) -> None:
    """It is in hand, so that no other worker takes it."""
    scene.hold()
    scene.pass_time(STALL_S, beating=True)
    assert scene.judge() == Verdict()
    scene.pass_time(1, beating=True)
    assert scene.judge().is_final


@pytest.mark.parametrize(("seconds", "fault", "is_final"), [(10, False, False), (11, True, False), (41, True, True)])
async def test_slots_that_are_all_taken_for_good(scene: _Scene, seconds: float, fault: bool, is_final: bool) -> None:  # noqa: FBT001
    """Their runs are recorded, and their functions go on: nothing can be taken any more."""
    for _ in range(2):
        scene.hold(stage=Stage.RECORDED, recorded_at=scene.clock.now)
    scene.pass_time(seconds, beating=True)
    verdict = scene.judge()
    assert (bool(verdict.fault), verdict.is_final) == (fault, is_final)


async def test_where_the_loop_is_may_not_be_known(scene: _Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only tells does not keep a worker from its end."""

    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(traceback, "format_stack", fail)
    scene.pass_time(STALL_S + 1, turning=False)
    verdict = scene.judge()
    assert verdict.is_final
    assert "MemoryError" in verdict.stack
