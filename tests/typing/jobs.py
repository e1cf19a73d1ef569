"""Jobs as modules define them, and as tests and other code call their functions."""

import functools
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, ParamSpec, TypedDict, TypeVar, assert_never, assert_type

from headrace import SentEvent
from headrace_worker import (
    Abort,
    Account,
    App,
    Context,
    EventInfo,
    Job,
    JobInfo,
    JobIO,
    Queue,
    Retry,
    RetryAfter,
    RunInfo,
    SyncJobIO,
    Trigger,
    event_trigger,
)
from tests.typing.events import CardAdded, Nameless, NewUser, OrderPlaced, Refunded, UserLeft

P = ParamSpec("P")
R = TypeVar("R")


class Row(TypedDict):
    user_id: str


app = App("shop", version="1.4", log_errors=False, modules=["shop.orders", "shop.mails"])


@app.job(id="welcome")
async def welcome(payload: NewUser, io: JobIO, ctx: Context) -> str:
    return f"{payload.user_id} in {ctx.run.attempt}"


@app.job(
    id="mail",
    trigger=event_trigger("user.new", source=["shop", "web"], filter={"plan": ["pro"]}, context_filter={"test": []}),
    retry=Retry(max_attempts=3, min_delay=0.1, max_delay=timedelta(minutes=1), no_retry_on=(KeyError,)),
    timeout=timedelta(seconds=30),
    queue="mails",
    schema=Row,
    examples={"one": Row(user_id="u_1"), "plain": {"user_id": "u_2"}},
)
def mail(payload: Row, io: SyncJobIO) -> int:
    return len(payload["user_id"])


@app.job(id="count")
def count(payload: NewUser | UserLeft) -> Literal[1, -1]:
    match payload:
        case NewUser():
            return 1
        case UserLeft():
            return -1
        case _:
            assert_never(payload)


@app.job(id="audit", trigger=event_trigger(NewUser, OrderPlaced, CardAdded, Refunded, filter={"total": [{"$gt": 1}]}))
async def audit(*, ctx: Context, payload: NewUser | OrderPlaced | CardAdded | Refunded) -> None: ...


@app.job(id="sync", trigger=event_trigger("sync"), concurrency=3)
async def sync() -> None: ...


@app.job(id="bulk", trigger=event_trigger("bulk"), queue=Queue("bulk", concurrency=2, weight=5))
async def bulk() -> None: ...


@app.job(id="tick", trigger=event_trigger("tick", "tock"), retry=Retry.none(), timeout=None)
async def tick() -> None: ...


@app.job(id="dicts", trigger=event_trigger(["tick", UserLeft]), retry=Retry.fixed(30, retry_on=(OSError,)), timeout=5)
def dicts(payload: dict[str, Any], state: object) -> None: ...


