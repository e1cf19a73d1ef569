"""One attempt of a job without a server: what a worker does with it, and what a test sees of it.

The worker's own executor parses the payload, makes the dependencies, enters the arounds, calls the function and decides
the outcome. Only the two ends are stand-ins: the event is given, and the outcome is returned instead of recorded.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any, TypedDict, Unpack, cast

import msgspec

from headrace import Event, InvalidArgument, RunError
from headrace.formats.codec import STATUS_OF, RunState, decode_outcome, encode_value
from headrace.formats.partitions import Partitions
from headrace.model.event import DEFAULT_SOURCE, RunStatus
from headrace.model.typed import event_name_of
from headrace.model.values import decode_value
from headrace.plans.prepare import SendOptions, prepare
from headrace_worker.app.app import App
from headrace_worker.app.filters import explain
from headrace_worker.app.job import Job
from headrace_worker.app.overrides import overridden
from headrace_worker.config import WorkerConfig
from headrace_worker.membership.in_flight import REPORTED, InFlight, InFlightRun
from headrace_worker.membership.observer import Observer
from headrace_worker.membership.setup import WorkerSetup
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.settling import Retried, Settled
from headrace_worker.run.executor import Executor
from headrace_worker.run.io import IOs, JobIO, SyncJobIO
from headrace_worker.run.outcome import Outcome, Recordable
from headrace_worker.run.record import record_of
from headrace_worker.run.settler import Settler
from headrace_worker.tasks.guard import Guard
from headrace_worker.testing.fakes import FakeIO, SentEvents, SyncFakeIO
from headrace_worker.testing.settling import flush_log, moving_time
from headrace_worker.worker import import_modules

_NAME = "test"
"""Of the namespace and of the worker."""
_CONFIG = WorkerConfig()


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt came to.

    Attributes:
        status: of the run after the attempt: `waiting` for the next one, or how it has ended.
        attempt: the number of this attempt.
        output: as it is recorded, encoded and decoded: a struct is a dict there.
        error: as it is recorded; None after success.
        exception: what the function, or something around it, has raised; after a timeout a TimeoutError, whose cause
            shows where the function was.
        retry_after: the wait for the next attempt; None if there is none.
        next_attempt: its number; None if there is none.
        sent: the events that `io` has sent: `attempt.sent["welcomed"]` is the payload that was sent with that key.
    """

    status: RunStatus
    attempt: int
    output: Any
    error: RunError | None
    exception: BaseException | None
    retry_after: timedelta | None
    next_attempt: int | None
    sent: SentEvents


class AttemptOptions(TypedDict, total=False):
    """What may be given of an attempt, by name.

    Attributes:
        attempt: its number, from 1; 1 by default.
        state: stands for the value of the app's lifespan, which is not entered.
        override: for a function in `Depends`, the function to call in its place, or the value itself.
        jitter: where in its range the jitter of a wait is: 0, the default, for the shortest wait, 1 for the longest.
        is_replay: the run was started again by hand.
        name: of the event; by default that of a typed payload's class, or the first name of the job's trigger.
        source: of the event; by default the first source of the job's trigger.
        context: of the event, as are `id`, `timestamp`, `account_id`, `ordering_key` and `headers`.
    """

    attempt: int
    state: Any
    override: Mapping[Any, Any] | None
    jitter: float
    is_replay: bool
    name: str | None
    source: str | None
    context: Any
    id: str
    timestamp: datetime | None
    account_id: str | None
    ordering_key: str | None
    headers: Mapping[str, str] | None


