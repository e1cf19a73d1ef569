"""Judges whether a worker works: its event loop turns, its loops make progress, and each in-flight run gets on.

The lease's thread queries the watch before each renewal: a lease vouches for work. The watch must not change anything.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from math import inf
from types import FrameType

import msgspec

from headrace import ServerError, ServerUnreachable
from headrace.transport.pool import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S
from headrace_worker.clock import monotonic
from headrace_worker.config import WorkerConfig
from headrace_worker.current_run import current_run
from headrace_worker.membership.in_flight import RECORDED, TAKEN, InFlight, InFlightRun
from headrace_worker.tasks.guard import Guard

_LONGEST_CALL_S = CONNECT_TIMEOUT_S + REPLY_TIMEOUT_S + 1
"""Seconds until a call to a silent server fails."""
_STOP_MARGIN_S = 15.0
"""How long a stop may take beyond the grace: cancellations, last outcomes, a silent server."""
_STACK_LINES = 16
_NOTABLE_STAND_S = 1.0
"""A call to the server that runs out of time beside such a standstill of the event loop is not blamed on the server."""
_AROUND_JOBS = ("headrace", "headrace_worker", "asyncio", "contextlib")
"""The packages whose frames stand between the event loop and a job's function."""
_REAL_WAIT_S = 5.0
"""A loop that waits this long begins anew after failures; longer than any pause between failures."""


class Pulse:
    """What one loop is doing: it works, waits for work, or fails."""

    __slots__ = (
        "_due", "_due_since", "_failed_at", "_failing_since", "_has_failed", "_is_refused", "_may_take_s", "_since",
        "name",
    )  # fmt: skip

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._due_since: float | None = None
        self.succeed()

    def succeed(self) -> None:
        """Note that the loop has completed a tick; earlier failures are over."""
        self._failing_since: float | None = None
        self._is_refused = False
        self.beat()

    def beat(self) -> None:
        """Note progress within a tick, which may still fail as the one before."""
        self._since = self._failed_at = monotonic()
        self._has_failed = False
        self._may_take_s = _LONGEST_CALL_S
        self._due: Callable[[], bool] | None = None

    def fail(self, exc: BaseException) -> None:
        """Note that the loop has failed and tries again."""
        # An operator has to correct what the server refuses: it would refuse another worker, too.
        self._is_refused = isinstance(exc, ServerError) and not isinstance(exc, ServerUnreachable)
        self._has_failed = True
        self._since = self._failed_at = monotonic()
        self._may_take_s = _LONGEST_CALL_S
        if self._failing_since is None:
            self._failing_since = self._failed_at

    def waiting(self, is_due: Callable[[], bool]) -> _Wait:
        """Let the loop wait until work `is_due`, within a `with`; a loop that still waits then stands still."""
        self._due_since = None
        self._due = is_due
        return _Wait(self)

    def end_wait(self, began_at: float) -> None:
        """Note that the loop goes on after a wait."""
        self._due = None
        self._since = monotonic()
        if self._since - began_at > _REAL_WAIT_S:
            self._failing_since = None

    def rest(self) -> None:
        """Note that the loop is over; expect nothing of it any more."""
        self._due = _never

    def allow(self, seconds: float) -> None:
        """Allow the loop's present work so many seconds, plus those that a silent server takes."""
        self._since = monotonic()
        self._may_take_s = seconds + _LONGEST_CALL_S

    def stands_for_s(self, now: float, since: float) -> tuple[float, float, float]:
        """Return for how long the loop has made no progress, how long it may, and after how long it has to end.

        All in seconds; the watch has bounds of its own, too.

        Args:
            since: time before it does not count: the server could not be reached, or the process stood still.
        """
        if (due := self._due) is not None:
            if not due():
                self._due_since = None
                return 0.0, 0.0, 0.0
            self._due_since = self._due_since or now
            return now - max(self._due_since, since), 0.0, 0.0
        busy = now - max(self._since, since), self._may_take_s, self._may_take_s
        if not self._has_failed or self._failing_since is None or self._failed_at <= since:
            return busy
        # Up to the last failure: the present attempt may take its time, and go well.
        failed_s = self._failed_at - max(self._failing_since, since)
        return max((failed_s, 0.0, inf if self._is_refused else 0.0), busy, key=_excess)


