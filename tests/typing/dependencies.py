"""A lifespan, what it opens, values made for each attempt, and context managers around it."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Annotated, Self, assert_type

from headrace_worker import App, Context, Depends, event_trigger
from tests.typing.events import NewUser


@dataclass
class State:
    rows: list[str] = field(default_factory=list[str])


@asynccontextmanager
async def lifespan() -> AsyncGenerator[State]:
    yield State()


class Pool:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


app = App("shop", lifespan=lifespan)
App("shop", lifespan=Pool)


class Session:
    rows: list[str]


async def session(state: State) -> AsyncIterator[Session]:
    yield Session()


def plain_session(state: State) -> Iterator[Session]:
    yield Session()


@contextmanager
def managed_session() -> Generator[Session]:
    yield Session()


@asynccontextmanager
async def async_managed_session(ctx: Context) -> AsyncGenerator[Session]:
    yield Session()


async def user_id(payload: NewUser, opened: Annotated[Session, Depends(session)]) -> str:
    return f"{payload.user_id} {opened.rows}"


def plan(payload: NewUser) -> str:
    return payload.plan


@app.job(id="async")
async def async_job(
    payload: NewUser,
    opened: Annotated[Session, Depends(session)],
    managed: Annotated[Session, Depends(async_managed_session)],
    known: Annotated[str, Depends(user_id)],
    pool: Annotated[Pool, Depends(Pool)],
) -> str:
    assert_type(opened, Session)
    assert_type(known, str)
    return known


@app.job(id="plain", trigger=event_trigger(NewUser))
def plain_job(
    state: State,
    opened: Annotated[Session, Depends(plain_session)],
    managed: Annotated[Session, Depends(managed_session)],
    known: Annotated[str, Depends(plan)],
    *,
    ctx: Context,
) -> int:
    return len(known)


@app.around
@contextmanager
def named(ctx: Context) -> Generator[None]:
    yield


@app.around
@asynccontextmanager
async def traced() -> AsyncGenerator[None]:
    yield


async def functions_keep_their_types(ctx: Context) -> None:
    user, opened, pool = NewUser("u_1"), Session(), Pool()
    assert_type(await async_job(user, opened, opened, "known", pool), str)
    assert_type(plain_job(State(), opened, opened, "known", ctx=ctx), int)
    with named(ctx):
        async with lifespan() as state:
            assert_type(state, State)


async def mistakes(ctx: Context) -> None:
    await async_job(NewUser("u_1"))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    plain_job(State(), Session(), Session(), 5, ctx=ctx)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    named()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    App("shop", lifespan=plain_session)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    App("shop", lifespan=managed_session)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    App("shop", lifespan=lifespan())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    App("shop", modules="shop.orders")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Depends(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Depends()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    app.around(plan)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    app.around(plain_session)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


@app.job(id="default", trigger=event_trigger("tick"))
async def default(opened: Session = Depends(session)) -> None: ...  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
