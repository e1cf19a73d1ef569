"""A function gets what it depends on, made once for each attempt, and closed after it."""

# Annotations are evaluated where they stand, as those of functions inside of functions have to be.

import inspect
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Annotated, Any

import pytest
from structlog.testing import capture_logs

from headrace import Client, Event
from headrace_worker import App, Context, Depends, JobIO, SyncJobIO, event_trigger
from tests.support.single_run import SOON, TRIGGER, run_in, run_of
from tests.support.steps import Steps
from tests.support.workers import WorkerHost


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def app() -> App:
    return App("hooks")


async def test_a_value_is_made_once_for_an_attempt_and_closed_after_it(
    host: WorkerHost, client: Client, app: App, steps: Steps
) -> None:
    """All kinds of dependencies, in the order in which they need each other; closed in reverse order."""

    def settings(payload: int) -> str:
        steps.note(f"settings {payload}")
        return "settings"

    async def engine(given: Annotated[str, Depends(settings)], ctx: Context) -> str:
        steps.note(f"engine of {given} {ctx.job.id}")
        return "engine"

    async def session(io: JobIO, of: Annotated[str, Depends(engine)]) -> AsyncIterator[str]:
        steps.note(f"session+ of {of} {type(io).__name__}")
        yield "session"
        steps.note("session-")

    @asynccontextmanager
    async def lock(given: Annotated[str, Depends(settings)]) -> AsyncIterator[str]:  # noqa: ARG001 - what it depends on is of interest
        steps.note("lock+")
        yield "lock"
        steps.note("lock-")

    def cursor(of: Annotated[str, Depends(session)]) -> Iterator[str]:
        steps.note(f"cursor+ of {of}")
        yield "cursor"
        steps.note("cursor-")

    async def job(
        first: Annotated[str, Depends(cursor)],
        second: Annotated[str, Depends(lock)],
        third: Annotated[str, Depends(engine)],
    ) -> list[str]:
        steps.note("job")
        return [first, second, third]

    app.job(id="job", trigger=TRIGGER, schema=int)(job)
    sent = client.send_event(Event("asked", 7))
    await host.settle(app)
    run = run_of(client, sent.id)
    assert run.output == ["cursor", "lock", "engine"]
    assert steps.seen == [
        f"{what} loop"
        for what in (
            "settings 7", "engine of settings job", "session+ of engine JobIO", "cursor+ of session", "lock+", "job",
            "lock-", "cursor-", "session-",
        )
    ]  # fmt: skip


async def test_values_of_a_plain_job_are_made_in_its_thread(
    host: WorkerHost, client: Client, app: App, steps: Steps
) -> None:
    """What is bound to a thread, as a connection of SQLite, works there."""

    class Connection:
        def __enter__(self) -> str:
            steps.note("connection+")
            return "connection"

        def __exit__(self, *_: object) -> None:
            steps.note("connection-")

    def session(io: SyncJobIO, of: Annotated[str, Depends(Connection)]) -> Iterator[str]:
        steps.note(f"session+ of {of} {type(io).__name__}")
        yield "session"
        steps.note("session-")

    def job(made: Annotated[str, Depends(session)]) -> str:
        steps.note("job")
        return made

    assert (await run_in(app, host, client, job)).output == "session"
    assert steps.seen == [
        f"{what} thread"
        for what in ("connection+", "session+ of connection SyncJobIO", "job", "session-", "connection-")
    ]


async def test_a_dependency_sees_the_exception_and_can_t_suppress_it(
    host: WorkerHost, client: Client, app: App
) -> None:
    """It rolls back; the attempt has failed all the same."""
    seen: list[str] = []

    async def session() -> AsyncIterator[str]:
        try:
            yield "session"
        except LookupError as exc:
            seen.append(f"rolled back after {exc}")

    async def job(session: Annotated[str, Depends(session)]) -> None:  # noqa: ARG001 - what it depends on is of interest
        raise LookupError("no such order")

    run = await run_in(app, host, client, job)
    assert run.status == "failed"
    assert seen == ["rolled back after no such order"]


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_failed_commit_fails_the_attempt(host: WorkerHost, client: Client, app: App, kind: str) -> None:
    """It is retried, the event that the job has sent is sent once, and what it returned is no output."""
    commits: list[str] = []

    def session() -> Iterator[str]:
        yield "session"
        commits.append("tried")
        if len(commits) == 1:
            raise ConnectionError("the commit failed")

    async def in_task(io: JobIO, session: Annotated[str, Depends(session)]) -> str:  # noqa: ARG001 - what it depends on is of interest
        await io.send_event("billed", {"name": "billed"})
        return f"attempt {len(commits) + 1}"

    def in_thread(io: SyncJobIO, session: Annotated[str, Depends(session)]) -> str:  # noqa: ARG001 - what it depends on is of interest
        io.send_event("billed", {"name": "billed"})
        return f"attempt {len(commits) + 1}"

    billed: list[None] = []
    app.job(id="count", trigger=event_trigger("billed"))(lambda: billed.append(None))
    run = await run_in(app, host, client, in_task if kind == "async" else in_thread, retry=SOON)
    assert (run.status, run.attempt, run.output) == ("succeeded", 2, "attempt 2")
    assert len(commits) == 2
    assert len(billed) == 1


