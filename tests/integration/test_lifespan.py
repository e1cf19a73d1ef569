"""An app's lifespan is entered before the first run and closed after the last, whatever becomes of either."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from structlog.testing import capture_logs

from headrace import Client, Event
from headrace_worker import App, LifespanFailed
from headrace_worker.errors import WorkerFailed
from tests.support.processes import Processes
from tests.support.single_run import TRIGGER, run_of
from tests.support.workers import WorkerHost

APP = "tests.apps.lifespans:app"

_where: ContextVar[str] = ContextVar("where", default="nowhere")


class _Seen:
    """Makes apps whose lifespan and jobs note what happens."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.began = asyncio.Event()

    def app(self, lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None) -> App:
        app = App("app", lifespan=lifespan or self.lifespan)

        @app.job(id="async", trigger=TRIGGER)
        async def in_task(payload: float, state: list[str]) -> str:
            self.began.set()
            await asyncio.sleep(payload)
            state.append("async")
            return "async"

        @app.job(id="plain", trigger=TRIGGER)
        def in_thread(state: list[str]) -> str:
            state.append("plain")
            return "plain"

        return app

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[list[str]]:
        self.seen.append("entered")
        token = _where.set("in the lifespan")
        try:
            yield self.seen
        finally:
            _where.reset(token)
            self.seen.append("closed")


@pytest.fixture
async def seen() -> _Seen:
    return _Seen()


async def test_its_value_is_the_state_of_all_jobs(host: WorkerHost, client: Client, seen: _Seen) -> None:
    """Async and plain; it is entered once and closed once, in one task."""
    for number in range(3):
        client.send_event(Event("asked", 0.01, id=f"e{number}"))
    await host.settle(seen.app())
    assert seen.seen[0] == "entered"
    assert sorted(seen.seen[1:-1]) == ["async"] * 3 + ["plain"] * 3
    assert seen.seen[-1] == "closed"
    assert run_of(client, "e0", "plain").output == "plain"


async def test_it_closes_after_the_last_run_of_a_stop(host: WorkerHost, client: Client, seen: _Seen) -> None:
    """A run that ends in the grace still has its state."""
    async with host.working(seen.app()):
        client.send_event(Event("asked", 0.3, id="e"))
        await seen.began.wait()
    assert seen.seen[-2:] == ["async", "closed"]
    assert run_of(client, "e", "async").status == "succeeded"


@pytest.mark.leaves_records
async def test_it_closes_after_runs_that_were_released(host: WorkerHost, client: Client, seen: _Seen) -> None:
    """The grace is over: nothing is lost, and what is shared is closed all the same."""
    async with host.working(seen.app(), grace=0.05):
        client.send_event(Event("asked", 60, id="e"))
        await seen.began.wait()
    assert seen.seen[-1] == "closed"
    run = run_of(client, "e", "async")
    assert (run.status, run.attempt, run.lost) == ("queued", 1, 0)


async def test_it_may_take_longer_than_a_lease(host: WorkerHost, client: Client, seen: _Seen) -> None:
    """The worker registers after it, so that no lease expires meanwhile, and nothing seems to stand still."""

    @asynccontextmanager
    async def slow() -> AsyncIterator[list[str]]:
        await asyncio.sleep(1.5)
        assert client.has_workers() is False
        yield seen.seen

    with capture_logs() as lines:
        client.send_event(Event("asked", 0, id="e"))
        await host.settle(seen.app(slow), lease=0.3)
    assert sorted(seen.seen) == ["async", "plain"]
    assert [line["event"] for line in lines if line["log_level"] != "info"] == []


async def test_one_that_raises_stops_the_start(host: WorkerHost, client: Client, seen: _Seen) -> None:
    """The error says what it raised, the traceback is logged, and no worker was ever there."""

    @asynccontextmanager
    async def broken() -> AsyncIterator[list[str]]:
        if not seen.seen:
            raise ConnectionError("no database")
        yield []

    with (
        capture_logs() as lines,
        pytest.raises(LifespanFailed, match="the lifespan of app 'app' failed: ConnectionError: no database"),
    ):
        await host.make(seen.app(broken)).run()
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert isinstance(line["exc_info"], ConnectionError)
    assert not client.has_workers()


async def test_what_is_no_context_manager_stops_the_start(host: WorkerHost, seen: _Seen) -> None:
    """A function may return anything."""
    no_manager: Any = lambda: "state"  # noqa: E731
    with pytest.raises(LifespanFailed, match=r"TypeError.*asynchronous context manager"):
        await host.make(seen.app(no_manager)).run()


async def test_a_stop_breaks_off_its_entry(host: WorkerHost, seen: _Seen) -> None:
    """What it has opened by then, it closes itself."""
    entering = asyncio.Event()

    @asynccontextmanager
    async def endless() -> AsyncIterator[list[str]]:
        entering.set()
        try:
            await asyncio.sleep(3600)
            yield []
        finally:
            seen.seen.append("closed")

    worker = host.make(seen.app(endless))
    running = asyncio.ensure_future(worker.run())
    await entering.wait()
    worker.stop()
    await running
    assert seen.seen == ["closed"]


async def test_an_error_at_its_end_changes_nothing_else(host: WorkerHost, client: Client, seen: _Seen) -> None:
    """It is logged with its traceback; each outcome is recorded."""

    @asynccontextmanager
    async def broken() -> AsyncIterator[list[str]]:
        yield seen.seen
        raise ConnectionError("not closed")

    client.send_event(Event("asked", 0, id="e"))
    with capture_logs() as lines:
        await host.settle(seen.app(broken))
    assert run_of(client, "e", "async").status == run_of(client, "e", "plain").status == "succeeded"
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert (line["event"], line["is_closing"]) == ("the app's lifespan failed", True)


