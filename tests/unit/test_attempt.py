"""A job makes one attempt without a server as a worker lets it, and a test sees what came of it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

import msgspec
import pytest

from headrace import Event, InvalidArgument, InvalidEvent
from headrace_worker import Abort, App, Context, Depends, JobError, JobIO, Retry, RetryAfter, SyncJobIO, event_trigger
from headrace_worker.testing import Attempt, acall_job, call_job


class Order(msgspec.Struct):
    id: int


class State(msgspec.Struct):
    rows: list[str]


@asynccontextmanager
async def _lifespan() -> AsyncIterator[State]:
    yield State(["a lifespan is not entered"])


async def session(state: State) -> AsyncIterator[list[str]]:
    opened = list[str]()
    yield opened
    state.rows += opened  # the commit


def clock() -> datetime:
    return datetime.now(UTC)


def moment(now: Annotated[datetime, Depends(clock)]) -> str:
    return now.isoformat()


class CardDeclined(Exception):
    pass


steps: list[str] = []
var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
app = App("shop", lifespan=_lifespan, version="7")


@app.around
@contextmanager
def plain_around(ctx: Context) -> Iterator[None]:
    steps.append(f"plain around {ctx.job.id} {ctx.run.attempt}")
    yield


@app.around
@asynccontextmanager
async def async_around() -> AsyncIterator[None]:
    steps.append("async around")
    yield


@app.job(id="charge", trigger=event_trigger("order.placed"), retry=Retry(min_delay=4, jitter=False))
async def charge(payload: Order, io: JobIO, ctx: Context, s: Annotated[list[str], Depends(session)]) -> dict[str, Any]:
    s.append(f"order {payload.id}")
    await io.send_event("charged", Event("order.charged", payload.id))
    if payload.id == 13:
        raise CardDeclined("13 is unlucky")
    return {"attempt": ctx.run.attempt, "pair": (1, 2)}


@app.job(id="mail", trigger=event_trigger(["mail", "letter"], source="crm"), retry=Retry(min_delay=2))
def mail(payload: str, io: SyncJobIO, ctx: Context, now: Annotated[str, Depends(moment)]) -> dict[str, Any]:
    if payload.startswith("fail"):
        raise ConnectionError(payload)
    io.send_event("mailed", Event("mailed", payload))
    event = [ctx.event.name, ctx.event.source, ctx.event.id, ctx.event.context, ctx.event.ordering_key]
    account = ctx.account.id if ctx.account else None
    return {"event": event, "account": account, "now": now, "replay": ctx.run.is_replay, "var": var.get()}


@app.job(id="picky", trigger=event_trigger("user", filter={"plan": ["pro"]}, context_filter={"eu": [True]}))
async def picky(payload: dict[str, Any]) -> None:
    pass


@pytest.fixture(autouse=True)
def _no_steps() -> None:
    steps.clear()


def test_an_attempt_is_made_as_a_worker_makes_it() -> None:
    """Parsed payload, arounds, dependencies with their commit, the output as it is recorded, what was sent."""
    state = State([])
    attempt = call_job(app, "charge", Order(7), attempt=2, state=state)
    assert (attempt.status, attempt.attempt, attempt.error, attempt.exception) == ("succeeded", 2, None, None)
    assert (attempt.retry_after, attempt.next_attempt) == (None, None)
    assert attempt.output == {"attempt": 2, "pair": [1, 2]}
    assert attempt.sent["charged"] == 7
    assert state.rows == ["order 7"]
    assert steps == ["plain around charge 2", "async around"]


def test_the_policy_decides_what_follows_a_failure() -> None:
    """The wait is exact, the exception itself is there, and the session did not commit."""
    state = State([])
    attempt = call_job(app, "charge", Order(13), attempt=2, state=state)
    assert (attempt.status, attempt.next_attempt, attempt.retry_after) == ("waiting", 3, timedelta(seconds=4))
    assert attempt.error is not None
    assert attempt.error.type.endswith("CardDeclined")
    assert attempt.error.message == "13 is unlucky"
    assert isinstance(attempt.exception, CardDeclined)
    assert attempt.sent["charged"] == 13
    assert state.rows == []
    last = call_job(app, "charge", Order(13), attempt=5, state=state)
    assert (last.status, last.next_attempt, last.retry_after) == ("failed", None, None)


@pytest.mark.parametrize(("jitter", "seconds"), [(0, 2), (0.5, 3), (1, 4)])
def test_jitter_is_chosen_by_the_test(jitter: float, seconds: int) -> None:
    """So that a wait is one number; the shortest one if nothing is chosen."""
    attempt = call_job(app, "mail", "fail", jitter=jitter)
    assert attempt.retry_after == timedelta(seconds=seconds)


def test_a_payload_that_does_not_fit_is_invalid() -> None:
    """With the path, and without a call of anything."""
    attempt = call_job(app, "charge", {"id": "seven"}, state=State([]))
    assert attempt.status == "invalid_payload"
    assert attempt.error is not None
    assert "`payload.id`" in attempt.error.message
    assert attempt.exception is None
    assert (steps, len(attempt.sent)) == ([], 0)


def test_a_job_sees_the_event_that_is_given() -> None:
    """Each of its fields; name and source come from the trigger if they are not given."""
    var.set("of the test")
    at = datetime(2030, 1, 1, tzinfo=UTC)
    given = call_job(
        app, "mail", "hello", name="letter", context={"a": (1,)}, id="e1", account_id="acc", ordering_key="k",
        is_replay=True, override={clock: at},
    )  # fmt: skip
    assert given.output == {
        "event": ["letter", "crm", "e1", {"a": [1]}, "k"],
        "account": "acc", "now": at.isoformat(), "replay": True, "var": "of the test",
    }  # fmt: skip
    plain = call_job(app, "mail", "hello")
    assert plain.output["event"] == ["mail", "crm", "event", None, None]
    assert given.sent[0].id != plain.sent[0].id


def test_dependencies_are_overridden_by_values_and_functions() -> None:
    """The app keeps its own; what only the replaced function needed is not made."""
    assert call_job(app, "mail", "x", override={moment: "noon"}).output["now"] == "noon"

    def closed() -> Iterator[str]:
        yield "by a generator"
        steps.append("closed")

    assert call_job(app, "mail", "x", override={moment: closed}).output["now"] == "by a generator"
    assert steps[-1] == "closed"

    def with_own(payload: str, now: Annotated[datetime, Depends(clock)]) -> str:
        return f"{payload} {now.year}"

    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert call_job(app, "mail", "x", override={moment: with_own, clock: at}).output["now"] == "x 2030"
    rows: list[str] = []
    assert call_job(app, "charge", Order(1), override={session: rows}).status == "succeeded"
    assert rows == ["order 1"]
    assert call_job(app, "mail", "x").output["now"] != "noon"


def test_a_plain_function_executes_in_the_thread_of_the_test() -> None:
    """It sees the test's database transaction; and no event loop, as in a worker."""
    own, threads, loops = App("own"), list[threading.Thread](), list[Any]()

    @own.around
    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        loops.append(asyncio.get_running_loop())
        yield

    @own.job(id="j", trigger=event_trigger("e"))
    def job() -> int:
        threads.append(threading.current_thread())
        return asyncio.run(asyncio.sleep(0, 5))

    before = threading.active_count()
    assert call_job(own, "j").output == 5
    assert threads == [threading.current_thread()]
    assert len(loops) == 1
    assert threading.active_count() <= before + 1  # a thread that is about to end


