"""An around is entered for each attempt, where the function executes, and can't change the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar, Token
from typing import Any

import pytest

from headrace import Client, Event
from headrace_worker import Abort, App, Context
from tests.support.single_run import SOON, TRIGGER, run_in
from tests.support.steps import Steps
from tests.support.workers import WorkerHost

_who: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def app() -> App:
    return App("hooks")


# Where they are entered.


async def test_arounds_of_an_async_job_are_entered_on_the_loop_in_order(
    host: WorkerHost, client: Client, app: App, steps: Steps
) -> None:
    """The first one is the outermost, whatever its kind."""
    app.around(steps.around("a"))
    app.around(steps.async_around("b"))
    app.around(steps.around("c"))

    async def job() -> None:
        steps.note("job")

    assert (await run_in(app, host, client, job)).status == "succeeded"
    assert steps.seen == [f"{what} loop" for what in ("a+", "b+", "c+", "job", "c-", "b-", "a-")]


async def test_plain_arounds_of_a_plain_job_are_entered_in_its_thread(
    host: WorkerHost, client: Client, app: App, steps: Steps
) -> None:
    """Async ones are on the loop, around the thread."""
    app.around(steps.around("a"))
    app.around(steps.async_around("b"))
    app.around(steps.around("c"))

    assert (await run_in(app, host, client, lambda: steps.note("job"))).status == "succeeded"
    assert steps.seen == [
        "b+ loop", "a+ thread", "c+ thread", "job thread", "c- thread", "a- thread", "b- loop",
    ]  # fmt: skip


async def test_an_around_sees_the_attempt(host: WorkerHost, client: Client, app: App) -> None:
    """Also where the function itself takes no context."""
    seen: list[tuple[str, str, int]] = []

    @app.around
    @contextmanager
    def outer(ctx: Context) -> Iterator[None]:
        seen.append(("plain", ctx.job.id, ctx.run.attempt))
        yield

    @app.around
    @asynccontextmanager
    async def inner(ctx: Context) -> AsyncIterator[None]:
        seen.append(("async", ctx.job.id, ctx.run.attempt))
        yield

    run = await run_in(app, host, client, lambda payload: payload)
    assert (run.status, run.output) == ("succeeded", None)
    assert sorted(seen) == [("async", "job", 1), ("plain", "job", 1)]


async def test_a_hundred_runs_see_their_own_context_variables(host: WorkerHost, client: Client, app: App) -> None:
    """Set in an around of either kind; in threads, too; reset where they were set."""
    tokens: list[Token[str]] = []
    seen: dict[str, str] = {}

    @app.around
    @asynccontextmanager
    async def name(ctx: Context) -> AsyncIterator[None]:
        token = _who.set(f"{ctx.event.id} {ctx.job.id}")
        tokens.append(token)
        yield
        _who.reset(token)

    @app.around
    @contextmanager
    def more() -> Iterator[None]:
        token = _who.set(f"{_who.get()} again")
        yield
        _who.reset(token)

    @app.job(id="async", trigger=TRIGGER)
    async def in_task(payload: str) -> None:
        await asyncio.sleep(0.01)
        seen[f"{payload} async"] = _who.get()

    @app.job(id="plain", trigger=TRIGGER)
    def in_thread(payload: str) -> None:
        seen[f"{payload} plain"] = _who.get()

    client.send_events([Event("asked", f"e{number}", id=f"e{number}") for number in range(100)])
    await host.settle(app)
    assert seen == {
        f"e{number} {kind}": f"e{number} {kind} again" for number in range(100) for kind in ("async", "plain")
    }
    assert len(tokens) == 200
    assert _who.get() == "nobody"


# What they can't change.


def _suppressing(kind: str) -> Callable[[], Any]:
    @contextmanager
    def plain() -> Iterator[None]:
        with suppress(Exception):
            yield

    @asynccontextmanager
    async def awaited() -> AsyncIterator[None]:
        with suppress(Exception):
            yield

    return plain if kind == "plain" else awaited


async def _fails_async() -> None:
    raise LookupError("no such order")


def _fails() -> None:
    raise LookupError("no such order")


@pytest.mark.parametrize("function", [_fails, _fails_async])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_no_around_makes_a_failure_a_success(
    host: WorkerHost, client: Client, app: App, kind: str, function: Any
) -> None:
    """One that suppresses what it sees changes nothing: the run is retried, and fails in the end."""
    app.around(_suppressing(kind))
    run = await run_in(app, host, client, function, retry=SOON)
    assert (run.status, run.attempt) == ("failed", SOON.max_attempts)
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("LookupError", "no such order")


async def test_an_around_can_t_replace_an_exception(host: WorkerHost, client: Client, app: App) -> None:
    """What it raises instead is noted on the function's own."""

    @app.around
    @contextmanager
    def translate() -> Iterator[None]:
        try:
            yield
        except LookupError as exc:
            raise Abort("translated") from exc

    run = await run_in(app, host, client, _fails, retry=SOON)
    assert (run.status, run.attempt) == ("failed", SOON.max_attempts)
    assert run.error is not None
    assert run.error.type == "LookupError"
    assert "While closing after this, there was also Abort: translated" in (run.error.traceback or "")


@pytest.mark.parametrize("at", ["before", "after"])
@pytest.mark.parametrize("function", [lambda: "done", _fails])
async def test_an_around_that_raises_fails_the_attempt(
    host: WorkerHost, client: Client, app: App, steps: Steps, at: str, function: Any
) -> None:
    """Before the function, which is not called then, or after its return; what was entered before is closed."""
    app.around(steps.around("outer"))

    @app.around
    @contextmanager
    def broken() -> Iterator[None]:
        if at == "before":
            raise OSError("before")
        yield
        raise OSError("after")

    run = await run_in(app, host, client, function)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.type == ("LookupError" if function is _fails and at == "after" else "OSError")
    assert steps.seen == ["outer+ thread", "outer- thread"]


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_timeout_is_seen_at_the_yield(
    host: WorkerHost, client: Client, app: App, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As CancelledError; the variable is reset where it was set, and no task says that it was not."""
    seen: list[str] = []

    @contextmanager
    def plain() -> Iterator[None]:
        token = _who.set("timed")
        try:
            yield
        except BaseException as exc:
            seen.append(type(exc).__name__)
            raise
        finally:
            _who.reset(token)

    @asynccontextmanager
    async def awaited() -> AsyncIterator[None]:
        with plain():
            yield

    app.around(plain if kind == "plain" else awaited)

    async def job() -> None:
        await asyncio.sleep(60)

    run = await run_in(app, host, client, job, timeout=0.05)
    assert run.status == "timed_out"
    assert seen == ["CancelledError"]
    assert "different Context" not in caplog.text
