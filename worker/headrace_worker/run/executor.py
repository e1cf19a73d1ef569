"""Executes runs: what a delivery goes through from a worker's hands to its outcome, step by step.

    start → attempt: find the job → read the event → fit the payload → call the function → outcome → settler

Every outcome is a value; the settler records it. It must not write to the server, and not decide when to fetch.
"""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from headrace import HeadraceError, SealedEvent, UndecodableEvent
from headrace.connect import AnyTransport
from headrace.formats import codec
from headrace.formats.codec import StoredEvent
from headrace_worker.app.job import Job
from headrace_worker.app.schema import PayloadError
from headrace_worker.clock import monotonic
from headrace_worker.current_run import current_run
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import Cause, Hand, Held
from headrace_worker.membership.state import WorkerState
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.run import outcome as outcomes
from headrace_worker.run import unseal
from headrace_worker.run.context import IO, Account, Context, EventInfo, JobInfo, PlainIO, RunInfo, Sender
from headrace_worker.run.outcome import Canceled, Failed, Outcome, Released, Succeeded, Unreadable
from headrace_worker.run.settler import Settler
from headrace_worker.tasks.forks import fork
from headrace_worker.tasks.guard import run_task
from headrace_worker.tasks.job_threads import JobThreads, NoThread

log = get_logger("headrace.run")

IGNORED_CANCEL_S = 1.0
"""Seconds after which a function that was told to end and goes on is recorded without waiting for it."""

_FEWEST_FAILURES = 3
"""So many runs, one after the other, tell a worker that can't execute any from one that has met trouble."""
_TOLD_JOBS = 1_000
"""Of so many jobs that this worker has not it tells; names in entries may be anything."""