def traced(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return await function(*args, **kwargs)

    return call


@app.job(id="traced", trigger=event_trigger("tick"))
@traced
async def traced_job(io: JobIO) -> int:
    return 1


class Shop:
    @staticmethod
    @app.job(id="close", trigger=event_trigger("shop.closed"))
    async def close(payload: Row) -> None: ...

    async def open(self, payload: Row) -> None: ...

    async def __call__(self, ctx: Context) -> None: ...


def greet(greeting: str, payload: NewUser) -> str:
    return f"{greeting}, {payload.user_id}"


app.job(id="greet")(functools.partial(greet, "hello"))
app.job(id="open", trigger=event_trigger("shop.opened"))(Shop().open)
app.job(id="call", trigger=event_trigger("shop.called"))(Shop())


async def functions_keep_their_types(io: JobIO, sync_io: SyncJobIO, ctx: Context) -> None:
    assert_type(await welcome(NewUser("u_1"), io, ctx), str)
    assert_type(mail({"user_id": "u_1"}, sync_io), int)
    assert_type(count(UserLeft("u_1")), Literal[1, -1])
    assert_type(await traced_job(io), int)
    await audit(ctx=ctx, payload=NewUser("u_1"))
    await Shop.close({"user_id": "u_1"})


async def sends(io: JobIO) -> None:
    assert_type(await io.send_event("welcomed", NewUser("u_1"), deliver_after=3, account_id="a_1"), SentEvent)
    assert_type(await io.send_events("all", [NewUser("u_1"), {"name": "x"}], ordering_key="u"), list[SentEvent])
    users = [NewUser("u_1"), NewUser("u_2")]
    await io.send_events("users", users)
    io.logger.info("welcomed", user_id="u_1")


def sends_of_a_plain_job(io: SyncJobIO) -> None:
    assert_type(io.send_event("welcomed", NewUser("u_1"), deliver_after=timedelta(days=1)), SentEvent)
    assert_type(io.send_events("all", [NewUser("u_1"), {"name": "x"}]), list[SentEvent])
    io.logger.bind(user_id="u_1").warning("late")


def contexts(ctx: Context) -> None:
    assert_type(ctx.run, RunInfo)
    assert_type(ctx.run.attempt, int)
    assert_type(ctx.run.is_retry, bool)
    assert_type(ctx.job, JobInfo)
    assert_type(ctx.job.version, str | None)
    assert_type(ctx.event, EventInfo)
    assert_type(ctx.event.context, Any)
    assert_type(ctx.account, Account | None)
    assert_type(ctx.namespace, str)


def triggers(filters: Mapping[str, Any]) -> None:
    assert_type(event_trigger("user.new"), Trigger)
    assert_type(event_trigger(NewUser, "user.left", filter=filters).names, tuple[str, ...])


def policies() -> None:
    assert_type(Retry.none(), Retry)
    assert_type(Retry.fixed(timedelta(seconds=3), max_attempts=2), Retry)
    assert_type(Retry().allows(KeyError("id")), bool)
    raise RetryAfter(30) from Abort("not again")


def apps() -> None:
    assert_type(app.name, str)
    assert_type(app.jobs, dict[str, Job])
    assert_type(app.jobs["welcome"].trigger.names, tuple[str, ...])
    assert_type(app.queues, tuple[str, ...])
    assert_type(app.modules, tuple[str, ...])


async def mistakes_in_calls(io: JobIO, sync_io: SyncJobIO, ctx: Context) -> None:
    await welcome(UserLeft("u_1"), io, ctx)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await welcome(NewUser("u_1"), sync_io, ctx)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await welcome(NewUser("u_1"), io)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    mail({"user": "u_1"}, sync_io)  # type: ignore[typeddict-item, typeddict-unknown-key]  # pyright: ignore[reportArgumentType]
    welcome(NewUser("u_1"), io, ctx)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    io.send_event("welcomed", NewUser("u_1"))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    await io.send_event(NewUser("u_1"))  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    await io.send_event("welcomed", "user.new")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sync_io.send_event(NewUser("u_1"))  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    sync_io.send_events("all", [Nameless("u_1")])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await sync_io.send_event("welcomed", NewUser("u_1"))  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    ctx.run.attempts  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    ctx.account.id  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]


def mistakes_in_triggers() -> None:
    event_trigger(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    event_trigger(Nameless)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    event_trigger("user.new", "user.left", sources="shop")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    event_trigger("user.new", filter=["pro"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def mistakes_in_policies() -> None:
    Retry(max_attempts="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Retry(min_delay="1s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(retry_on=KeyError)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(retry_on=(str,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry.fixed()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@app.job("positional", trigger=event_trigger("tick"))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
async def positional() -> None: ...


@app.job(trigger=event_trigger("tick"))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
async def without_id() -> None: ...


@app.job  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
async def bare(payload: NewUser) -> None: ...


@app.job(id="text", trigger="user.new")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def text() -> None: ...


@app.job(id="many", trigger=event_trigger("tick"), retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def many() -> None: ...


@app.job(id="slow", trigger=event_trigger("tick"), timeout="30s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def slow() -> None: ...
