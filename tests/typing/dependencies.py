"""A lifespan, what it opens, values made for each attempt, and context managers around it."""

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Annotated, Self, assert_type

from headrace_worker import App, Context, Depends, JobIO, event_trigger
from tests.typing.events import NewUser


@dataclass
class State:
    rows: list[str] = field(default_factory=list[str])


@asynccontextmanager
async def lifespan() -> AsyncIterator[State]:
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


def plain_session(state: State) -> Generator[Session, None, None]:
    yield Session()


@contextmanager
def managed_session() -> Iterator[Session]:
    yield Session()


@asynccontextmanager
async def async_managed_session(ctx: Context) -> AsyncIterator[Session]:
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
def named(ctx: Context) -> Iterator[None]:
    yield


@app.around
@asynccontextmanager
async def traced() -> AsyncIterator[None]:
    yield


async def functions_keep_their_types(ctx: Context) -> None:
    user, opened, pool = NewUser("u_1"), Session(), Pool()
    assert_type(await async_job(user, opened, opened, "known", pool), str)
    assert_type(plain_job(State(), opened, opened, "known", ctx=ctx), int)
    assert_type(lifespan(), AbstractAsyncContextManager[State])
    with named(ctx):
        pass


async def mistakes(ctx: Context, io: JobIO) -> None:
    await async_job(NewUser("u_1"))
    plain_job(State(), Session(), Session(), 5, ctx=ctx)
    named()
    App("shop", lifespan=plain_session)
    App("shop", lifespan=managed_session)
    App("shop", lifespan=lifespan())
    App("shop", modules="shop.orders")
    Depends(5)
    Depends()
    app.around(plan)
    app.around(plain_session)


@app.job(id="default", trigger=event_trigger("tick"))
async def default(opened: Session = Depends(session)) -> None: ...
