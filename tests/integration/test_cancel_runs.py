"""A canceled run never begins again, and its function ends soon: whether it is queued, waits or executes."""

from __future__ import annotations

import asyncio
import threading

from headrace import CanceledRun, Client, Event, RunNotFound
from headrace_worker import App, Context, Retry, event_trigger
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

TRIGGER = event_trigger("asked")


async def _started(client: Client, run_id: str) -> None:
    def is_executing() -> bool:
        try:
            return client.get_run(run_id).status == "executing"
        except RunNotFound:  # not dispatched yet
            return False

    await await_until(is_executing)


async def test_a_queued_run_is_never_called(host: WorkerHost, client: Client) -> None:
    """Its event has settled, and its record says why."""
    app, called = App("app"), list[int]()

    @app.job(id="job", trigger=TRIGGER)
    async def job(payload: int) -> None:
        called.append(payload)
        await asyncio.sleep(0)

    await host.settle(app)
    sent = client.send_event(Event("asked", payload=1))
    async with host.working(App("other", dispatch_only=True)):
        await await_until(lambda: client.get_event(sent.id).status == "dispatched")
    (run,) = client.get_event(sent.id).runs
    canceled = client.cancel_run(run.id, reason="a mistake")
    assert (canceled.answer, canceled.run.status) == ("canceled", "canceled")
    assert canceled.run.error is not None
    assert canceled.run.error.message == "a mistake"
    client.send_event(Event("asked", payload=2))
    await host.settle(app)
    assert called == [2]
    assert client.get_event(sent.id).status == "settled"
    assert client.cancel_run(run.id).answer == "canceled"


async def test_an_async_function_is_cancelled_within_a_second(host: WorkerHost, client: Client) -> None:
    """What it returns after that is dropped, and its slot is free."""
    app, ended = App("app"), asyncio.Event()

    @app.job(id="job", trigger=TRIGGER)
    async def job(payload: str) -> str:
        if payload == "short":
            return payload
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.set()
        return "done all the same"

    async with host.working(app, concurrency=1):
        sent = client.send_event(Event("asked", payload="long"))
        run = f"{sent.id}:app/job"
        await _started(client, run)
        canceled = await asyncio.to_thread(client.cancel_run, run)
        assert (canceled.answer, canceled.run.status) == ("asked", "canceled")
        await asyncio.wait_for(ended.wait(), 1)
        short = client.send_event(Event("asked", payload="short"))
        record = await asyncio.to_thread(client.wait_for_event, short.id, 10)
        assert record.runs[0].status == "succeeded"
    after = client.get_run(run)
    assert (after.status, after.output) == ("canceled", None)
    assert client.cancel_run(run) == CanceledRun("canceled", after)  # as the reply to the first may have been lost


async def test_a_plain_function_sees_that_it_is_canceled(host: WorkerHost, client: Client) -> None:
    """In its thread; it may raise then, and is not retried."""
    app, going, seen = App("app"), threading.Event(), list[bool]()

    @app.job(id="job", trigger=TRIGGER, retry=Retry(max_attempts=3))
    def job(ctx: Context) -> None:
        seen.append(ctx.is_canceled)
        while not ctx.is_canceled:
            going.wait(0.01)
        seen.append(True)
        ctx.raise_if_canceled()

    async with host.working(app):
        sent = client.send_event(Event("asked"))
        run = f"{sent.id}:app/job"
        await _started(client, run)
        assert (await asyncio.to_thread(client.cancel_run, run)).answer == "asked"
        await await_until(lambda: len(seen) == 2)
    assert seen == [False, True]
    assert client.get_run(run).status == "canceled"


async def test_a_run_that_waits_for_its_retry_is_canceled(host: WorkerHost, client: Client) -> None:
    """It is not due any more."""
    app, calls = App("app"), list[int]()

    @app.job(id="job", trigger=TRIGGER, retry=Retry(max_attempts=3, min_delay=0.2, max_delay=0.2))
    async def job() -> None:
        calls.append(1)
        await asyncio.sleep(0)
        raise ValueError("no")

    async with host.working(app):
        sent = client.send_event(Event("asked"))
        run = f"{sent.id}:app/job"
        await await_until(lambda: [each.status for each in client.get_event(sent.id).runs] == ["waiting"])
        assert client.cancel_run(run).answer == "canceled"
        other = client.send_event(Event("asked"))
        await await_until(lambda: client.get_event(other.id).is_settled)
    assert len(calls) == 4
    assert client.cancel_run(f"{other.id}:app/job").answer == "already_finished"
    assert client.get_run(f"{other.id}:app/job").status == "failed"


async def test_the_next_run_of_an_ordering_key_begins(host: WorkerHost, client: Client) -> None:
    """Whether the canceled one executes, or waits behind others."""
    app, called, hold = App("app"), list[str](), asyncio.Event()

    @app.job(id="job", trigger=TRIGGER)
    async def job(payload: str) -> None:
        called.append(payload)
        if payload == "first":
            await hold.wait()

    async with host.working(app):
        asked = [Event("asked", payload=each) for each in ("first", "second", "third")]
        ids = [sent.id for sent in client.send_events(asked, ordering_key="k")]
        first, second, third = (f"{each}:app/job" for each in ids)
        await _started(client, first)
        await await_until(lambda: client.get_event(ids[2]).status == "dispatched")
        assert client.cancel_run(second).answer == "canceled"
        assert client.cancel_run(first).answer == "asked"
        await await_until(lambda: client.get_run(third).status == "succeeded")
    assert called == ["first", "third"]