class Executor:
    """Runs the functions of an app's jobs: coroutines on this event loop, plain functions in threads."""

    def __init__(
        self,
        state: WorkerState,
        hand: Hand,
        settlers: Sequence[Settler],
        has_live: Callable[[str], Awaitable[bool]],
    ) -> None:
        """Nothing executes yet.

        Args:
            state: that of the worker in any of its partitions.
            settlers: for each partition the one that records its runs.
            has_live: whether a live worker has a job, `<app>/<id>`.
        """
        self._state = state
        self._hand = hand
        self._settlers = settlers
        self._has_live = has_live
        self._jobs = state.app.jobs
        self._told_unknown: set[str] = set()
        self._sender = Sender(state.url, state.keys.namespace, len(state.partitions), state.codec)
        self._guard = state.guard
        self._threads = JobThreads(state.guard)
        self._failures = 0
        self._failing_since = 0.0

    def start(self, delivery: Delivery, name: str) -> Held:
        """The run is in hand and executes."""
        held = Held(delivery, name, monotonic())
        self._hand.take(held)
        work = self._run(held)
        try:
            task = run_task(work)
        except BaseException:  # no memory for it: the run is found in this worker's hands, and started then
            work.close()  # or a task that is there all the same would start it, too
            self._hand.drop(held)
            raise
        if not task.done():
            held.task = task
            self._settlers[delivery.queue.partition].tell_started(held)
        elif not held.is_told:
            self._finish(held, outcomes.UNDESCRIBED)
        return held

    def end_all(self, cause: Cause, partition: int | None = None, name: str | None = None) -> None:
        """Every function in hand is told to end, and its outcome says why.

        Args:
            partition: only those of this partition.
            name: only those that were delivered under this name of the worker.
        """
        for held in list(self._hand.held.values()):
            if partition in (None, held.delivery.queue.partition) and name in (None, held.name):
                self._end(held, cause)

    def time_out(self, held: Held, place: str, transport: AnyTransport) -> None:
        """Record that an attempt ran out of time, from another thread: it blocks the event loop, and goes on.

        Args:
            place: where it is, for the run's error.

        Raises:
            ServerError: that is not recorded.
        """
        held.cause = "timed_out"
        job = self._jobs[held.delivery.job_id]
        outcome = self._after_end(job, held, RuntimeError(f"it blocked the event loop at\n{place}"))
        self._settlers[held.delivery.queue.partition].settle_at_once(held, outcome, transport)

    async def close(self) -> None:
        """The clients that runs sent through are closed; threads that still execute are left alone."""
        self._threads.close()
        await self._sender.close()

    @property
    def left_behind(self) -> int:
        """How many plain functions execute."""
        return self._threads.busy

    async def _run(self, held: Held) -> None:
        current_run.set(held.delivery)
        try:
            outcome = await self._attempt(held)
            self._failures = 0
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the run comes to an outcome
            outcome = self._last_resort(held, exc)
        try:
            self._finish(held, outcome)
        except (MemoryError, RecursionError) as exc:  # there may be some again; the guard ends a worker that can't
            self._guard.again(exc, self._finish, held, outcome)
        except BaseException as exc:  # noqa: BLE001 - this outcome can't be recorded, but one that describes nothing
            self._guard.again(exc, self._finish, held, outcomes.UNDESCRIBED)

    def _last_resort(self, held: Held, exc: BaseException) -> Outcome:
        """Returns what a run comes to that ended outside of its function."""
        if fork.is_child:
            fork.end(exc)
        if held.cause == "released":
            return Released()
        try:
            self._note_failure(exc)
            log.error("run failed outside of its function", exc_info=exc, **_ids(held))
            error = outcomes.error_of(exc)
            if not held.is_called:
                return outcomes.not_called(error, held.delivery.state, held.delivery.queued_ms)
            return Failed(error)
        except BaseException:  # noqa: BLE001 - not even that can be described
            return outcomes.UNDESCRIBED

    def _note_failure(self, exc: BaseException) -> None:
        """A worker that fails each run outside of its function, for as long as a part may stand still, has to end."""
        now = monotonic()
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        if self._failures >= _FEWEST_FAILURES and now - self._failing_since > self._state.config.stall_limit_s:
            self._guard.break_off("the executor", exc)

    def _finish(self, held: Held, outcome: Outcome) -> None:
        """The run's task is over: the settler has the outcome, and the slot is free once no thread goes on."""
        self._report(held, outcome)
        if held.timer is not None:
            held.timer.cancel()
        held.task = None
        if not held.has_ended and not self._thread_goes_on(held):
            self._hand.ended(held)

    def _report(self, held: Held, outcome: Outcome) -> None:
        """The settler has the outcome, unless the run was recorded before: then it is too late for another."""
        if not held.is_told:
            self._settlers[held.delivery.queue.partition].put(held, outcome)
            held.is_told = True

    async def _attempt(self, held: Held) -> Outcome:
        delivery = held.delivery
        if held.cause == "released":  # before it began
            return Released()
        job = self._jobs.get(delivery.job_id)
        if delivery.state.lost >= self._state.config.max_lost:
            return outcomes.lost(delivery.state)
        if job is None:
            return await self._after_unknown_job(delivery)
        try:
            event = codec.decode_event(delivery.body or b"")
            if event.v == codec.SEALED_FORMAT:
                event = unseal.open_for(job, event, delivery.event_id, self._state.seal)
            arguments = self._arguments(job, held, event)
        except unseal.NotMatched as exc:
            return Canceled(exc.error)
        except SealedEvent as exc:
            return self._after_sealed_event(job, held, exc)
        except UndecodableEvent as exc:
            return Unreadable(str(exc))
        except PayloadError as exc:
            return outcomes.invalid(exc.error)
        except BaseException as exc:  # noqa: BLE001 - a schema's own code may raise anything
            return self._after_exception(job, held, exc)
        return await self._outcome(job, held, arguments)

    async def _outcome(self, job: Job, held: Held, arguments: dict[str, Any]) -> Outcome:
        try:
            output = await self._call(job, held, arguments)
        except NoThread as exc:
            log.warning("no thread can be started for a plain function; its run waits", reason=str(exc), **_ids(held))
            return outcomes.no_thread(str(exc), held.delivery.state)
        except BaseException as exc:  # noqa: BLE001 - whatever a job raises is an outcome, SystemExit too
            if fork.is_child:
                fork.end(exc)
            return self._after_exception(job, held, exc) if held.cause is None else self._after_end(job, held, exc)
        if fork.is_child:
            fork.end(None)
        return Succeeded(output) if held.cause is None else self._after_end(job, held, None)

    async def _after_unknown_job(self, delivery: Delivery) -> Outcome:
        self._tell_unknown(delivery)
        waited_ms = outcomes.unknown_for_ms(delivery.state, delivery.queued_ms)
        give_up = False
        if waited_ms >= self._state.config.unknown_job_s * 1000:
            try:
                give_up = not await self._has_live(delivery.job)
            except HeadraceError as exc:
                log.warning("can't tell whether a live worker has the job; the run waits on", error=str(exc))
        return outcomes.after_unknown_job(delivery.job, delivery.state, delivery.queued_ms, give_up=give_up)

    def _tell_unknown(self, delivery: Delivery) -> None:
        """Warn once for each job: two code bases may have called their apps by one name."""
        if delivery.job_id in self._told_unknown or len(self._told_unknown) >= _TOLD_JOBS:
            return
        self._told_unknown.add(delivery.job_id)
        told = f"this worker has no job {delivery.job_id!r}; its run waits for one that has"
        log.warning(
            told,
            app=self._state.app.name, job=delivery.job_id, run=delivery.run_id,
        )  # fmt: skip

    def _after_sealed_event(self, job: Job, held: Held, exc: SealedEvent) -> Outcome:
        """Without a codec the run is another worker's; where the codec fails, that is an attempt like any other."""
        if self._state.seal is not None:
            return self._after_exception(job, held, exc)
        state, queued_ms = held.delivery.state, held.delivery.queued_ms
        log.warning("this worker has no codec for a sealed event; its run waits for one that has", **_ids(held))
        give_up = outcomes.unknown_for_ms(state, queued_ms) >= self._state.config.unknown_job_s * 1000
        return outcomes.after_missing_codec(str(exc), state, queued_ms, give_up=give_up)

    def _arguments(self, job: Job, held: Held, event: StoredEvent) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        payload = None if job.parse is None else job.parse(event.p)
        if "payload" in job.takes:
            arguments["payload"] = payload
        if "io" in job.takes:
            arguments["io"] = (IO if job.is_async else PlainIO)(held.delivery.run_id, self._sender)
        if "ctx" in job.takes:
            arguments["ctx"] = self._context(job, held, event)
        return arguments

    def _context(self, job: Job, held: Held, event: StoredEvent) -> Context:
        delivery, state = held.delivery, held.delivery.state
        info = EventInfo(
            delivery.event_id, event.n, codec.decode_value(event.c), codec.from_micros(event.t), event.s,
            delivery.ordering_key or None,
        )  # fmt: skip
        return Context(
            run=RunInfo(delivery.run_id, state.attempt, job.retry.max_attempts, bool(state.replay), datetime.now(UTC)),
            job=JobInfo(job.id, job.app, self._state.app.version, delivery.queue.name),
            event=info,
            account=Account(event.a) if event.a is not None else None,
            namespace=self._state.keys.namespace,
            worker_id=held.name,
        )

    async def _call(self, job: Job, held: Held, arguments: dict[str, Any]) -> Any:
        if job.timeout_s is not None:
            held.timeout_s = job.timeout_s
            held.timer = self._guard.later(job.timeout_s, self._end, held, "timed_out")
        held.is_called = True
        if job.is_async:
            return await job.function(**arguments)
        held.thread = self._threads.call(functools.partial(_call_plain, job, arguments))
        return await held.thread.outcome

    def _end(self, held: Held, cause: Cause) -> None:
        """The function is told to end; if it has not a second later, the run is recorded without waiting for it."""
        if held.task is None or held.cause is not None:
            return
        self._guard.later(IGNORED_CANCEL_S, self._give_up_on, held)
        held.cause = cause
        held.task.cancel()

    def _give_up_on(self, held: Held) -> None:
        if held.task is not None and not held.is_told:
            log.warning("run ignores that it was told to end; its slot is taken until it does", **_ids(held))
            job = self._jobs[held.delivery.job_id]
            self._report(held, self._after_end(job, held, None))

    def _thread_goes_on(self, held: Held) -> bool:
        """A thread can't be ended: it keeps the run's slot until it has."""
        thread = held.thread
        if thread is None or thread.is_done:
            return False
        log.warning("a plain function can't be ended; its thread keeps its slot until it returns", **_ids(held))
        thread.on_done = functools.partial(self._hand.ended, held)
        return True

    def _after_end(self, job: Job, held: Held, exc: BaseException | None) -> Outcome:
        """Returns what a run comes to that was told to end, whatever its function has made of that."""
        match held.cause:
            case "released":
                return Released()
            case "canceled":
                return Canceled()
        fault = TimeoutError(f"the attempt took longer than the {job.timeout_s:g} s of its timeout")
        fault.__cause__ = exc  # it shows where the function was
        return self._after_exception(job, held, fault, timed_out=True)

    def _after_exception(self, job: Job, held: Held, exc: BaseException, *, timed_out: bool = False) -> Outcome:
        state = held.delivery.state
        outcome = outcomes.after_exception(exc, timed_out=timed_out, retry=job.retry, state=state, draw=random.random)
        error = outcome.error
        self._state.observer.failed(held.delivery)
        log.info("attempt failed", attempt=state.attempt, error=error.type, **_ids(held))
        log.debug("why the attempt failed", error=error.message, **_ids(held))  # it may tell of the payload
        return outcome


def _call_plain(job: Job, arguments: dict[str, Any]) -> Any:
    """Calls a plain function in its thread; what a future can't carry, or the event loop would end by, is an error."""
    try:
        output = job.function(**arguments)
    except (StopIteration, KeyboardInterrupt, GeneratorExit) as exc:
        raise RuntimeError(f"the function raised {type(exc).__name__}") from exc
    if inspect.iscoroutine(output):
        output.close()
        raise TypeError("a plain function returned a coroutine; make the function itself, and what wraps it, async def")
    return output


def _ids(held: Held) -> dict[str, str]:
    return {"run": held.delivery.run_id, "job": held.delivery.job}
