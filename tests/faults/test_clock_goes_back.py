"""The server's clock goes back by an hour while workers die: those that start then are not held up by it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_worker import App, Context, Retry, event_trigger
from tests.faults.scene import Scene, worker_name
from tests.support.waiting import await_until

_HOUR_MS = 3_600_000
_SETTINGS: dict[str, Any] = {"lease": 2.0, "block": 0.2}


def stood_ahead(scene: Scene) -> None:
    """Every moment that the server keeps is an hour ahead of its clock, as if that had gone back just now."""
    keys, redis = scene.keys, scene.redis
    for zset in (keys.workers, keys.dispatchers, keys.due):
        for member, score in redis.zrange(zset, 0, -1, withscores=True):
            redis.zadd(zset, {member: score + _HOUR_MS})
    name, until = redis.get(keys.leader).decode().split()
    redis.set(keys.leader, f"{name} {int(until) + _HOUR_MS}")
    for field in ("renewed", "quiet"):
        if (moment := redis.hget(keys.meta, field)) is not None:
            redis.hset(keys.meta, field, int(moment) + _HOUR_MS)


def make_app(scene: Scene) -> App:
    app = App("gates")

    @app.job(id="quick", trigger=event_trigger("quick"))
    async def quick() -> None:
        pass

    @app.job(id="hold", trigger=event_trigger("hold"), retry=Retry(max_attempts=2, min_delay=3, max_delay=3))
    async def hold(ctx: Context) -> None:
        scene.calls.add(ctx.event.id, "hold", ctx.run.attempt)
        if ctx.run.attempt == 1:
            raise ValueError("not yet")

    return app


async def test_a_clock_that_goes_back_costs_seconds(scene: Scene) -> None:
    """Events are dispatched and delivered, the runs of the dead are rescued, and retries are made, within seconds."""
    process = scene.start_worker("gates", **_SETTINGS)
    dead = worker_name(process)
    held = scene.send("hold", "never")
    await await_until(lambda: scene.held_by(dead, "gates") != [], what="a run in hand")
    process.kill()
    later = scene.client.send_event({"name": "quick"}, deliver_at=datetime.now(UTC) + timedelta(hours=2)).id
    due = scene.redis.zscore(scene.keys.due, f"e:{later}")
    stood_ahead(scene)
    scene.redis.zadd(scene.keys.due, {f"e:{later}": due})
    async with scene.working(make_app(scene), **_SETTINGS):
        began_at = asyncio.get_running_loop().time()
        now, soon = scene.send("quick"), scene.send("quick", deliver_after=0.5)
        for event_id in (now, soon, held):
            await asyncio.to_thread(scene.client.wait_for_event, event_id, 20)
        assert asyncio.get_running_loop().time() - began_at < 20
    assert scene.client.get_event(held).runs[0].lost == 1
    assert scene.redis.zscore(scene.keys.due, f"e:{later}") == due
    assert scene.redis.hget(scene.keys.meta, "back") is None
    scene.client.cancel_event(later)


async def test_a_retry_waits_as_long_as_it_was_to(scene: Scene) -> None:
    """One that waited when the clock went back does not wait for the hour as well."""
    async with scene.working(make_app(scene), **_SETTINGS):
        event_id = scene.send("hold")
        await await_until(lambda: scene.statuses(event_id) == {"hold": "waiting"}, what="a retry that waits")
        stood_ahead(scene)
        record = await asyncio.to_thread(scene.client.wait_for_event, event_id, 20)
        assert [(run.status, run.attempt) for run in record.runs] == [("succeeded", 2)]