async def test_an_end_that_takes_too_long_is_cancelled(
    host: WorkerHost, client: Client, seen: _Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is one that ignores that: the worker ends without it."""
    monkeypatch.setattr("headrace_worker.startup.lifespan.CLOSE_S", 0.05)
    monkeypatch.setattr("headrace_worker.startup.lifespan._CANCEL_S", 0.05)
    over = asyncio.Event()

    @asynccontextmanager
    async def deaf() -> AsyncIterator[list[str]]:
        yield seen.seen
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                seen.seen.append("cancelled")

    client.send_event(Event("asked", 0, id="e"))
    with capture_logs() as lines:
        await host.settle(seen.app(deaf))
    assert seen.seen[-1] == "cancelled"
    assert "the app's lifespan takes too long to close; it is cancelled" in [line["event"] for line in lines]
    over.set()


async def test_one_that_ends_by_itself_ends_the_worker(host: WorkerHost, seen: _Seen) -> None:
    """A task group in it has failed, for example: its jobs would go on with what is closed."""
    fail = asyncio.Event()

    async def background() -> None:
        await fail.wait()
        raise ConnectionError("gone")

    @asynccontextmanager
    async def grouped() -> AsyncIterator[list[str]]:
        async with asyncio.TaskGroup() as group:
            group.create_task(background())
            yield seen.seen

    fail.set()
    with capture_logs() as lines, pytest.raises(WorkerFailed, match="the app's lifespan has ended"):
        await host.make(seen.app(grouped)).run()
    assert any(line["event"] == "the app's lifespan failed" for line in lines)


# In processes.


def test_each_process_has_its_own(processes: Processes, client: Client) -> None:
    """It is closed at the stop, after the run that was in flight."""
    worker = processes.worker(APP, "--processes", "2")
    worker.wait_for_line("(?s)(lifespan begins.*){2}(worker started.*){2}|(worker started.*){2}")
    client.send_event(Event("nap", 0.5, id="e"))
    worker.wait_for_line("nap begins")
    worker.terminate()
    assert worker.wait() == 0
    begun = {line.split()[-1] for line in worker.output.splitlines() if line.startswith("lifespan begins")}
    ended = {line.split()[-1] for line in worker.output.splitlines() if line.startswith("lifespan ends")}
    assert begun == ended
    assert len(begun) == 2
    assert str(os.getpid()) not in begun
    assert worker.output.index("nap ends") < worker.output.rindex("lifespan ends")
    assert client.get_run("e:lifespans/nap").output == "state"


@pytest.mark.parametrize(("what", "said"), [("fails", "ConnectionError: no database"), ("exits", "SystemExit: 3")])
def test_a_process_whose_lifespan_fails_says_so_and_exits(processes: Processes, what: str, said: str) -> None:
    """With code 1, which a supervisor tries again: the database may come back."""
    worker = processes.worker(APP, env={"HEADRACE_TEST_LIFESPAN": what})
    assert worker.wait() == 1
    assert f"Error: the lifespan of app 'lifespans' failed: {said}" in worker.output
    assert "in lifespan" in worker.output
    assert "worker started" not in worker.output


def test_a_stop_ends_a_process_whose_lifespan_waits(processes: Processes) -> None:
    """In order."""
    worker = processes.worker(APP, env={"HEADRACE_TEST_LIFESPAN": "waits"})
    worker.wait_for_line("lifespan begins")
    worker.terminate()
    assert worker.wait() == 0


def test_a_stop_ends_a_process_whose_lifespan_blocks(processes: Processes) -> None:
    """After the grace, and as long as any end may take; it shows where the process is."""
    worker = processes.worker(APP, "--grace", "0", env={"HEADRACE_TEST_LIFESPAN": "blocks"})
    worker.wait_for_line("lifespan begins")
    worker.terminate()
    assert worker.wait(40) == 1
    assert "in lifespan" in worker.output


def test_an_end_that_fails_does_not_change_the_exit_code(processes: Processes) -> None:
    """The worker has left by then."""
    worker = processes.worker(APP, env={"HEADRACE_TEST_LIFESPAN": "fails at its end"})
    worker.wait_for_line("worker started")
    worker.terminate()
    assert worker.wait() == 0
    assert "not closed" in worker.output


@pytest.mark.slow
def test_an_end_that_blocks_does_not_change_the_exit_code(processes: Processes) -> None:
    """It is bounded."""
    worker = processes.worker(APP, env={"HEADRACE_TEST_LIFESPAN": "blocks at its end"})
    worker.wait_for_line("worker started")
    worker.terminate()
    assert worker.wait(40) == 0
    assert "the end of the app's lifespan takes more than" in worker.output


async def test_a_lifespan_that_does_not_yield_once_is_named(host: WorkerHost, seen: _Seen) -> None:
    """At the start, and in the log at the end."""

    @asynccontextmanager
    async def never() -> AsyncIterator[list[str]]:
        for each in list[list[str]]():
            yield each

    @asynccontextmanager
    async def twice() -> AsyncIterator[list[str]]:
        yield []
        yield []

    with pytest.raises(LifespanFailed, match=r"never\(\) at test_lifespan\.py:\d+ never yielded; it must"):
        await host.settle(seen.app(never))
    with capture_logs() as lines:
        await host.settle(seen.app(twice))
    (line,) = [line for line in lines if line["event"] == "the app's lifespan failed"]
    assert " yielded twice; it must yield once" in str(line["exc_info"])
