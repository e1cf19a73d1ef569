"""A function has its timeout; whatever it does after that changes nothing in the run's record."""

from __future__ import annotations

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from headrace import Client, Event
from headrace_worker import App, Context, event_trigger
from tests.support.single_run import ONCE, SOON, TRIGGER, run_of, run_one
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


async def test_an_async_function_is_cancelled_at_its_timeout(host: WorkerHost, client: Client) -> None:
    """It may clean up; the run is timed out, with how long it was allowed."""
    cleaned: list[bool] = []

    async def job() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    run = await run_one(host, client, job, timeout=0.05)
    assert (run.status, cleaned) == ("timed_out", [True])
    assert run.error is not None
    assert (run.error.type, run.error.message) == (
        "TimeoutError",
        "the attempt took longer than the 0.05 s of its timeout",
    )
    (dead,) = client.list_dead_letters().items
    assert (dead.run_id, dead.reason) == (run.id, "timed_out")


async def test_a_timeout_counts_as_an_attempt(host: WorkerHost, client: Client) -> None:
    """The next one may be faster."""
    attempts: list[int] = []

    async def job(ctx: Context) -> None:
        attempts.append(ctx.run.attempt)
        if ctx.run.attempt < 3:
            await asyncio.sleep(60)

    run = await run_one(host, client, job, timeout=0.05, retry=SOON)
    assert (run.status, attempts) == ("succeeded", [1, 2, 3])


async def test_a_function_that_returns_in_time_leaves_no_timer(host: WorkerHost, client: Client) -> None:
    """Its timeout does not hit the next run."""
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
    await host.settle(app)
    assert run_of(client, sent.id, "long").output == "done"


async def test_a_timeout_is_recorded_while_the_function_goes_on(host: WorkerHost, client: Client) -> None:
    """Its run is timed out a second later, once and for all; its slot is free only when it returns."""
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
        async with host.working(app, concurrency=1):
            await await_until(lambda: client.get_event(sent.id).is_settled)
            client.send_event(Event("other"))
            assert run_of(client, sent.id).status == "timed_out"
            with pytest.raises(AssertionError):
                await await_until(lambda: ran, 0.2)
            end.set()
            await await_until(lambda: ran)
    assert run_of(client, sent.id).status == "timed_out"
    assert any(line["event"].startswith("run ignores its cancellation") for line in lines)


async def test_a_timed_out_thread_keeps_its_slot_until_it_ends(host: WorkerHost, client: Client) -> None:
    """Its run is timed out at once, and a warning says that a thread can't be ended."""
    app, end, ran = App("app"), threading.Event(), []

    @app.job(id="job", trigger=TRIGGER, timeout=0.05, retry=ONCE)
    def stubborn() -> str:
        end.wait(30)
        return "too late"

    app.job(id="other", trigger=event_trigger("other"))(lambda: ran.append(True))
    sent = client.send_event(Event("asked"))
    with capture_logs() as lines:
        async with host.working(app, concurrency=1):
            await await_until(lambda: client.get_event(sent.id).is_settled)
            client.send_event(Event("other"))
            with pytest.raises(AssertionError):
                await await_until(lambda: ran, 0.2)
            end.set()
            await await_until(lambda: ran)
    assert run_of(client, sent.id).status == "timed_out"
    (warning,) = [line for line in lines if line["event"].startswith("a plain function can't be ended")]
    assert (warning["log_level"], warning["run"]) == ("warning", f"{sent.id}:app/job")


async def test_an_outcome_after_the_cancellation_is_still_a_timeout(host: WorkerHost, client: Client) -> None:
    """The function took too long, whether it returns or raises when it is cancelled."""

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

    assert (await run_one(host, client, returns, timeout=0.05)).status == "timed_out"
    run = await run_one(host, client, raises, timeout=0.05)
    assert run.status == "timed_out"
    assert run.error is not None
    assert run.error.traceback.index("ValueError: instead") < run.error.traceback.index("TimeoutError: the attempt")
