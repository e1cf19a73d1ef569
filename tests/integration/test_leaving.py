"""A worker that stops leaves nothing of itself: its runs end within their grace or are released."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace_worker import App, Context, Retry, event_trigger
from tests.support.queues import pending_count, queues_app
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

LONG = {"block": 60.0, "lease": 60.0}
"""With these nothing happens by itself within a test: whatever does was woken."""


async def test_a_stopped_worker_leaves_nothing_of_itself(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """No lease, dispatcher slot, leadership, hash or consumer; only its app's routes stay, and what it has counted."""
    seen: list[Any] = []
    app = queues_app(seen, "a", "b")
    async with host.working(app) as worker:
        client.send_events([Event("a"), Event("b"), Event("nobody")])
        client.send_event(Event("a"), deliver_after=0.05)
        await await_until(lambda: len(seen) == 3)
        name = worker.name
        assert redis.zscore(f"{prefix}workers", str(name)) is not None
    keys = {key.decode().removeprefix(prefix) for key in redis.scan_iter(f"{prefix}*")}
    assert {key for key in keys if not key.startswith(("event:", "tally:"))} == {
        "events", "queue:app/a", "queue:app/b", "queues", "wake-up:app", "recent", "runs",
        "routes:app", "routes:version", "meta",
    }  # fmt: skip
    for stream, group in (("events", "dispatch"), ("queue:app/a", "workers"), ("queue:app/b", "workers")):
        assert redis.xinfo_consumers(f"{prefix}{stream}", group) == []
        assert redis.xlen(f"{prefix}{stream}") == 0


async def test_a_worker_may_come_and_go_under_load(host: WorkerHost, client: Client) -> None:
    """Every event runs once, though the workers are restarted all the time; each start has another name."""
    seen: list[Any] = []
    names: set[str | None] = set()
    app = queues_app(seen, "a", "b")
    for round_ in range(5):
        async with host.working(app, concurrency=5) as worker:
            names.add(worker.name)
            client.send_events([Event("ab"[n % 2], payload=(round_, n)) for n in range(100)])
            await await_until(lambda round_=round_: len(seen) > round_ * 100 + 20)  # type: ignore[misc]
    await host.settle(app)
    assert len(seen) == len({tuple(payload) for _, payload in seen}) == 500
    assert len(names) == 5


async def test_runs_have_their_grace_to_end_in(host: WorkerHost, client: Client) -> None:
    """A stop takes nothing new, and waits for in-flight runs."""
    app, started, let_go, seen = App("app"), asyncio.Event(), asyncio.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(payload: int) -> str:
        started.set()
        await let_go.wait()
        seen.append(payload)
        return "ended"

    first, second = client.send_events([Event("asked", payload=n) for n in range(2)])
    async with host.working(app, concurrency=1) as worker:
        await started.wait()
        worker.stop()
        await asyncio.sleep(0)
        let_go.set()
    assert seen == [0]
    assert client.get_event(first.id).runs[0].output == "ended"
    assert client.get_event(second.id).runs[0].status == "queued"
    await host.settle(app)
    assert seen == [0, 1]


@pytest.mark.parametrize("way", ["grace", "stop_now", "cancel"])
async def test_runs_that_outlast_the_grace_are_released(host: WorkerHost, client: Client, way: str) -> None:
    """With nothing counted, even if the worker is stopped at once or its task is cancelled."""
    app, started, seen = App("app"), asyncio.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(ctx: Context) -> None:
        seen.append(ctx.run.attempt)
        started.set()
        if len(seen) == 1:
            await asyncio.sleep(600)

    sent = client.send_event(Event("asked"))
    worker = host.make(app, grace=0.05 if way == "grace" else 600)
    running = asyncio.ensure_future(worker.run())
    await started.wait()
    if way == "cancel":
        running.cancel()
    else:
        (worker.stop if way == "grace" else worker.stop_now)()
    with suppress(asyncio.CancelledError):
        await running
    assert running.cancelled() is (way == "cancel")
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.attempt, run.lost) == ("queued", 1, 0)
    await host.settle(app)
    assert seen == [1, 1]


async def test_an_exception_at_a_release_costs_no_attempt(host: WorkerHost, client: Client) -> None:
    """A driver that turns the cancellation into an error of its own costs the run no attempt."""
    app, started, seen = App("app"), asyncio.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"), retry=Retry(max_attempts=1))
    async def job() -> None:
        seen.append(1)
        started.set()
        if len(seen) == 1:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                raise ConnectionError("the connection was closed") from None

    sent = client.send_event(Event("asked"))
    async with host.working(app, grace=0):
        await started.wait()
    assert client.get_event(sent.id).runs[0].status == "queued"
    await host.settle(app)
    assert client.get_event(sent.id).runs[0].status == "succeeded"


async def test_a_stop_before_the_start_starts_nothing(host: WorkerHost, client: Client) -> None:
    """It registers and leaves."""
    seen: list[Any] = []
    worker = host.make(queues_app(seen, "default"))
    worker.stop()
    client.send_event(Event("default"))
    await asyncio.wait_for(worker.run(), 20)
    assert seen == []


async def test_a_foreign_record_hinders_no_release(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """A stopping worker dead-letters that one run and releases the other runs at once; it leaves in order."""
    app, started = App("app"), set[str]()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(ctx: Context) -> None:
        started.add(ctx.event.id)
        await asyncio.sleep(600)

    ids = [each.id for each in client.send_events([Event("asked") for _ in range(7)])]
    async with host.working(app, grace=0, **LONG):
        await await_until(lambda: started == set(ids))
        redis.set(f"{prefix}event:{ids[2]}", "something else", ex=60)
    queue = f"{prefix}queue:app/default"
    assert (redis.xlen(queue), pending_count(redis, queue, "workers")) == (6, 0)
    assert redis.zcard(f"{prefix}workers") == 0
    assert {client.get_event(each).runs[0].status for each in ids if each != ids[2]} == {"queued"}
    (dead,) = client.list_dead_letters().items
    assert (dead.reason, dead.raw["e"]) == ("unreadable", ids[2].encode())
    for each in ids:
        redis.delete(f"{prefix}event:{each}")


async def test_a_stop_that_is_broken_off_holds_no_lease(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """A second cancellation does not wait for the stop: other workers get the runs when the lease ends."""
    app, started, may_end = App("app"), asyncio.Event(), asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job() -> None:
        started.set()
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await may_end.wait()

    sent = client.send_event(Event("asked"))
    worker = host.make(app)
    running = asyncio.ensure_future(worker.run())
    await started.wait()
    name = str(worker.name)
    while not running.done():
        running.cancel()
        await asyncio.wait([running], timeout=0.05)
    await await_until(lambda: not any(thread.name == "headrace-lease" for thread in threading.enumerate()))
    redis.zadd(f"{prefix}workers", {name: 1})
    redis.delete(f"{prefix}leader")
    may_end.set()
    async with host.working(app):
        await await_until(lambda: client.get_event(sent.id).is_settled)
        redis.zadd(f"{prefix}workers", {name: 1})
        await await_until(lambda: redis.zscore(f"{prefix}workers", name) is None)
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.attempt, run.lost) == ("succeeded", 1, 1)
