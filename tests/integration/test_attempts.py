"""A run's record has its last attempts, if it did not succeed at once, and the events that it has sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headrace import Attempt, Client, Event, RunError, Sealed
from headrace_worker import App, Context, JobIO, Retry, SyncJobIO, event_trigger
from tests.support.codecs import SCRAMBLER, Broken, Scrambler
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

_AT_ONCE = Retry(max_attempts=12, min_delay=0, max_delay=0)


def _kinds(attempts: list[Attempt]) -> list[tuple[int, str]]:
    return [(attempt.number, attempt.kind) for attempt in attempts]


@pytest.mark.parametrize("codec", [None, SCRAMBLER], ids=["open", "sealed"])
async def test_attempts_are_listed_unless_the_first_succeeds(host: WorkerHost, codec: Any) -> None:
    """A codec seals their errors, as it seals the run's own."""
    app = App("app", codec=codec)

    @app.job(id="once", trigger=event_trigger("asked"))
    async def once() -> None: ...

    @app.job(id="twice", trigger=event_trigger("asked"), retry=_AT_ONCE)
    async def twice(ctx: Context) -> None:
        if ctx.run.attempt == 1:
            raise ValueError("two\nlines " + "x" * 300)

    with (
        Client(host.url, namespace=host.namespace, codec=codec) as client,
        Client(host.url, namespace=host.namespace) as stranger,
    ):
        client.send_event(Event("asked", id="e1"))
        await host.settle(app)
        assert client.get_run("e1:app/once").attempts == []
        run = client.get_run("e1:app/twice")
        assert run == next(each for each in client.get_event("e1").runs if each.job == "app/twice")
        first, last = run.attempts
        assert _kinds([first, last]) == [(1, "failed"), (2, "succeeded")]
        assert first.worker == last.worker == run.worker
        assert last.ended_at == run.finished_at
        assert last.error is None
        assert first.error is not None
        assert first.error.type == "ValueError"
        assert first.error.message == ("two\nlines " + "x" * 300)[:256]
        seen = stranger.get_run("e1:app/twice").attempts[0].error
        assert seen is not None
        assert seen.type == ("ValueError" if codec is None else Sealed.__name__)
        assert ("lines" in seen.message) is (codec is None)


async def test_the_last_ten_attempts_are_kept(host: WorkerHost) -> None:
    """Attempts of a run that is retried by hand are listed behind those before."""
    app = App("app")

    @app.job(id="never", trigger=event_trigger("asked"), retry=_AT_ONCE)
    async def never() -> None:
        raise ValueError("never")

    with Client(host.url, namespace=host.namespace) as client:
        client.send_event(Event("asked", id="e1"))
        await host.settle(app)
        assert _kinds(client.get_run("e1:app/never").attempts) == [(number, "failed") for number in range(3, 13)]


async def test_the_end_of_a_first_attempt_is_listed_once_the_run_is_retried(host: WorkerHost) -> None:
    """Until then the run's record itself has it."""
    with Client(host.url, namespace=host.namespace) as client:
        client.send_event(Event("asked", id="e1"))
        await host.settle(_failing_once(None))
        run = client.get_run("e1:app/replayed")
        assert (run.status, run.attempts) == ("failed", [])
        client.retry_run(run.id)
        await host.settle(_failing_once(None))
        assert _kinds(client.get_run(run.id).attempts) == [(1, "failed"), (1, "succeeded")]


def _failing_once(codec: Any) -> App:
    app = App("app", codec=codec)

    @app.job(id="replayed", trigger=event_trigger("asked"), retry=Retry(max_attempts=1))
    async def replayed(ctx: Context) -> None:
        if not ctx.run.is_replay:
            raise ValueError("not\nyet" + "x" * 300)

    return app


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize(
    ("codec", "retrier"),
    [(None, None), (SCRAMBLER, SCRAMBLER), (SCRAMBLER, None), (SCRAMBLER, Broken()), (SCRAMBLER, Scrambler(b"other"))],
    ids=["open", "sealed", "without-codec", "with-a-codec-that-fails", "with-another-key"],
)
async def test_the_error_of_a_first_attempt_survives_a_retry_by_hand(
    url: str, namespace: str, partitions: int, codec: Any, retrier: Any
) -> None:
    """Sealed where it was, whether or not the client that retries the run can open it; one at a time, and many."""
    host = WorkerHost(url, namespace, partitions)
    divided: dict[str, Any] = {"namespace": namespace, "partitions": partitions}
    ids = [f"e{number}" for number in range(6)]
    runs = [f"{each}:app/replayed" for each in ids]
    with (
        Client(url, **divided, codec=codec) as client,
        Client(url, **divided, codec=retrier) as operator,
        Client(url, **divided) as stranger,
    ):
        client.send_events([Event("asked", id=each) for each in ids])
        await host.settle(_failing_once(codec))
        operator.retry_run(runs[0])
        operator.retry_runs(runs[1:])
        for run in runs:
            (attempt,) = client.get_run(run).attempts
            assert attempt.error == RunError("ValueError", ("not\nyet" + "x" * 300)[:256])
            (seen,) = stranger.get_run(run).attempts
            assert seen.error is not None
            assert seen.error.type == ("ValueError" if codec is None else Sealed.__name__)
        await host.settle(_failing_once(codec))
        for run in runs:
            first, last = client.get_run(run).attempts
            assert _kinds([first, last]) == [(1, "failed"), (1, "succeeded")]
            assert first.error is not None
            assert last.error is None


@pytest.mark.parametrize("job", ["async", "plain"])
async def test_a_run_names_the_events_that_it_has_sent(host: WorkerHost, job: str) -> None:
    """Each once, in the order of the sends, and no more than a hundred."""
    app = App("app")

    @app.job(id="async", trigger=event_trigger("asked.async"))
    async def coroutine(io: JobIO) -> None:
        await io.send_event("one", Event("told", id="one"))
        await io.send_event("one", Event("told", id="one"))
        await io.send_events("more", [Event("told", id=f"more-{n}") for n in range(150)])

    @app.job(id="plain", trigger=event_trigger("asked.plain"))
    def plain(io: SyncJobIO) -> None:
        io.send_event("one", Event("told", id="one"))
        io.send_event("one", Event("told", id="one"))
        io.send_events("more", [Event("told", id=f"more-{n}") for n in range(150)])

    with Client(host.url, namespace=host.namespace) as client:
        client.send_event(Event(f"asked.{job}", id="root"))
        await host.settle(app)
        assert client.get_run(f"root:app/{job}").sent_events == ["one", *(f"more-{n}" for n in range(99))]


async def test_an_attempt_that_a_stopping_worker_released_is_listed(host: WorkerHost) -> None:
    """It has the number of the attempt that takes its place."""
    app, go_on = App("app"), asyncio.Event()

    @app.job(id="waits", trigger=event_trigger("asked"))
    async def waits() -> None:
        await go_on.wait()

    with Client(host.url, namespace=host.namespace) as client:
        client.send_event(Event("asked", id="e1"))
        async with host.working(app, grace=0.0) as worker:
            await await_until(lambda: [run.status for run in client.get_event("e1").runs] == ["executing"], 20)
            name = worker.name
        go_on.set()
        (attempt,) = client.get_run("e1:app/waits").attempts
        assert (attempt.number, attempt.kind, attempt.worker, attempt.error) == (1, "released", name, None)
        assert attempt.started_at is not None
        await host.settle(app)
