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
    """Goes on when asked to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class _Setup:
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
        """Add a run in flight since now."""
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
async def setup(monkeypatch: pytest.MonkeyPatch) -> _Setup:
    clock = _Clock()
    monkeypatch.setattr(watches, "monotonic", clock.monotonic)
    return _Setup(clock)


async def test_a_stall_of_the_event_loop_is_remembered_for_a_while(setup: _Setup) -> None:
    """As long as a call may take that was on its way then; what is shorter than a second says nothing."""
    assert setup.watch.stood_lately_s == 0
    setup.clock.now += LEASE_S / 12 + 0.9
    setup.watch._mark_movement()
    assert setup.watch.stood_lately_s == 0
    setup.clock.now += LEASE_S / 12 + 3
    assert setup.watch.stood_lately_s == pytest.approx(3)
    setup.watch._mark_movement()
    for _ in range(10):
        setup.clock.now += 1
        setup.watch._moved_at = setup.clock.now
        assert setup.watch.stood_lately_s == pytest.approx(3)
    setup.clock.now = setup.watch._moved_at = setup.clock.now + 10
    assert setup.watch.stood_lately_s == 0


# what is as it should be


def _renews_and_works(setup: _Setup) -> None:
    for _ in range(100):
        setup.pass_time(LEASE_S / 3, beating=True)


def _waits_for_long(setup: _Setup) -> None:
    with setup.pulse.waiting(lambda: False):
        setup.pass_time(100_000)
        assert setup.judge() == Verdict()


def _is_in_an_outage(setup: _Setup) -> None:
    setup.pulse.fail(RuntimeError())
    setup.renewed_since = None
    setup.pass_time(100_000)
    setup.pulse.fail(RuntimeError())


def _is_just_out_of_an_outage(setup: _Setup) -> None:
    _is_in_an_outage(setup)
    setup.renewed_since = setup.clock.now
    setup.pass_time(LEASE_S)


def _goes_on_after_a_sigstop(setup: _Setup) -> None:
    setup.hold()
    setup.pass_time(100_000, turning=False)
    setup.watch.note_stillness()


def _reads_for_as_long_as_it_may(setup: _Setup) -> None:
    setup.pulse.allow(300)
    setup.pass_time(300 + 15)


def _reads_after_it_has_failed_for_a_while(setup: _Setup) -> None:
    for _ in range(19):
        setup.pulse.fail(RuntimeError())
        setup.pass_time(0.5)
    setup.pulse.allow(60)
    setup.pass_time(60)


def _executes_a_run_for_long(setup: _Setup) -> None:
    for _ in range(2):
        setup.hold(stage=Stage.EXECUTING)
    setup.pass_time(100_000, beating=True)


def _has_recorded_a_run_that_goes_on(setup: _Setup) -> None:
    setup.hold(stage=Stage.RECORDED, recorded_at=setup.clock.now)
    setup.pass_time(100_000, beating=True)


def _is_stopping_within_its_grace(setup: _Setup) -> None:
    setup.watch.note_stop()
    setup.pass_time(GRACE_S + 14, beating=True)


def _has_loops_that_rest(setup: _Setup) -> None:
    setup.pulse.rest()
    setup.pass_time(100_000)


def _blocks_for_a_moment(setup: _Setup) -> None:
    setup.pass_time(LEASE_S / 3 - 0.1, turning=False)


@pytest.mark.parametrize(
    "happens",
    [
        _renews_and_works, _waits_for_long, _is_in_an_outage, _is_just_out_of_an_outage, _goes_on_after_a_sigstop,
        _reads_for_as_long_as_it_may, _executes_a_run_for_long, _has_recorded_a_run_that_goes_on,
        _is_stopping_within_its_grace, _has_loops_that_rest, _blocks_for_a_moment,
        _reads_after_it_has_failed_for_a_while,
    ],
)  # fmt: skip
async def test_what_is_as_it_should_be_is_no_fault(setup: _Setup, happens: Callable[[_Setup], None]) -> None:
    """Whatever it takes, and however long."""
    happens(setup)
    assert setup.judge() == Verdict()


# what is not


async def test_a_part_that_is_gone_is_final_at_once(setup: _Setup) -> None:
    """Even in an outage."""
    setup.guard.break_off("dispatcher")
    setup.renewed_since = None
    assert setup.judge() == Verdict("dispatcher has ended", is_final=True)


@pytest.mark.parametrize(
    ("seconds", "fault", "is_final"),
    [(LEASE_S / 3 - 0.1, False, False), (11.0, True, False), (STALL_S + 1, True, True)],
)
async def test_an_event_loop_that_stands_still(setup: _Setup, seconds: float, fault: bool, is_final: bool) -> None:  # noqa: FBT001
    """For a third of a lease it costs the dispatcher slot, beyond the limit the lease; the verdict has the place."""
    setup.pass_time(seconds, turning=False)
    verdict = setup.judge()
    assert (bool(verdict.fault), verdict.is_final, bool(verdict.stack)) == (fault, is_final, fault)


@pytest.mark.parametrize(
    ("timeout_s", "seconds", "is_over", "is_final"),
    [
        (None, 30, False, False), (None, STALL_S + 1, False, True), (5, 15, True, False), (5, 21, True, True),
        (1_000, 999, False, False), (1_000, 1_001, True, True),
    ],
)  # fmt: skip
async def test_a_run_that_blocks_has_its_timeout(
    setup: _Setup,
    timeout_s: float | None,
    seconds: float,
    is_over: bool,  # noqa: FBT001
    is_final: bool,  # noqa: FBT001
) -> None:
    """It takes the bound's place; a run without one has the bound. Two leases pass at least."""
    held = setup.hold(stage=Stage.EXECUTING, timeout_s=timeout_s, task=asyncio.current_task())
    setup.watch._blocking_run = lambda: held  # type: ignore[method-assign]
    setup.pass_time(seconds, turning=False)
    verdict = setup.judge()
    assert (verdict.timed_out is held, verdict.is_final) == (is_over, is_final)
    assert "event loop blocked for " in verdict.fault
    assert verdict.fault.endswith(" s by job app/job, in run e0:app/job")  # no code of a job is on the stack


