"""Eight workers dispatch and one leads; a worker that can do neither any more gives up both."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import redis as redis_py
from structlog.testing import capture_logs

from headrace import Client, Event
from headrace_worker import App, Context, event_trigger
from tests.support.queues import members_of, pending_count, queues_app, send_and_dispatch
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

# Dispatcher slots and leadership.


async def test_of_nine_workers_eight_have_a_dispatcher_slot(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """The ninth gets a slot when one is given up, and events are dispatched all the time."""
    seen: list[Any] = []
    app = queues_app(seen, "default")
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(host.working(app, lease=3)) for _ in range(9)]
        await await_until(lambda: redis.zcard(f"{prefix}dispatchers") == 8)
        client.send_events([Event("default", payload=n) for n in range(50)])
        await await_until(lambda: len(seen) == 50)
        (without,) = {worker.name for worker in workers} - members_of(redis, f"{prefix}dispatchers")
        with_seat = next(worker for worker in workers if worker.name != without)
        name = with_seat.name
        with_seat.stop()
        await await_until(lambda: without in members_of(redis, f"{prefix}dispatchers"))
        assert len(members_of(redis, f"{prefix}dispatchers") - {name}) <= 8
        client.send_events([Event("default", payload=n) for n in range(50, 100)])
        await await_until(lambda: len(seen) == 100)
    assert sorted(payload for _, payload in seen) == list(range(100))


def _leader(redis: redis_py.Redis, prefix: str) -> str:
    return (redis.get(f"{prefix}leader") or b" ").decode().split(" ")[0]  # type: ignore[union-attr]


async def test_when_the_leader_stops_another_one_leads(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """What is due then is promoted by it."""
    seen: list[Any] = []
    app = queues_app(seen, "default")
    async with host.working(app) as first:
        await await_until(lambda: _leader(redis, prefix) == first.name)
        async with host.working(app) as second:
            client.send_event(Event("default"), deliver_after=0.3)
            first.stop()
            await await_until(lambda: _leader(redis, prefix) == second.name)
            await await_until(lambda: seen)


async def test_a_fenced_worker_goes_on_under_a_new_name(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """Its lease had expired: its runs are cancelled and go to another worker; later runs are its own."""
    app, seen, ended = App("app"), [], asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(ctx: Context) -> None:
        seen.append(ctx.worker_id)
        if len(seen) == 1:
            try:
                await asyncio.sleep(600)
            finally:
                ended.set()

    async with host.working(app, lease=1) as worker:
        first = client.send_event(Event("asked"))
        await await_until(lambda: seen)
        old = str(worker.name)
        redis.hset(f"{prefix}worker:{old}", "fenced", "1")
        await ended.wait()
        second = client.send_event(Event("asked"))
        await await_until(lambda: client.get_event(second.id).is_settled)
        await await_until(lambda: client.get_event(first.id).is_settled)
        await await_until(lambda: redis.zscore(f"{prefix}workers", old) is None)
        new = worker.name
    (run,) = client.get_event(first.id).runs
    assert (run.status, run.attempt, run.lost) == ("succeeded", 1, 1)
    assert seen == [old, new, new]
    assert new != old


async def test_a_dead_workers_foreign_record_hinders_no_rescue(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """The foreign entry is dead-lettered, and the dead worker's other entries execute."""
    seen: list[Any] = []
    app = queues_app(seen, "default")
    ids = await send_and_dispatch(host, app, client, [Event("default", payload=n) for n in range(5)])
    redis.xreadgroup("workers", "dead", {f"{prefix}queue:app/default": ">"})
    redis.hset(f"{prefix}worker:dead", mapping={"app": "app", "queues": "app/default"})
    redis.zadd(f"{prefix}workers", {"dead": 1})
    redis.set(f"{prefix}event:{ids[2]}", "something else", ex=60)
    async with host.working(app):
        await await_until(lambda: len(seen) == 4)
        await await_until(lambda: client.list_dead_letters().items)
        redis.zadd(f"{prefix}workers", {"dead": 1})
        await await_until(lambda: redis.zscore(f"{prefix}workers", "dead") is None)
    assert sorted(payload for _, payload in seen) == [0, 1, 3, 4]
    (dead,) = client.list_dead_letters().items
    assert (dead.reason, dead.raw["e"]) == ("unreadable", ids[2].encode())


# Routes of a release that is to come.


async def test_a_worker_with_too_new_routes_dispatches_nothing(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It says so, gives its dispatcher slot up, and executes on; it dispatches again when those routes have gone."""
    seen: list[Any] = []
    app = queues_app(seen, "default")
    (queued,) = await send_and_dispatch(host, app, client, [Event("default", payload="queued")])
    blob = msgspec.msgpack.encode({"format": 2, "jobs": []})
    redis.hset(f"{prefix}routes:new", mapping={"s:f": blob, "n:f": "9", "w:w": "f"})
    redis.sadd(f"{prefix}queues", "new/default")
    redis.incr(f"{prefix}routes:version")
    with capture_logs() as lines:
        async with host.working(app, lease=0.6):
            sent = client.send_event(Event("default", payload="sent"))
            await await_until(lambda: seen)
            await await_until(lambda: redis.zcard(f"{prefix}dispatchers") == 0)
            await await_until(lambda: pending_count(redis, f"{prefix}events", "dispatch") == 0)
            assert client.get_event(queued).is_settled
            assert client.get_event(sent.id).status == "pending"
            redis.delete(f"{prefix}routes:new")
            redis.incr(f"{prefix}routes:version")
            await await_until(lambda: len(seen) == 2)
    assert [payload for _, payload in seen] == ["queued", "sent"]
    told = [line for line in lines if "have format 2, this release evaluates 1" in str(line.get("error"))]
    assert told
    assert len(told) < 5
