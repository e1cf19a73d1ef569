"""Executes runs: the steps of an attempt, from a delivery to the run's outcome.

    start → attempt: find the job → read the event → fit the arguments → call the function → outcome → settler

A step that raises decides the outcome, by the tables at the end of the class. Every outcome is a value, which the
settler records. The executor must not write to the server, and not decide when to fetch.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from headrace import HeadraceError, PayloadError, SealedEvent, UndecodableEvent
from headrace.connect import AnyTransport
from headrace.formats import codec
from headrace.formats.codec import StoredEvent
from headrace.model.values import decode_value
from headrace_worker.app.job import Job
from headrace_worker.clock import monotonic
from headrace_worker.current_run import current_run
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import (
    ENDED,
    EXECUTING,
    OVER,
    REPORTED,
    TAKEN,
    Cause,
    Ending,
    InFlight,
    InFlightRun,
)
from headrace_worker.membership.observer import Observer
from headrace_worker.membership.setup import WorkerSetup
from headrace_worker.protocol.delivery import Delivery, Key
from headrace_worker.run import outcome as outcomes
from headrace_worker.run import unseal
from headrace_worker.run.context import Account, Context, EventInfo, JobInfo, RunInfo
from headrace_worker.run.hooks import HookedJob, call_checked, hooked_jobs
from headrace_worker.run.io import IOs
from headrace_worker.run.outcome import Canceled, Failed, Outcome, Recordable, Released, Stopped, Succeeded, Unreadable
from headrace_worker.run.outcome_log import OutcomeLog
from headrace_worker.run.port import RunPorts
from headrace_worker.run.settler import Settler
from headrace_worker.tasks.forks import fork
from headrace_worker.tasks.guard import Guard, run_task
from headrace_worker.tasks.job_threads import JobThreads, NoThread

log = get_logger("headrace.run")

IGNORED_CANCEL_S = 1.0
"""Seconds after which the run of a function that ignores its cancellation is recorded without waiting for its end."""

_FEWEST_FAILURES = 3
"""So many failed runs in a row mean that the worker can't execute any; fewer are passing trouble."""
_REPORTED_JOBS = 1_000
"""The most unknown jobs that are logged; names in entries may be anything."""


_OUTCOMES: dict[Cause | None, Outcome] = {"released": Released(), "canceled": Stopped()}
"""The outcomes of runs that were ended from outside, whatever their functions came to."""

_Become = Callable[["Executor", Job, InFlightRun, Any], Outcome]
_Table = tuple[tuple[type[BaseException], _Become], ...]
"""The outcome of an attempt that an exception has ended: by the first row whose class the exception has."""