async def test_the_run_that_blocks_is_found_by_its_task(setup: _Setup) -> None:
    """It is the task that the event loop is in."""
    held = setup.hold(stage=Stage.EXECUTING, task=asyncio.current_task())
    found = setup.watch._blocking_run()
    assert found in (held, None)  # by its context where Python tells of a task's


@pytest.mark.parametrize(("seconds", "fault", "is_final"), [(16, False, False), (17, True, False), (41, True, True)])
async def test_a_loop_without_progress(setup: _Setup, seconds: float, fault: bool, is_final: bool) -> None:  # noqa: FBT001
    """It may take as long as a silent server takes; the bound ends the worker."""
    setup.pass_time(seconds)
    verdict = setup.judge()
    assert (bool(verdict.fault), verdict.is_final) == (fault, is_final)


async def test_a_loop_that_waits_on_though_something_is_due(setup: _Setup) -> None:
    """From the first look that finds it so; a moment later it may have gone on."""
    due = False
    with setup.pulse.waiting(lambda: due):
        setup.pass_time(1_000)
        assert setup.judge() == Verdict()
        due = True
        assert setup.judge() == Verdict()
        setup.pass_time(LEASE_S + 1)
        assert "fetcher" in setup.judge().fault
        setup.pass_time(STALL_S)
        assert setup.judge().is_final
        due = False
        assert setup.judge() == Verdict()


async def test_a_loop_that_fails_for_as_long_as_the_bound(setup: _Setup) -> None:
    """Though it beats never, and is never long at one thing; the server is there meanwhile."""
    for second in range(60):
        setup.pulse.fail(RuntimeError())
        setup.pass_time(1)
        verdict = setup.judge()
        assert (bool(verdict.fault), verdict.is_final) == (second > LEASE_S, second > STALL_S)


async def test_a_loop_whose_calls_are_refused_costs_no_life(setup: _Setup) -> None:
    """That is for an operator to mend: the worker gives up its dispatcher slot, and lives."""
    for _ in range(60):
        setup.pulse.fail(ServerError("NOPERM"))
        setup.pass_time(1)
    verdict = setup.judge()
    assert "fetcher" in verdict.fault
    assert not verdict.is_final


async def test_a_loop_that_works_again_has_failed_for_nothing(setup: _Setup) -> None:
    """Its next failure is a first one."""
    for _ in range(30):
        setup.pulse.fail(RuntimeError())
        setup.pass_time(1)
    setup.pulse.succeed()
    setup.pulse.fail(RuntimeError())
    setup.pass_time(1)
    assert setup.judge() == Verdict()


async def test_registration_is_watched_in_an_outage_too(setup: _Setup) -> None:
    """Without it the lease is never renewed again, and nothing else would be judged."""
    setup.renewed_since = None
    setup.always.beat()
    setup.pass_time(STALL_S + 1)
    verdict = setup.judge()
    assert "registration" in verdict.fault
    assert verdict.is_final


async def test_a_stop_that_is_never_over_is_final(setup: _Setup) -> None:
    """The grace, and what cancellations and a silent server take, are all it has."""
    setup.watch.note_stop()
    setup.pass_time(GRACE_S + 16, beating=True)
    setup.watch.note_stop()
    assert setup.judge().is_final


async def test_a_run_whose_task_is_gone_is_final_at_the_second_look(setup: _Setup) -> None:
    """The watch may look between the task's end and its report."""

    async def end() -> None:
        """Report nothing."""

    task = asyncio.ensure_future(end())
    await task
    setup.hold(stage=Stage.EXECUTING, task=task)
    assert setup.judge() == Verdict()
    verdict = setup.judge()
    assert "has ended without an outcome" in verdict.fault
    assert verdict.is_final


async def test_a_run_that_is_never_called_is_final(setup: _Setup) -> None:
    """It is in flight, so that no other worker takes it."""
    setup.hold()
    setup.pass_time(STALL_S, beating=True)
    assert setup.judge() == Verdict()
    setup.pass_time(1, beating=True)
    assert setup.judge().is_final


@pytest.mark.parametrize(("seconds", "fault", "is_final"), [(10, False, False), (11, True, False), (41, True, True)])
async def test_slots_that_are_all_taken_for_good(setup: _Setup, seconds: float, fault: bool, is_final: bool) -> None:  # noqa: FBT001
    """Their runs are recorded, and their functions go on: nothing can be taken any more."""
    for _ in range(2):
        setup.hold(stage=Stage.RECORDED, recorded_at=setup.clock.now)
    setup.pass_time(seconds, beating=True)
    verdict = setup.judge()
    assert (bool(verdict.fault), verdict.is_final) == (fault, is_final)


async def test_where_the_loop_is_may_not_be_known(setup: _Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only tells does not keep a worker from its end."""

    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(traceback, "format_stack", fail)
    setup.pass_time(STALL_S + 1, turning=False)
    verdict = setup.judge()
    assert verdict.is_final
    assert "MemoryError" in verdict.stack