class _Wait:
    """The time for which a loop waits. Written out, as a loop that is idle does little else for an event."""

    __slots__ = ("_began_at", "_pulse")

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._began_at = monotonic()

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        self._pulse.end_wait(self._began_at)


def _is_around_jobs(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in _AROUND_JOBS


def _never() -> bool:
    return False


def _excess(stands: tuple[float, float, float]) -> float:
    return stands[0] - stands[1]


class Verdict(msgspec.Struct, frozen=True):
    """The result of a look at the worker.

    Attributes:
        fault: what is wrong; empty if the worker works.
        is_final: the fault has lasted too long: the worker has to end.
        stack: where the event loop is, if that matters.
        timed_out: the run that blocks the event loop, if its timeout is over.
    """

    fault: str = ""
    is_final: bool = False
    stack: str = ""
    timed_out: InFlightRun | None = None


SOUND = Verdict()


class Watch:
    """Watches over a worker in one of its partitions."""

    def __init__(self, config: WorkerConfig, in_flight: InFlight, guard: Guard) -> None:
        """Begin with the calling thread's running event loop."""
        self._config = config
        self._in_flight = in_flight
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._pulses: list[Pulse] = []
        self._always = Pulse()
        self._always.rest()
        self._moved_at = self._steady_since = monotonic()
        self._stood_s, self._stood_until = 0.0, -inf
        self._stop_at = inf
        self._lost: InFlightRun | None = None
        self._is_over = False

    def start(self, pulses: Sequence[Pulse], always: Pulse) -> None:
        """Watch these loops and the event loop from now on.

        Args:
            pulses: of the loops that can't work without the server.
            always: is watched even while the lease is not renewed.
        """
        for pulse in pulses:
            pulse.beat()
        self._pulses = list(pulses)
        self._always = always
        self._mark_movement()

    def end(self) -> None:
        """Stop marking the movement of the event loop."""
        self._is_over = True

    def note_stop(self) -> None:
        """Note that a stop has begun; it may take the grace, and a little more."""
        self._stop_at = min(self._stop_at, monotonic() + self._config.grace_s + _STOP_MARGIN_S)

    def note_stillness(self) -> None:
        """Note that the whole process stood still until now, so that no part of it could make progress."""
        self._steady_since = monotonic()

    @property
    def moves(self) -> bool:
        """Whether the event loop has turned within the last third of a lease."""
        return monotonic() - self._moved_at < self._config.lease_s / 3

    @property
    def stood_lately_s(self) -> float:
        """Seconds of the event loop's last standstill, within the length of a call to a silent server; else 0."""
        now = monotonic()
        if (stands_s := now - self._moved_at - self._mark_every_s) > _NOTABLE_STAND_S:
            return stands_s
        return self._stood_s if now - self._stood_until < _LONGEST_CALL_S else 0.0

    def judge(self, renewed_since: float | None) -> Verdict:
        """Return what is wrong with the worker, if anything is.

        Args:
            renewed_since: since when each renewal of the lease succeeds, by the monotonic clock; None if renewals
                fail. Loops can't work without the server either.
        """
        now = monotonic()
        if self._guard.broken:
            return Verdict(self._guard.broken, is_final=True)
        if now > self._stop_at:
            fault = f"the stop is not over {_STOP_MARGIN_S:g} s after its grace"
            return Verdict(fault, is_final=True, stack=self._stack())
        if (stuck := self._judge_loop(now)) is not SOUND:
            return stuck
        verdicts = [self._judge_pulse(self._always, now, self._steady_since)]
        if renewed_since is not None:
            since = max(renewed_since, self._steady_since)
            verdicts += [self._judge_pulse(pulse, now, since) for pulse in self._pulses]
            verdicts.append(self._judge_runs(now, since))
        return max(verdicts, key=lambda verdict: (verdict.is_final, verdict is not SOUND))

    def _judge_loop(self, now: float) -> Verdict:
        stood_s = now - max(self._moved_at, self._steady_since)
        if stood_s < self._config.lease_s / 3:
            return SOUND
        fault = f"the event loop stands still for {stood_s:.1f} s"
        run = self._blocking_run()
        if run is None:
            return Verdict(fault, stood_s > self._config.stall_limit_s, self._stack())
        job = f"{run.delivery.job}{self._place()}, in run {run.delivery.run_id}"
        fault = f"event loop blocked for {stood_s:.1f} s by job {job}"
        if run.timeout_s is None:
            return Verdict(fault, stood_s > self._config.stall_limit_s, self._stack())
        is_over = now - run.started_at > run.timeout_s
        # Two leases, so that a run which merely blocks for a moment too long keeps its worker alive.
        is_final = is_over and stood_s > 2 * self._config.lease_s
        return Verdict(fault, is_final, self._stack(), run if is_over else None)

    def _judge_pulse(self, pulse: Pulse, now: float, since: float) -> Verdict:
        stood_s, may_s, must_end_s = pulse.stands_for_s(now, since)
        if stood_s <= max(may_s, self._config.lease_s):
            return SOUND
        fault = f"the {pulse.name} has made no progress for {stood_s:.1f} s"
        return Verdict(fault, stood_s > max(must_end_s, self._config.stall_limit_s))

    def _judge_runs(self, now: float, since: float) -> Verdict:
        """Find a run that takes a slot and is never called, or whose task is gone."""
        runs = list(self._in_flight.runs.values())
        lost = next((run for run in runs if run.is_lost), None)
        if lost is not None and lost is self._lost:
            return Verdict(f"the task of run {lost.delivery.run_id} has ended without an outcome", is_final=True)
        self._lost = lost
        limit_s = max(_LONGEST_CALL_S, self._config.stall_limit_s)
        for run in runs:
            if run.stage is TAKEN and now - max(run.started_at, since) > limit_s:
                fault = f"run {run.delivery.run_id} is in flight for {now - run.started_at:.1f} s and was not called"
                return Verdict(fault, is_final=True)
        return self._judge_slots(runs, now)

    def _judge_slots(self, runs: list[InFlightRun], now: float) -> Verdict:
        """Find that functions which ignore their cancellation take every slot, so that nothing can be fetched."""
        if len(runs) < self._in_flight.slots or any(run.stage < RECORDED for run in runs):
            return SOUND
        stood_s = now - max(run.recorded_at for run in runs)
        if stood_s <= self._config.lease_s:
            return SOUND
        fault = f"every slot is taken by a function that does not end, for {stood_s:.1f} s after its run did"
        return Verdict(fault, stood_s > self._config.stall_limit_s)

    @property
    def _mark_every_s(self) -> float:
        return self._config.lease_s / 12

    def _mark_movement(self) -> None:
        now = monotonic()
        if (stood_s := now - self._moved_at - self._mark_every_s) > _NOTABLE_STAND_S:
            self._stood_s, self._stood_until = stood_s, now
        self._moved_at = now
        if not self._is_over:
            self._guard.later(self._mark_every_s, self._mark_movement)

    def _blocking_run(self) -> InFlightRun | None:
        """Return the run whose code the event loop executes, as far as that is known."""
        task = asyncio.current_task(self._loop)
        if task is None:
            return None
        if sys.version_info >= (3, 12):  # a task that the job has started has the run's context too
            context: contextvars.Context = task.get_context()
            delivery = context.get(current_run)
            return None if delivery is None else self._in_flight.runs.get(delivery.key)
        return next((run for run in list(self._in_flight.runs.values()) if run.task is task), None)

    def _place(self) -> str:
        """Return where the function of the blocking run is, as ` at jobs.py:11`; empty if that can't be found."""
        try:
            frames = list(traceback.walk_stack(sys._current_frames()[self._thread]))  # noqa: SLF001 - see `_stack`
            above = itertools.takewhile(lambda each: not _is_around_jobs(each[0]), frames)
            outermost, line = list(above)[-1]
            return f" at {os.path.basename(outermost.f_code.co_filename)}:{line}"  # noqa: PTH119 - it can't fail
        except BaseException:  # noqa: BLE001 - a report must not keep the worker from its end
            return ""

    def _stack(self) -> str:
        """Return the end of the stack of the event loop's thread."""
        try:
            frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - the one way to see another thread's stack
            lines = "".join(traceback.format_stack(frame)).splitlines()
            return "\n".join(lines[-_STACK_LINES:])
        except BaseException as exc:  # noqa: BLE001 - a report must not keep the worker from its end
            return f"  its stack can't be read: {type(exc).__name__}"
