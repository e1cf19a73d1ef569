"""A job's function gets what it asks for, and whatever it does becomes an outcome that stands in the run's record."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pydantic
import pytest
import redis as redis_py
from structlog.testing import capture_logs

from headrace import Client, Event, RunRecord
from headrace_worker import Abort, App, Context, JobIO, Retry, RetryAfter, SyncJobIO, event_trigger
from headrace_worker.current_run import current_run, ids_here
from headrace_worker.run.context import Account
from tests.support.waiting import await_until
from tests.support.workers import Place

ONCE = Retry(max_attempts=1)
SOON = Retry(max_attempts=3, min_delay=0.01, jitter=False)
TRIGGER = event_trigger("asked")


def run_of(client: Client, event_id: str, job: str = "job") -> RunRecord:
    (run,) = [run for run in client.get_event(event_id).runs if run.job.endswith(f"/{job}")]
    return run


async def _run_one(place: Place, client: Client, function: Any, payload: Any = None, **options: Any) -> RunRecord:
    """Returns the record of the one run of one function, when it has settled."""
    app = App("app")
    app.job(**{"id": "job", "trigger": TRIGGER, "retry": ONCE, **options})(function)
    sent = client.send_event(Event("asked", payload=payload))
    await place.settle(app)
    return run_of(client, sent.id)


def _never(payload: Any) -> None:
    raise AssertionError(f"called with {payload}")


def _never_asked() -> None:
    raise AssertionError("called")


# What a function gets.


class _User(msgspec.Struct):
    name: str


@dataclass
class _Point:
    x: int


@pytest.mark.parametrize(
    "payload", [0, "", [], {}, None, False, 0.0, b"", -1, "ü\U0001f600", [None], {"a": {"b": [1.5]}}]
)
async def test_a_payload_stays_what_it_is(place: Place, client: Client, payload: Any) -> None:
    """Falsy ones too; and so does an output."""
    seen: list[Any] = []

    async def job(payload: Any) -> Any:
        seen.append(payload)
        return payload

    run = await _run_one(place, client, job, payload)
    assert seen == [payload]
    assert type(seen[0]) is type(payload)
    assert (run.status, run.output, run.error, run.attempt) == ("succeeded", payload, None, 1)
    assert run.finished_at is not None
    assert run.started_at is not None
    assert run.started_at <= run.finished_at


@pytest.mark.parametrize(
    ("schema", "payload", "value"),
    [(_User, {"name": "Ada"}, _User("Ada")), (_Point, {"x": 1}, _Point(1)), (list[int], [1], [1])],
)
async def test_a_payload_is_parsed_by_the_schema(
    place: Place, client: Client, schema: Any, payload: Any, value: Any
) -> None:
    """The function gets the parsed value."""
    seen: list[Any] = []
    await _run_one(place, client, lambda payload: seen.append(payload), payload, schema=schema)  # noqa: PLW0108 - its name counts
    assert seen == [value]


async def test_the_context_says_where_a_run_is(place: Place, client: Client) -> None:
    """Run, job, event, account, namespace and worker, at each attempt."""
    seen: list[Context] = []
    app = App("shop", version="1.2.3")

    @app.job(id="look", trigger=event_trigger("looked"), retry=SOON, queue="slow")
    async def look(ctx: Context) -> None:
        seen.append(ctx)
        if ctx.run.attempt == 1:
            raise ValueError("again")

    timestamp = datetime(2020, 2, 3, 4, 5, 6, 789, tzinfo=timezone(timedelta(hours=5)))
    event = Event("looked", id="e:1", context={"plan": "pro"}, timestamp=timestamp, source="web")
    client.send_event(event, account_id="acme")
    await place.settle(app)
    first, second = seen
    assert (first.run.attempt, second.run.attempt) == (1, 2)
    assert (first.run.is_retry, second.run.is_retry) == (False, True)
    assert first.run.started_at < second.run.started_at <= datetime.now(UTC)
    for ctx in seen:
        assert (ctx.run.id, ctx.run.max_attempts, ctx.run.is_replay) == ("e:1:shop/look", 3, False)
        assert (ctx.job.id, ctx.job.app, ctx.job.version, ctx.job.queue) == ("look", "shop", "1.2.3", "slow")
        assert (ctx.event.id, ctx.event.name, ctx.event.source) == ("e:1", "looked", "web")
        assert ctx.event.context == {"plan": "pro"}
        assert ctx.event.timestamp == timestamp
        assert ctx.account == Account("acme")
        assert ctx.namespace == place.namespace
        assert ctx.worker_id == client.get_run("e:1:shop/look").worker


async def test_what_was_not_sent_has_its_default_in_the_context(place: Place, client: Client) -> None:
    """No account, no context, the default source, and now."""
    seen: list[Context] = []
    before = datetime.now(UTC)
    await _run_one(place, client, lambda ctx: seen.append(ctx))  # noqa: PLW0108 - its name counts
    (ctx,) = seen
    assert ctx.account is None
    assert ctx.event.context is None
    assert ctx.event.source == "trigger.dev"
    assert before <= ctx.event.timestamp <= datetime.now(UTC)
    assert ctx.job.version is None


async def test_plain_functions_run_in_threads_with_an_io_of_their_own(place: Place, client: Client) -> None:
    """An async one runs on the event loop."""
    seen: dict[str, Any] = {}
    app = App("app")

    @app.job(id="plain", trigger=TRIGGER)
    def plain(io: SyncJobIO) -> None:
        seen["plain"] = (threading.current_thread() is threading.main_thread(), type(io))

    @app.job(id="async", trigger=TRIGGER)
    async def coroutine(io: JobIO) -> None:
        seen["async"] = (threading.current_thread() is threading.main_thread(), type(io))

    client.send_event(Event("asked"))
    await place.settle(app)
    assert seen == {"plain": (False, SyncJobIO), "async": (True, JobIO)}


async def test_each_run_has_a_context_of_its_own(place: Place, client: Client) -> None:
    """What one sets in a context variable no other sees, nor does the worker; each sees its own ids."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    app, seen, ids = App("app"), [], []

    def note(payload: int, ctx: Context) -> None:
        seen.append(variable.get())
        variable.set(f"set by {payload}")
        ids.append(ids_here()["run"] == ctx.run.id)

    @app.job(id="at-once", trigger=TRIGGER)
    async def at_once(payload: int, ctx: Context) -> None:
        note(payload, ctx)

    @app.job(id="later", trigger=TRIGGER)
    async def later(payload: int, ctx: Context) -> None:
        note(payload, ctx)
        await asyncio.sleep(0)
        assert variable.get() == f"set by {payload}"

    @app.job(id="plain", trigger=TRIGGER)
    def plain(payload: int, ctx: Context) -> None:
        note(payload, ctx)

    client.send_events([Event("asked", payload=n) for n in range(20)])
    await place.settle(app)
    assert seen == ["unset"] * 60
    assert all(ids)
    assert variable.get() == "unset"
    assert current_run.get() is None