async def test_an_async_test_awaits_an_attempt() -> None:
    """Its event loop is the job's; a plain function has a thread."""
    own, seen = App("own"), list[Any]()

    @own.job(id="a", trigger=event_trigger("e"))
    async def on_loop() -> None:
        seen.append(asyncio.get_running_loop())

    @own.job(id="p", trigger=event_trigger("e"))
    def in_thread() -> None:
        seen.append(threading.current_thread())

    assert (await acall_job(own, "a")).status == "succeeded"
    assert (await acall_job(own, "p")).status == "succeeded"
    assert seen[0] is asyncio.get_running_loop()
    assert seen[1] is not threading.current_thread()
    with pytest.raises(InvalidArgument, match=r"await acall_job"):
        call_job(own, "a")


def test_timeouts_and_control_are_as_in_a_worker() -> None:
    """A timeout is an exception of the policy; RetryAfter and Abort say how the run goes on."""
    own = App("own")

    @own.job(id="slow", trigger=event_trigger("e"), timeout=0.01, retry=Retry.none())
    async def slow() -> None:
        await asyncio.Event().wait()

    @own.job(id="slow-plain", trigger=event_trigger("e"), timeout=0.01, retry=Retry.fixed(5))
    def slow_plain() -> None:
        time.sleep(0.1)

    @own.job(id="later", trigger=event_trigger("e"))
    async def later() -> None:
        raise RetryAfter(timedelta(hours=1))

    @own.job(id="never", trigger=event_trigger("e"))
    def never() -> None:
        raise Abort("no such order")

    timed_out = call_job(own, "slow")
    assert timed_out.status == "timed_out"
    assert isinstance(timed_out.exception, TimeoutError)
    plain = call_job(own, "slow-plain")
    assert (plain.status, plain.retry_after) == ("waiting", timedelta(seconds=5))
    assert call_job(own, "later").retry_after == timedelta(hours=1)
    assert call_job(own, "never").status == "failed"