class Executor:
    """Runs the functions of an app's jobs: coroutines on this event loop, plain functions in threads."""

    def __init__(  # noqa: PLR0913, PLR0917 - an executor has these parts
        self,
        setup: WorkerSetup,
        guard: Guard,
        observer: Observer,
        in_flight: InFlight,
        settlers: Sequence[Settler],
        has_live: Callable[[str], Awaitable[bool]],
        state: object = None,
        ios: IOs | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Execute nothing yet.

        Args:
            setup: of any of the worker's partitions.
            observer: of the same partition.
            settlers: the settler of each partition.
            has_live: whether a live worker has a job, `<app>/<id>`.
            state: the value of the app's lifespan.
            ios: makes the `io` of each run; None for one that acts on the server.
            draw: draws a number from 0 to 1, for the jitter of waits.
        """
        self._setup = setup
        self._guard = guard
        self._observer = observer
        self._in_flight = in_flight
        self._settlers = settlers
        self._has_live = has_live
        self._jobs = hooked_jobs(setup.app, state)
        self._reported_unknown: set[str] = set()
        self._ios = ios or IOs(RunPorts(setup.url, setup.keys.namespace, len(setup.partitions), setup.codec))
        self._draw = draw
        self._threads = JobThreads(guard)
        self._outcome_log = OutcomeLog(setup.app, every_traceback=setup.config.tracebacks == "every")
        self._failures = 0
        self._failing_since = 0.0

    def start(self, delivery: Delivery, name: str) -> InFlightRun:
        """Execute a run, which takes a slot."""
        run = InFlightRun(delivery, name, monotonic())
        self._in_flight.take(run)
        work = self._run(run)
        try:
            task = run_task(work)
        except BaseException:  # no memory for a task: the run is found among the pending entries, and started then
            work.close()  # or a task that was made after all would start the run, too
            self._in_flight.drop(run)
            raise
        if not task.done():
            run.task = task
            self._settlers[delivery.queue.partition].started.add(run)
        elif run.stage < REPORTED:
            self._finish(run, outcomes.UNDESCRIBED)
        return run

    def end_all(self, cause: Cause, partition: int | None = None, name: str | None = None) -> None:
        """Cancel every function that executes; the run's outcome says why.

        Args:
            partition: only runs of this partition.
            name: only runs that were delivered under this name of the worker.
        """
        for run in list(self._in_flight.runs.values()):
            if partition in (None, run.delivery.queue.partition) and name in (None, run.name):
                self._end(run, cause)

    def cancel(self, key: Key) -> bool:
        """Cancel the function of a run that is not this worker's any more; return whether the run is in flight."""
        run = self._in_flight.runs.get(key)
        if run is None:
            return False
        if run.stage < REPORTED and run.cause is None:
            log.info("run was canceled; its function is told to stop", **_ids(run))
            self._end(run, "canceled")
        return True

    def time_out(self, run: InFlightRun, place: str, transport: AnyTransport) -> None:
        """Record, from another thread, the timeout of an attempt that blocks the event loop and goes on.

        Args:
            place: where the attempt blocks, for the run's error.

        Raises:
            ServerError: the timeout is not recorded.
        """
        run.cause = "timed_out"
        job = self._jobs[run.delivery.job_id]
        outcome = self._after_timeout(job, run, RuntimeError(f"it blocked the event loop at\n{place}"))
        self._outcome_log.report(run, outcome)
        self._settlers[run.delivery.queue.partition].settle_at_once(run, outcome, transport)

    async def close(self) -> None:
        """Close the connections of runs; leave threads that still execute alone."""
        self._threads.close()
        await self._ios.close()

    @property
    def left_behind(self) -> int:
        """The number of plain functions that execute."""
        return self._threads.busy

    async def _run(self, run: InFlightRun) -> None:
        current_run.set(run.delivery)
        try:
            outcome = await self._attempt(run)
            self._failures = 0
        except BaseException as exc:  # noqa: BLE001 - each run comes to an outcome
            outcome = self._last_resort(run, exc)
        try:
            self._finish(run, outcome)
        except (MemoryError, RecursionError) as exc:  # repeated until it succeeds, or the guard ends the worker
            self._guard.again(exc, self._finish, run, outcome)
        except BaseException as exc:  # noqa: BLE001 - the outcome can't be recorded; one that describes nothing can
            self._guard.again(exc, self._finish, run, outcomes.UNDESCRIBED)

    def _last_resort(self, run: InFlightRun, exc: BaseException) -> Outcome:
        """Return the outcome of a run that ended outside of its function."""
        if fork.is_child:
            fork.end(exc)
        if run.cause in _OUTCOMES:
            return _OUTCOMES[run.cause]
        try:
            self._count_failure(exc)
            log.error("run failed outside of its function", exc_info=exc, **_ids(run))
            error = outcomes.error_of(exc)
            if run.stage is TAKEN:
                return outcomes.not_called(error, run.delivery.state, run.delivery.queued_ms)
            return Failed(error)
        except BaseException:  # noqa: BLE001 - the exception can't be described
            return outcomes.UNDESCRIBED

    def _count_failure(self, exc: BaseException) -> None:
        """End a worker in which each run fails outside of its function for as long as a part may stand still."""
        now = monotonic()
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        if self._failures >= _FEWEST_FAILURES and now - self._failing_since > self._setup.config.stall_limit_s:
            self._guard.break_off("the executor", exc)

    def _finish(self, run: InFlightRun, outcome: Outcome) -> None:
        """Report the outcome, and free the run's slot unless a thread goes on."""
        self._report(run, Released() if run.cause == "canceled" and run.has_thread else outcome)
        if run.timer is not None:
            run.timer.cancel()
        run.task = None
        if run.stage not in (ENDED, OVER) and not self._thread_goes_on(run):
            self._in_flight.mark_ended(run)

    def _report(self, run: InFlightRun, outcome: Outcome) -> None:
        """Give the settler the outcome, unless the settler has an outcome of the run already."""
        if run.stage < REPORTED or run.holds_place:
            if type(outcome) is not Succeeded or self._outcome_log.tells_success:
                self._outcome_log.report(run, outcome)
            self._settlers[run.delivery.queue.partition].put(run, outcome)

    async def _attempt(self, run: InFlightRun) -> Outcome:
        """Take the steps of an attempt: the first step that fails decides the outcome."""
        delivery = run.delivery
        if run.cause in _OUTCOMES:  # before the run began
            return _OUTCOMES[run.cause]
        if delivery.state.lost >= self._setup.config.max_lost:
            return outcomes.lost(delivery.state)
        job = self._jobs.get(delivery.job_id)
        if job is None:
            return await self._after_unknown_job(delivery)
        try:
            event = self._read_event(job, delivery)
            arguments = self._fit_arguments(job, run, event)
        except BaseException as exc:  # noqa: BLE001 - a schema's own code may raise anything
            return self._outcome_of(exc, self._AFTER_PREPARING, job, run)
        try:
            output = await self._call(job, run, arguments)
        except BaseException as exc:  # noqa: BLE001 - each exception of a job is an outcome, SystemExit too
            if fork.is_child:
                fork.end(exc)
            return self._outcome_of(exc, self._AFTER_CALLING, job, run)
        if fork.is_child:
            fork.end(None)
        return Succeeded(output) if run.cause is None else self._after_end(job, run, None)

    def _outcome_of(self, exc: BaseException, table: _Table, job: Job, run: InFlightRun) -> Outcome:
        """Return the outcome that the table has for an exception."""
        kind = type(exc)  # isinstance would call the exception's own code for its class
        return next(become for row, become in table if issubclass(kind, row))(self, job, run, exc)

    def _read_event(self, job: Job, delivery: Delivery) -> StoredEvent:
        event = codec.decode_event(delivery.body or b"")
        if event.v in codec.SEALED_FORMATS:
            event = unseal.open_for(job, event, delivery.event_id, self._setup.seal)
        return event

    async def _after_unknown_job(self, delivery: Delivery) -> Outcome:
        self._warn_of_unknown_job(delivery)
        waited_ms = outcomes.unknown_for_ms(delivery.state, delivery.queued_ms)
        give_up = False
        if waited_ms >= self._setup.config.unknown_job_s * 1000:
            try:
                give_up = not await self._has_live(delivery.job)
            except HeadraceError as exc:
                log.warning("can't read whether a live worker has the job; the run waits on", error=str(exc))
        return outcomes.after_unknown_job(delivery.job, delivery.state, delivery.queued_ms, give_up=give_up)

    def _warn_of_unknown_job(self, delivery: Delivery) -> None:
        """Warn once for each job: two code bases may use the same name for their apps."""
        if delivery.job_id in self._reported_unknown or len(self._reported_unknown) >= _REPORTED_JOBS:
            return
        self._reported_unknown.add(delivery.job_id)
        line = f"this worker has no job {delivery.job_id!r}; its run waits for one that has"
        log.warning(
            line,
            app=self._setup.app.name, job=delivery.job_id, run=delivery.run_id,
        )  # fmt: skip

    def _fit_arguments(self, job: Job, run: InFlightRun, event: StoredEvent) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        parse = job.parsers.get(event.n, job.parse)
        payload = None if parse is None else parse(event.p)
        if "payload" in job.takes:
            arguments["payload"] = payload
        if "io" in job.takes:
            io = arguments["io"] = self._ios.of(run.delivery, event.h, is_async=job.is_async)
            run.sent_ids = io.sent_ids
        if "ctx" in job.takes:
            arguments["ctx"] = self._context(job, run, event)
        return arguments

    def _context(self, job: Job, run: InFlightRun, event: StoredEvent) -> Context:
        delivery, state = run.delivery, run.delivery.state
        run.ending = Ending()
        info = EventInfo(
            delivery.event_id, event.n, decode_value(event.c), codec.from_micros(event.t), event.s,
            delivery.ordering_key or None, event.h or {},
        )  # fmt: skip
        return Context(
            run=RunInfo(delivery.run_id, state.attempt, job.retry.max_attempts, bool(state.replay), datetime.now(UTC)),
            job=JobInfo(job.id, job.app, self._setup.app.version, delivery.queue.name),
            event=info,
            account=Account(event.a) if event.a is not None else None,
            namespace=self._setup.keys.namespace,
            worker_id=run.name,
            ending=run.ending,
        )

    async def _call(self, job: Job, run: InFlightRun, arguments: dict[str, Any]) -> Any:
        if job.timeout_s is not None:
            run.timeout_s = job.timeout_s
            run.timer = self._guard.later(job.timeout_s, self._end, run, "timed_out")
        run.stage = EXECUTING
        if job.is_async:
            return await job.function(**arguments)
        if isinstance(job, HookedJob) and job.outer is not None:
            return await job.outer.call(functools.partial(self._call_in_thread, job, run), **arguments)
        run.thread = self._threads.call(functools.partial(_call_plain, job, arguments))
        return await run.thread.outcome

    def _call_in_thread(self, job: Job, run: InFlightRun, /, **arguments: Any) -> Awaitable[Any]:
        run.thread = self._threads.call(functools.partial(_call_plain, job, arguments))
        return run.thread.outcome

    def _end(self, run: InFlightRun, cause: Cause) -> None:
        """Cancel the function; record the run without it if the function goes on a second later."""
        if run.task is None or run.cause is not None:
            return
        self._guard.later(IGNORED_CANCEL_S, self._give_up_on, run)
        run.cause = cause
        if run.ending is not None:
            run.ending.cause = cause
        run.task.cancel()

    def _give_up_on(self, run: InFlightRun) -> None:
        if run.task is not None and run.stage < REPORTED:
            log.warning("run ignores its cancellation; its slot is taken until its function ends", **_ids(run))
            job = self._jobs[run.delivery.job_id]
            self._report(run, Released() if run.cause == "canceled" else self._after_end(job, run, None))

    def _thread_goes_on(self, run: InFlightRun) -> bool:
        """Return whether a thread still executes the run: it can't be ended, and keeps the slot until it returns."""
        if run.thread is None or not run.has_thread:
            return False
        log.warning("a plain function can't be ended; its thread keeps its slot until it returns", **_ids(run))
        run.thread.on_done = functools.partial(self._note_return, run)
        return True

    def _note_return(self, run: InFlightRun) -> None:
        """Note that the thread of a run has returned, after the run had ended."""
        self._report(run, Stopped())
        self._in_flight.mark_ended(run)

    def _after_end(self, job: Job, run: InFlightRun, exc: BaseException | None) -> Outcome:
        """Return the outcome of a run whose function was cancelled, however the function ended."""
        return _OUTCOMES.get(run.cause) or self._after_timeout(job, run, exc)

    def _after_timeout(self, job: Job, run: InFlightRun, exc: BaseException | None) -> Recordable:
        fault = TimeoutError(f"the attempt took longer than the {job.timeout_s:g} s of its timeout")
        fault.__cause__ = exc  # shows where the function was
        return self._after_exception(job, run, fault, timed_out=True)

    def _after_exception(
        self, job: Job, run: InFlightRun, exc: BaseException, *, timed_out: bool = False
    ) -> Recordable:
        state = run.delivery.state
        self._observer.failed(run.delivery, exc)
        return outcomes.after_exception(exc, timed_out=timed_out, retry=job.retry, state=state, draw=self._draw)

    def _after_failure(self, job: Job, run: InFlightRun, exc: BaseException) -> Outcome:
        """Return the outcome of a run whose function has raised, by itself or after its cancellation."""
        return self._after_exception(job, run, exc) if run.cause is None else self._after_end(job, run, exc)

    def _after_no_thread(self, _: Job, run: InFlightRun, exc: NoThread) -> Outcome:
        log.warning("no thread can be started for a plain function; its run waits", reason=str(exc), **_ids(run))
        return outcomes.no_thread(str(exc), run.delivery.state)

    def _after_sealed_event(self, job: Job, run: InFlightRun, exc: SealedEvent) -> Outcome:
        """Leave the run to another worker if this one has no codec; count a codec that fails as a failed attempt."""
        if self._setup.seal is not None:
            return self._after_exception(job, run, exc)
        state, queued_ms = run.delivery.state, run.delivery.queued_ms
        log.warning("this worker has no codec for a sealed event; its run waits for one that has", **_ids(run))
        give_up = outcomes.unknown_for_ms(state, queued_ms) >= self._setup.config.unknown_job_s * 1000
        return outcomes.after_missing_codec(str(exc), state, queued_ms, give_up=give_up)

    _AFTER_PREPARING: ClassVar[_Table] = (
        (unseal.NotMatched, lambda _self, _job, _run, exc: Canceled(exc.error)),
        (SealedEvent, _after_sealed_event),
        (UndecodableEvent, lambda _self, _job, _run, exc: Unreadable(str(exc))),
        (PayloadError, lambda _self, _job, _run, exc: outcomes.invalid(str(exc))),
        (BaseException, _after_exception),
    )
    """The outcome of a run whose event can't be read, or whose arguments don't fit: by the exception's class."""

    _AFTER_CALLING: ClassVar[_Table] = (
        (NoThread, _after_no_thread),
        (BaseException, _after_failure),
    )
    """The outcome of a run whose function could not be called, or has raised: anything, classes of above too."""


def _call_plain(job: Job, arguments: dict[str, Any]) -> Any:
    """Call a plain function in its thread; raise an error for what no future carries or what ends the event loop."""
    try:
        return call_checked(job.function, arguments)
    except (StopIteration, KeyboardInterrupt, GeneratorExit) as exc:
        raise RuntimeError(f"the function raised {type(exc).__name__}") from exc


def _ids(run: InFlightRun) -> dict[str, str]:
    return {"run": run.delivery.run_id, "job": run.delivery.job}