# What it may do.


def _raises(exc: BaseException) -> Callable[[], None]:
    def job() -> None:
        raise exc

    return job


def _raises_async(exc: BaseException) -> Callable[[], Any]:
    async def job() -> None:
        raise exc

    return job


class _Own(BaseException):
    """Is no Exception."""


@pytest.mark.parametrize("make", [_raises, _raises_async])
@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (ValueError("no"), "ValueError"),
        (SystemExit(3), "SystemExit"),
        (StopIteration("end"), "RuntimeError"),
        (_Own("own"), f"{__name__}._Own"),
        (asyncio.CancelledError("by itself"), "asyncio.exceptions.CancelledError"),
        (TimeoutError("its own"), "TimeoutError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_whatever_a_function_raises_ends_its_run_and_nothing_else(
    place: Place, client: Client, make: Any, exc: BaseException, kind: str
) -> None:
    """The run is failed with the exception's type, and the worker goes on."""
    app = App("app")
    app.job(id="job", trigger=TRIGGER, retry=ONCE)(make(exc))
    app.job(id="other", trigger=event_trigger("other"))(lambda: "fine")
    sent = client.send_event(Event("asked"))
    async with place.working(app):
        run = await await_until(lambda: (found := client.get_event(sent.id)).is_settled and found.runs[0])
        assert run
        assert (run.status, run.error and run.error.type) == ("failed", kind)
        other = client.send_event(Event("other"))
        await await_until(lambda: client.get_event(other.id).is_settled)
    assert run_of(client, other.id, "other").status == "succeeded"