def test_what_ends_the_test_passes_through_the_job() -> None:
    """`pytest.fail` in a stand-in is no failure of the job."""
    own = App("own")

    @own.job(id="a", trigger=event_trigger("e"))
    async def on_loop() -> None:
        pytest.fail("of the test")

    @own.job(id="p", trigger=event_trigger("e"))
    def in_thread() -> None:
        pytest.fail("of the test")

    for job in ("a", "p"):
        with pytest.raises(pytest.fail.Exception, match="of the test"):
            call_job(own, job)


def _misuses() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "chrage", {}, r"job_id: app 'shop' has no job 'chrage'; its jobs: charge, mail, picky"
    yield "charge", {"payload": Order(1)}, r"state: job 'charge' needs it, .*write state="
    yield "charge", {"attempt": 6, "state": 1}, r"attempt: must be 1 to 5"
    yield "charge", {"attempt": 0, "state": 1}, r"attempt: must be 1 to 5"
    yield "mail", {"jitter": 2}, r"jitter: must be 0 to 1"
    yield "mail", {"override": {session: 1}}, r"override: session is no dependency of mail; known are clock, moment"
    yield "picky", {"override": {session: 1}}, r"override: session is no dependency of picky; there is none"
    yield "mail", {"name": "post"}, r"name: the trigger of job 'mail' matches mail, letter, not 'post'"
    yield "mail", {"source": "x"}, r"source: the trigger of job 'mail' matches crm, not 'x'"
    yield (
        "picky",
        {"payload": {"plan": "free"}},
        r"payload: does not pass .* 'picky': payload\.plan is 'free', wanted \"pro\"",
    )
    yield (
        "picky",
        {"payload": {"plan": "pro"}, "context": {"eu": False}},
        r"context: .*: context\.eu is False, wanted true",
    )


@pytest.mark.parametrize(("job", "given", "message"), list(_misuses()))
def test_a_wrong_call_names_the_argument(job: str, given: dict[str, Any], message: str) -> None:
    """And the way out; nothing is called."""
    with pytest.raises(InvalidArgument, match=message):
        call_job(app, job, **{"payload": "x", **given})
    assert steps == []


def test_what_can_t_be_sent_or_can_t_stand_in_is_refused() -> None:
    """As a client and a definition refuse it."""
    with pytest.raises(InvalidEvent, match=r"payload\.a"):
        call_job(app, "mail", {"a": object()})

    async def never() -> str:
        return ""

    with pytest.raises(JobError, match=r"parameter now: Depends\(.*never\) is async"):
        call_job(app, "mail", "x", override={moment: never})
    with pytest.raises(TypeError, match="atempt"):
        call_job(app, "mail", "x", atempt=1)  # type: ignore[call-arg]


def test_payloads_of_a_sealed_app_are_sealed_and_opened() -> None:
    """By the app's own codec, as between a client and a worker."""

    class Codec:
        calls: list[str] = []  # noqa: RUF012 - of this test alone

        def encode(self, data: bytes, _bound_to: bytes, /) -> bytes:
            self.calls.append("sealed")
            return data[::-1]

        def decode(self, data: bytes, _bound_to: bytes, /) -> bytes:
            self.calls.append("opened")
            return data[::-1]

    own = App("own", codec=Codec())

    @own.job(id="j", trigger=event_trigger("e"))
    async def job(payload: int) -> int:
        return payload + 1

    assert call_job(own, "j", 1).output == 2
    assert Codec.calls == ["sealed", "opened", "sealed", "opened"]  # the payload, then the output


class Joined(msgspec.Struct, frozen=True):
    __event__: ClassVar[str] = "joined"
    name: str


class Left(msgspec.Struct, frozen=True):
    __event__: ClassVar[str] = "left"
    name: str


def test_a_typed_payload_names_its_event() -> None:
    """And its class is what the job gets."""
    own = App("own")

    @own.job(id="j")
    async def job(payload: Joined | Left, ctx: Context) -> list[str]:
        return [type(payload).__name__, ctx.event.name]

    assert call_job(own, "j", Left("ada")).output == ["Left", "left"]
    assert call_job(own, "j", Joined("ada")).output == ["Joined", "joined"]
    assert call_job(own, "j", {"name": 1}, name="left").status == "invalid_payload"


def test_both_calls_take_the_same() -> None:
    """An option of one is an option of the other."""
    assert list(inspect.signature(call_job).parameters) == list(inspect.signature(acall_job).parameters)
    assert inspect.signature(call_job).return_annotation == Attempt.__name__