async def test_a_failure_of_a_dependency_is_logged_like_one_of_the_job(
    host: WorkerHost, client: Client, app: App
) -> None:
    """With its traceback, at the end of the run."""

    def session() -> str:
        raise ConnectionError("no database")

    def job(session: Annotated[str, Depends(session)]) -> None: ...

    with capture_logs() as lines:
        await run_in(app, host, client, job)
    (line,) = [line for line in lines if line["event"] == "run failed"]
    assert (line["error"], line["message"]) == ("ConnectionError", "no database")
    assert "in session" in line["exception"]


async def test_a_coroutine_of_a_plain_job_fails_it_before_its_session_commits(
    host: WorkerHost, client: Client, app: App
) -> None:
    """As it does without hooks."""
    commits: list[str] = []

    def session() -> Iterator[str]:
        yield "session"
        commits.append("committed")

    def job(session: Annotated[str, Depends(session)]) -> Any:  # noqa: ARG001 - what it depends on is of interest
        return _no_more()

    run = await run_in(app, host, client, job)
    assert run.error is not None
    assert "returned a coroutine" in run.error.message
    assert not commits


async def _no_more() -> None:
    raise LookupError("no such order")


def _twice() -> Iterator[int]:
    yield 1
    yield 2


def _never() -> Iterator[int]:
    yield from ()


async def _async_twice() -> AsyncIterator[int]:
    yield 1
    yield 2


async def _async_never() -> AsyncIterator[int]:
    for each in list[int]():
        yield each


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_twice, r"_twice\(\) at test_dependencies\.py:\d+ yielded twice"),
        (_never, r"_never\(\) at test_dependencies\.py:\d+ never yielded"),
        (_async_twice, r"_async_twice\(\) at test_dependencies\.py:\d+ yielded twice"),
        (_async_never, r"_async_never\(\) at test_dependencies\.py:\d+ never yielded"),
    ],
)
@pytest.mark.parametrize("kind", ["dependency", "around"])
async def test_a_function_that_does_not_yield_once_is_named(
    host: WorkerHost, client: Client, app: App, kind: str, function: Any, said: str
) -> None:
    """Also where it is an around."""

    async def depends(n: Annotated[int, Depends(function)]) -> None: ...

    async def alone() -> None: ...

    if kind == "around":
        is_async = inspect.isasyncgenfunction(function)
        app.around(asynccontextmanager(function) if is_async else contextmanager(function))
    run = await run_in(app, host, client, alone if kind == "around" else depends)
    assert run.error is not None
    assert run.error.type == "RuntimeError"
    assert re.fullmatch(rf"{said}; it must yield once", run.error.message)


async def test_a_second_yield_after_a_failure_is_noted_by_its_name(host: WorkerHost, client: Client, app: App) -> None:
    """The failure itself decides; another error that reads alike is left as it is."""

    def keeps_on() -> Iterator[int]:
        while True:
            with suppress(LookupError):
                yield 1

    def job(n: Annotated[int, Depends(keeps_on)]) -> None:  # noqa: ARG001 - what it depends on is of interest
        raise LookupError("no such order")

    run = await run_in(app, host, client, job)
    assert run.error is not None
    assert run.error.type == "LookupError"
    assert "keeps_on() at test_dependencies.py:" in (run.error.traceback or "")
    assert " yielded again after an exception; it must yield once" in (run.error.traceback or "")

    given = ["anything"]

    def own() -> Iterator[int]:
        if given:
            raise RuntimeError("generator didn't yield") from LookupError("why")
        yield 1

    def other(n: Annotated[int, Depends(own)]) -> None: ...

    run = await run_in(App("hooks"), host, client, other)
    assert run.error is not None
    assert run.error.message == "generator didn't yield"
    assert "why" in (run.error.traceback or "")