async def test_a_thread_may_not_end_the_worker_as_a_signal_would(place: Place, client: Client) -> None:
    """A KeyboardInterrupt in a thread is the function's own."""
    run = await _run_one(place, client, _raises(KeyboardInterrupt()))
    assert run.error is not None
    assert run.error.message == "the function raised KeyboardInterrupt"


async def test_an_error_of_ours_in_a_function_is_its_failure(place: Place, client: Client) -> None:
    """A function that reads a damaged event elsewhere has failed; its own entry is not taken for damaged."""
    from headrace import UndecodableEvent

    async def job() -> None:
        raise UndecodableEvent("another event")

    run = await _run_one(place, client, job)
    assert run.status == "failed"


async def test_a_coroutine_from_a_plain_function_says_what_to_do(place: Place, client: Client) -> None:
    """A decorator hid that the function is async: it has not run, and the run must not count as succeeded."""

    async def inner() -> None: ...

    run = await _run_one(place, client, lambda: inner())  # noqa: PLW0108 - it is not async
    assert run.status == "failed"
    assert run.error is not None
    assert (
        "a plain function returned a coroutine; make the function itself, and what wraps it, async def"
        in run.error.message
    )


async def test_a_schema_that_raises_is_a_failed_attempt(place: Place, client: Client) -> None:
    """An error in a type's own code is not the payload's fault, and is tried again."""

    class Moody(msgspec.Struct):
        x: int

        def __post_init__(self) -> None:
            raise KeyError("moody")

    run = await _run_one(place, client, _never, {"x": 1}, schema=Moody, retry=SOON)
    assert (run.status, run.attempt) == ("failed", 3)
    assert run.error is not None
    assert run.error.type == "KeyError"


# Timeouts.


async def test_an_async_function_is_cancelled_at_its_timeout(place: Place, client: Client) -> None:
    """It may clean up; the run is timed out, with how long it was allowed."""
    cleaned: list[bool] = []

    async def job() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    run = await _run_one(place, client, job, timeout=0.05)
    assert (run.status, cleaned) == ("timed_out", [True])
    assert run.error is not None
    assert (run.error.type, run.error.message) == (
        "TimeoutError",
        "the attempt took longer than the 0.05 s of its timeout",
    )
    (dead,) = client.list_dead_letters().entries
    assert (dead.run_id, dead.reason) == (run.id, "timed_out")


async def test_a_timeout_counts_as_an_attempt(place: Place, client: Client) -> None:
    """The next one may be faster."""
    attempts: list[int] = []

    async def job(ctx: Context) -> None:
        attempts.append(ctx.run.attempt)
        if ctx.run.attempt < 3:
            await asyncio.sleep(60)

    run = await _run_one(place, client, job, timeout=0.05, retry=SOON)
    assert (run.status, attempts) == ("succeeded", [1, 2, 3])


async def test_a_function_that_returns_in_time_leaves_no_timer(place: Place, client: Client) -> None:
    """Its timeout does not hit whoever comes after it."""
    app = App("app")

    @app.job(id="job", trigger=TRIGGER, timeout=0.2, retry=ONCE)
    async def job(payload: int) -> int:
        return payload

    @app.job(id="long", trigger=event_trigger("long"), retry=ONCE)
    async def long() -> str:
        await asyncio.sleep(0.3)
        return "done"

    client.send_events([Event("asked", payload=n) for n in range(50)])
    sent = client.send_event(Event("long"))
    await place.settle(app)
    assert run_of(client, sent.id, "long").output == "done"