def call_job(app: App, job_id: str, payload: Any = None, **options: Unpack[AttemptOptions]) -> Attempt:
    """Let a job make one attempt as a worker would, without a server, and return what it came to.

    An async function executes on an event loop of its own; a plain one in the thread that calls, where it sees the
    test's own database transaction. The call returns when the function has ended.

    Args:
        payload: as it is given to a send; the job's schema parses it as it comes off the wire.
        options: see `AttemptOptions`.

    Raises:
        InvalidArgument: the app has no such job, the job's trigger does not match the event, the job needs a state,
            nothing depends on an overridden function, or an event loop runs here: write `await acall_job(…)` there.
        InvalidEvent: no such event can be sent.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        trial = _trial(app, job_id, payload, **options)
        return _checked(_run(trial, Guard()) if trial.job.is_async else _run_here(trial))
    raise InvalidArgument("call_job", "an event loop runs here; in an async test, write: await acall_job(…)")


async def acall_job(app: App, job_id: str, payload: Any = None, **options: Unpack[AttemptOptions]) -> Attempt:
    """Do what `call_job` does on the event loop that runs here; a plain function executes in a thread."""
    return _checked(await _trial(app, job_id, payload, **options).run(Guard()))


class _Trial(msgspec.Struct, frozen=True):
    """An attempt that is ready to be made."""

    job: Job
    setup: WorkerSetup
    delivery: Delivery
    state: Any
    jitter: float

    async def run(self, guard: Guard) -> Attempt:
        seen, end, ios, in_flight = _Seen(), _End(), _FakeIOs(), InFlight(1)
        settlers = cast("list[Settler]", [end])
        executor = Executor(
            self.setup, guard, seen, in_flight, settlers, _no_worker_has, self.state, ios, lambda: self.jitter
        )
        try:
            with moving_time(asyncio.get_running_loop()):
                run = executor.start(self.delivery, _NAME)
                outcome = await end.outcome
                in_flight.mark_recorded(run)
                while in_flight.runs:  # the function ignores its end
                    await in_flight.wait_change()
        finally:
            executor.end_all("released")
            await executor.close()
        return self._attempt_of(outcome, seen.exception, ios.sent)

    def _attempt_of(self, outcome: Outcome, exception: BaseException | None, sent: SentEvents) -> Attempt:
        delivery, seal = self.delivery, self.setup.seal
        max_bytes = self.setup.config.max_output_bytes
        record = record_of(delivery, cast("Recordable", outcome), 0, max_output_bytes=max_bytes, seal=seal)
        if not isinstance(record, Settled | Retried):
            raise TypeError(f"an event that was just encoded can't be read: {record.error}")
        error, output = decode_outcome(record.outcome, delivery.run_id, seal)
        return Attempt(
            status="waiting" if isinstance(record, Retried) else STATUS_OF[record.letter],
            attempt=delivery.state.attempt,
            output=output,
            error=error,
            exception=exception,
            retry_after=timedelta(milliseconds=record.delay_ms) if isinstance(record, Retried) else None,
            next_attempt=int(record.state.partition(" ")[0]) if isinstance(record, Retried) else None,
            sent=sent,
        )


def _trial(  # noqa: PLR0913 - each is given by name
    app: App,
    job_id: str,
    payload: Any,
    *,
    attempt: int = 1,
    state: Any = msgspec.UNSET,
    override: Mapping[Any, Any] | None = None,
    jitter: float = 0,
    is_replay: bool = False,
    name: str | None = None,
    source: str | None = None,
    context: Any = None,
    id: str = "event",  # noqa: A002 - the field's name in an event
    timestamp: datetime | None = None,
    account_id: str | None = None,
    ordering_key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> _Trial:
    prepared = _with_one_job(app, job_id, override, state)
    job = prepared.jobs[job_id]
    _check(job, attempt, state, jitter)
    trigger = job.trigger
    event = Event(
        name or event_name_of(type(payload)) or trigger.names[0], payload, context, id, timestamp,
        (trigger.sources or (DEFAULT_SOURCE,))[0] if source is None else source, headers,
    )  # fmt: skip
    setup = WorkerSetup.of(prepared, Partitions(_NAME), "", _CONFIG)
    options = SendOptions(account_id=account_id, ordering_key=ordering_key)
    (sent,) = prepare([event], options, now=lambda: datetime.now(UTC), numbered=False, seal=setup.seal)
    _check_matches(job, event)
    queue = reading.queue_stream(setup.keys, app.name, job.queue)
    run = RunState(attempt, replay=int(is_replay))
    delivery = Delivery(queue, "0-1", sent.event_id, job_id, run, sent.body, 0, ordering_key or "")
    return _Trial(job, setup, delivery, None if state is msgspec.UNSET else state, jitter)


def _with_one_job(app: App, job_id: str, override: Mapping[Any, Any] | None, state: Any) -> App:
    import_modules(app)
    if job_id not in app.jobs:
        known = ", ".join(sorted(app.jobs)) or "none"
        raise InvalidArgument("job_id", f"app {app.name!r} has no job {job_id!r}; its jobs: {known}")
    alone = copy.copy(app)
    alone.jobs = {job_id: app.jobs[job_id]}
    return overridden(alone, override, state)


def _check(job: Job, attempt: int, state: Any, jitter: float) -> None:
    most = job.retry.max_attempts
    if not 1 <= attempt <= most:
        raise InvalidArgument("attempt", f"must be 1 to {most}, the most attempts of job {job.id!r}, not {attempt!r}")
    if not 0 <= jitter <= 1:
        raise InvalidArgument("jitter", f"must be 0 to 1, not {jitter!r}")
    if "state" in job.takes and state is msgspec.UNSET:
        raise InvalidArgument("state", f"job {job.id!r} needs it, and no lifespan is entered here; write state=…")


def _check_matches(job: Job, event: Event) -> None:
    """Refuse an event that a worker would not bring to the job: the test would say nothing of production."""
    trigger = job.trigger
    for field, value, known in (("name", event.name, trigger.names), ("source", event.source, trigger.sources)):
        if known and value not in known:
            raise InvalidArgument(field, f"the trigger of job {job.id!r} matches {', '.join(known)}, not {value!r}")
    for field, definition, given in (
        ("payload", trigger.filter, event.payload),
        ("context", trigger.context_filter, event.context),
    ):
        if definition and (mismatch := explain(definition, decode_value(encode_value(given)), at=field)):
            reason = f"does not pass the filter of job {job.id!r}: {mismatch.in_words()}"
            raise InvalidArgument(field, reason)


class _Seen(Observer):
    """Keeps what the attempt has raised."""

    exception: BaseException | None = None

    def failed(self, delivery: Delivery, exc: BaseException) -> None:  # noqa: ARG002 - as `Observer` has it
        self.exception = exc


class _End:
    """Stands for the settler: keeps the outcome."""

    def __init__(self) -> None:
        self.started = self
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def add(self, run: InFlightRun) -> None:
        """Mark nothing: there is no record."""

    def put(self, run: InFlightRun, outcome: Outcome) -> None:
        run.stage = REPORTED
        self.outcome.set_result(outcome)


class _FakeIOs(IOs):
    """Makes stand-ins, which send nowhere."""

    def __init__(self) -> None:
        self.sent = SentEvents()

    def of(self, delivery: Delivery, headers: dict[str, str] | None, *, is_async: bool) -> JobIO | SyncJobIO:
        fake = FakeIO if is_async else SyncFakeIO
        io = fake(run_id=delivery.run_id, headers=headers)
        self.sent = io.sent
        return io

    async def close(self) -> None:
        """Close nothing."""


async def _no_worker_has(_job: str) -> bool:
    return False


class _Here(Guard):
    """Gives the thread that waits for `calls` to the plain function, instead of a new one."""

    def __init__(self, calls: SimpleQueue[Callable[[], None] | None]) -> None:
        super().__init__()
        self._calls = calls

    def thread(self, name: str, run: Callable[[], None], *, is_vital: bool = True) -> threading.Thread:  # noqa: ARG002
        """Let `run` execute in the other thread."""
        self._calls.put(run)
        return threading.current_thread()


def _run_here(trial: _Trial) -> Attempt:
    """Make the attempt of a plain job: its function executes here, and the event loop in a thread."""
    calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
    found: Future[Attempt] = Future()

    def run() -> None:
        try:
            found.set_result(_run(trial, _Here(calls)))
        except BaseException as exc:  # noqa: BLE001 - raised again in the other thread
            found.set_exception(exc)
        calls.put(None)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="headrace-test", daemon=True).start()
    while (call := calls.get()) is not None:
        call()
    return found.result()


def _run(trial: _Trial, guard: Guard) -> Attempt:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # leaves the thread's own loop as it is
        return runner.run(trial.run(guard))


def _checked(attempt: Attempt) -> Attempt:
    """Return the attempt; raise what is meant for the test and not for the job, such as what `pytest.fail` raises."""
    flush_log()
    exc = attempt.exception
    if isinstance(exc, Exception | SystemExit | asyncio.CancelledError | GeneratorExit) or exc is None:
        return attempt
    raise exc