async def test_a_function_that_ignores_its_timeout_is_recorded_without_waiting(place: Place, client: Client) -> None:
    """Its run is timed out a second later and goes no further, and its slot is free only when it returns."""
    app, going, end, ran = App("app"), asyncio.Event(), asyncio.Event(), []

    @app.job(id="job", trigger=TRIGGER, timeout=0.05, retry=ONCE)
    async def stubborn() -> str:
        going.set()
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    app.job(id="other", trigger=event_trigger("other"))(lambda: ran.append(True))
    sent = client.send_event(Event("asked"))
    with capture_logs() as lines:
        async with place.working(app, concurrency=1):
            await await_until(lambda: client.get_event(sent.id).is_settled)
            client.send_event(Event("other"))
            assert run_of(client, sent.id).status == "timed_out"
            with pytest.raises(AssertionError):
                await await_until(lambda: ran, 0.2)
            end.set()
            await await_until(lambda: ran)
    assert run_of(client, sent.id).status == "timed_out"
    assert any(line["event"].startswith("run ignores its cancellation") for line in lines)


async def test_a_plain_function_past_its_timeout_keeps_its_slot_until_it_ends(place: Place, client: Client) -> None:
    """Its run is timed out at once, and a warning says that a thread can't be ended."""
    app, end, ran = App("app"), threading.Event(), []

    @app.job(id="job", trigger=TRIGGER, timeout=0.05, retry=ONCE)
    def stubborn() -> str:
        end.wait(30)
        return "too late"

    app.job(id="other", trigger=event_trigger("other"))(lambda: ran.append(True))
    sent = client.send_event(Event("asked"))
    with capture_logs() as lines:
        async with place.working(app, concurrency=1):
            await await_until(lambda: client.get_event(sent.id).is_settled)
            client.send_event(Event("other"))
            with pytest.raises(AssertionError):
                await await_until(lambda: ran, 0.2)
            end.set()
            await await_until(lambda: ran)
    assert run_of(client, sent.id).status == "timed_out"
    (warning,) = [line for line in lines if line["event"].startswith("a plain function can't be ended")]
    assert (warning["log_level"], warning["run"]) == ("warning", f"{sent.id}:app/job")


async def test_an_outcome_after_the_cancellation_is_still_a_timeout(place: Place, client: Client) -> None:
    """Whether a function returns or raises when it is told to end, it took too long."""

    async def returns() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "swallowed"
        return "never"

    async def raises() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("instead") from None

    assert (await _run_one(place, client, returns, timeout=0.05)).status == "timed_out"
    run = await _run_one(place, client, raises, timeout=0.05)
    assert run.status == "timed_out"
    assert run.error is not None
    assert run.error.traceback.index("ValueError: instead") < run.error.traceback.index("TimeoutError: the attempt")


# Invalid payloads.


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, "Object missing required field `name` - at `payload`"),
        ({"name": 1}, "Expected `str`, got `int` - at `payload.name`"),
    ],
)
async def test_a_payload_that_does_not_fit_is_not_tried_again(
    place: Place, client: Client, payload: Any, message: str
) -> None:
    """The run ends with the paths at fault, the function is not called, and a dead letter says so."""
    run = await _run_one(place, client, _never, payload, schema=_User, retry=SOON)
    assert (run.status, run.attempt) == ("invalid_payload", 1)
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("InvalidPayload", message)
    (dead,) = client.list_dead_letters().entries
    assert (dead.run_id, dead.reason, dead.job) == (run.id, "invalid_payload", "app/job")
    assert message in dead.error


async def test_a_schema_without_payload_is_checked_all_the_same(place: Place, client: Client) -> None:
    """The function does not take it, and still is not called for one that does not fit."""
    run = await _run_one(place, client, _never_asked, 7, schema=_User)
    assert run.status == "invalid_payload"


# Retries.


async def test_attempts_wait_in_due_and_then_go_on(place: Place, client: Client, redis: redis_py.Redis) -> None:
    """Between attempts the run waits, with its error in the record; when they are used up it is failed and dead."""
    app, seen = App("app"), []

    @app.job(id="job", trigger=TRIGGER, retry=Retry(max_attempts=2, min_delay=60, jitter=False))
    async def job(ctx: Context) -> None:
        seen.append(ctx.run.attempt)
        raise ValueError(f"attempt {ctx.run.attempt}")

    sent = client.send_event(Event("asked"))
    due = f"headrace:{{{place.namespace}:0}}:due"
    async with place.working(app):
        await await_until(lambda: redis.zcard(due))
        run = run_of(client, sent.id)
        assert (run.status, run.attempt, run.finished_at) == ("waiting", 2, None)
        assert run.error is not None
        assert run.error.message == "attempt 1"
        assert 'raise ValueError(f"attempt' in run.error.traceback
        member = f"r:default:{run.id}"
        redis.zadd(due, {member: 1})
        redis.lpush(f"headrace:{{{place.namespace}:0}}:wake", "1")
        await await_until(lambda: client.get_event(sent.id).is_settled)
    run = run_of(client, sent.id)
    assert (run.status, run.attempt, seen) == ("failed", 2, [1, 2])
    assert run.error is not None
    assert run.error.message == "attempt 2"
    (dead,) = client.list_dead_letters().entries
    assert (dead.run_id, dead.reason, dead.error) == (run.id, "failed", "ValueError: attempt 2")


async def test_the_wait_is_the_servers_time_and_the_retrys(place: Place, client: Client, redis: redis_py.Redis) -> None:
    """RetryAfter sets it for one attempt."""
    app = App("app")

    @app.job(id="job", trigger=TRIGGER, retry=Retry(min_delay=20, jitter=False))
    async def job(payload: float | None) -> None:
        if payload is not None:
            raise RetryAfter(payload)
        raise ValueError

    by_retry, by_itself = client.send_events([Event("asked"), Event("asked", payload=500)])
    due = f"headrace:{{{place.namespace}:0}}:due"
    async with place.working(app):
        await await_until(lambda: redis.zcard(due) == 2)
        seconds, micros = redis.time()
        now_ms = seconds * 1000 + micros // 1000
        members = [f"r:default:{sent.id}:app/job" for sent in (by_retry, by_itself)]
        waits = [(score or 0) - now_ms for score in redis.zmscore(due, members)]
    assert 10_000 < waits[0] <= 20_000
    assert 490_000 < waits[1] <= 500_000
    redis.delete(due)
    redis.delete(*redis.keys(f"headrace:{{{place.namespace}:0}}:event:*"))


async def test_abort_ends_a_run_whatever_attempts_are_left(place: Place, client: Client) -> None:
    """With its reason."""

    async def job() -> None:
        raise Abort("the account is closed")

    run = await _run_one(place, client, job, retry=SOON)
    assert (run.status, run.attempt) == ("failed", 1)
    assert run.error is not None
    assert run.error.message == "the account is closed"


async def test_a_failed_run_runs_again_from_its_first_attempt(place: Place, client: Client) -> None:
    """As a replay, with all its attempts anew; its dead letter is gone, and its record is that of the new end."""
    app, seen, mended = App("app"), [], False

    @app.job(id="job", trigger=TRIGGER, retry=SOON)
    async def job(payload: str, ctx: Context) -> str:
        seen.append((ctx.run.attempt, ctx.run.is_replay, ctx.run.is_retry))
        if not mended or ctx.run.attempt < 2:
            raise ValueError("not mended")
        return payload

    sent = client.send_event(Event("asked", payload="again"))
    await place.settle(app)
    assert run_of(client, sent.id).status == "failed"
    mended = True
    again = client.retry_run(f"{sent.id}:app/job")
    assert (again.status, again.attempt) == ("queued", 1)
    assert client.list_dead_letters().entries == []
    assert not client.get_event(sent.id).is_settled
    await place.settle(app)
    run = run_of(client, sent.id)
    assert (run.status, run.attempt, run.output, run.error) == ("succeeded", 2, "again", None)
    assert seen == [(1, False, False), (2, False, True), (3, False, True), (1, True, False), (2, True, True)]


# Outputs.


async def test_an_output_that_is_too_large_is_replaced_by_a_note(place: Place, client: Client) -> None:
    """The run has succeeded all the same; one that just fits is kept."""
    kept = await _run_one(place, client, lambda: "x" * 65_530)
    assert kept.output == "x" * 65_530
    replaced = await _run_one(place, client, lambda: "x" * 65_536)
    assert replaced.status == "succeeded"
    assert replaced.output == "<an output of 65,543 bytes was not kept: the limit is 65,536>"


@dataclass(frozen=True)
class _Key:
    x: int = 1


class _Bomb:
    @property
    def __dataclass_fields__(self) -> Any:
        raise ZeroDivisionError


class _Panic(datetime):
    @property
    def year(self) -> int:
        raise SystemExit(3)


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    "output",
    [
        object(),
        {1, object()},
        2**64,
        "\ud800",
        lambda: None,
        {"a": {"b": 1j}},
        type,
        _Bomb(),
        _Panic(2024, 1, 1),
        _nested(641),
        msgspec.Raw(b'{"a": 1}'),
        {_Key(): 1},
    ],
    ids=lambda output: type(output).__name__,
)
async def test_an_output_that_cant_be_carried_is_a_note(place: Place, client: Client, output: Any) -> None:
    """The run has succeeded, leaves no dead letter, says why there is no output, and hinders no other outcome."""
    app = App("app")
    app.job(id="job", trigger=TRIGGER, retry=SOON)(lambda: output)
    app.job(id="other", trigger=TRIGGER)(lambda: "fine")
    sent = client.send_event(Event("asked"))
    await place.settle(app)
    run = run_of(client, sent.id)
    assert (run.status, run.attempt, run.error) == ("succeeded", 1, None)
    assert run.output.startswith(f"<an output of type {type(output).__name__} could not be carried: ")
    assert client.list_dead_letters().entries == []
    assert run_of(client, sent.id, "other").output == "fine"


class _Markup(str):
    __slots__ = ()


class _Model(pydantic.BaseModel):
    name: str


@pytest.mark.parametrize(
    ("output", "stored"),
    [
        (_User("Ada"), {"name": "Ada"}),
        (_Point(1), {"x": 1}),
        ((1, 2), [1, 2]),
        ({1}, [1]),
        (_Markup("x"), "x"),
        ({"of": [_Model(name="Ada"), _Markup("x")]}, {"of": [{"name": "Ada"}, "x"]}),
    ],
)
async def test_an_output_is_what_msgpack_makes_of_it(place: Place, client: Client, output: Any, stored: Any) -> None:
    """Structs and dataclasses become maps, tuples and sets lists."""
    assert (await _run_one(place, client, lambda: output)).output == stored


async def test_an_abort_in_a_task_group_ends_the_run(place: Place, client: Client) -> None:
    """Python's own way to run things beside each other hides nothing."""

    async def part() -> None:
        raise Abort("the account is closed")

    async def job() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(part())

    run = await _run_one(place, client, job)
    assert (run.status, run.attempt) == ("failed", 1)


# Bodies.


@pytest.mark.parametrize("size", [8_000, 9_000, 1_048_000])
async def test_a_large_payload_reaches_every_job_whole(
    place: Place, client: Client, redis: redis_py.Redis, size: int
) -> None:
    """Large ones are stored once, in the record; a retry and a replay get them as well."""
    app, seen = App("app"), []
    payload = "x" * size
    for job_id in ("first", "second", "third"):

        @app.job(id=job_id, trigger=event_trigger("asked", filter={}), retry=SOON)
        async def job(payload: str, ctx: Context) -> None:
            seen.append(payload)
            if ctx.run.attempt == 1:
                raise ValueError

    client.send_event(Event("asked", payload=payload))
    prefix = f"headrace:{{{place.namespace}:0}}:"
    await place.settle(app)
    assert len(seen) == 6
    assert all(each == payload for each in seen)
    assert redis.xlen(f"{prefix}queue:app/default") == 0


async def test_many_large_payloads_are_read_in_groups(place: Place, client: Client) -> None:
    """More than 8 MB in one read, each to its own run."""
    app, seen = App("app"), []

    @app.job(id="job", trigger=TRIGGER)
    async def job(payload: list[Any]) -> None:
        seen.append((payload[0], len(payload[1])))

    sizes = [900_000] * 12 + [10] * 3
    client.send_events([Event("asked", payload=[n, "x" * size]) for n, size in enumerate(sizes)])
    await place.settle(app)
    assert sorted(seen) == list(enumerate(sizes))


# Slots.


@pytest.mark.parametrize("queues", [1, 3])
async def test_never_more_functions_execute_than_there_are_slots(place: Place, client: Client, queues: int) -> None:
    """And all slots are used while there is work; async and plain functions share them."""
    app = App("app")
    lock, executing, most = threading.Lock(), 0, []

    def enter(by: int) -> None:
        nonlocal executing
        with lock:
            executing += by
            most.append(executing)

    async def coroutine() -> None:
        enter(1)
        await asyncio.sleep(0.005)
        enter(-1)

    def plain() -> None:
        enter(1)
        threading.Event().wait(0.005)
        enter(-1)

    for place_ in range(queues):
        app.job(id=f"async-{place_}", trigger=TRIGGER, queue=f"q{place_}")(coroutine)
        app.job(id=f"plain-{place_}", trigger=TRIGGER, queue=f"q{place_}")(plain)
    client.send_events([Event("asked") for _ in range(60 // queues)])
    await place.settle(app, concurrency=5)
    assert len(most) == 240
    assert max(most) == 5


async def test_an_app_without_jobs_still_dispatches(place: Place, client: Client) -> None:
    """Its worker takes its turn for the others, and stops as any."""
    sent = client.send_event(Event("asked"))
    async with place.working(App("empty")):
        await await_until(lambda: client.get_event(sent.id).is_settled)


def test_a_worker_is_named_anew_at_every_start(place: Place) -> None:
    """None of its names is known before it runs."""
    assert place.make(App("app")).name is None


async def test_a_worker_says_once_which_job_it_has_not(place: Place, client: Client) -> None:
    """Where two code bases call their apps by one name, runs wait for who has their job, and the log says so."""
    one, two = App("app"), App("app")
    one.job(id="one", trigger=TRIGGER, queue="shared")(lambda: None)
    one.job(id="idle", trigger=event_trigger("idle"), queue="idle")(lambda: None)
    two.job(id="two", trigger=event_trigger("two"), queue="shared")(lambda: None)
    with capture_logs() as lines:
        async with place.working(one, queues=("idle",)), place.working(two):
            ids = [client.send_event(Event("asked")).id for _ in range(3)]
            await await_until(lambda: all(_waits(client, each) for each in ids), 20, what="runs that wait")
    told = [line for line in lines if line["event"] == "this worker has no job 'one'; its run waits for one that has"]
    assert [(line["log_level"], line["app"], line["job"]) for line in told] == [("warning", "app", "one")]
    async with place.working(one):
        await await_until(lambda: all(client.get_event(each).is_settled for each in ids), 30, what="settled events")


def _waits(client: Client, event_id: str) -> bool:
    return [run.status for run in client.get_event(event_id).runs] == ["waiting"]
