"""The server's clock goes back by an hour while workers die; workers that start then are not delayed by it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_worker import App, Context, Retry, event_trigger
from tests.faults.deployment import Deployment, worker_name
from tests.support.waiting import await_until

_HOUR_MS = 3_600_000
_SETTINGS: dict[str, Any] = {"lease": 2.0, "block": 0.2}


def stood_ahead(deployment: Deployment) -> None:
    """Move every stored time an hour ahead of the server's clock, as if the clock had gone back just now."""
    keys, redis = deployment.keys, deployment.redis
    for zset in (keys.workers, keys.dispatchers, keys.due):
        for member, score in redis.zrange(zset, 0, -1, withscores=True):
            redis.zadd(zset, {member: score + _HOUR_MS})
    name, until = redis.get(keys.leader).decode().split()
    redis.set(keys.leader, f"{name} {int(until) + _HOUR_MS}")
    for field in ("renewed", "quiet"):
        if (moment := redis.hget(keys.meta, field)) is not None:
            redis.hset(keys.meta, field, int(moment) + _HOUR_MS)


def make_app(deployment: Deployment) -> App:
    app = App("gates")

    @app.job(id="quick", trigger=event_trigger("quick"))
    async def quick() -> None:
        pass

    @app.job(id="hold", trigger=event_trigger("hold"), retry=Retry(max_attempts=2, min_delay=3, max_delay=3))
    async def hold(ctx: Context) -> None:
        deployment.calls.add(ctx.event.id, "hold", ctx.run.attempt)
        if ctx.run.attempt == 1:
            raise ValueError("not yet")

    return app


async def test_a_clock_that_goes_back_costs_seconds(deployment: Deployment) -> None:
    """Events are dispatched and delivered, the runs of the dead are rescued, and retries are made, within seconds."""
    process = deployment.start_worker("gates", **_SETTINGS)
    dead = worker_name(process)
    held = deployment.send("hold", "never")
    await await_until(lambda: deployment.held_by(dead, "gates") != [], what="a run in flight")
    process.kill()
    later = deployment.client.send_event({"name": "quick"}, deliver_at=datetime.now(UTC) + timedelta(hours=2)).id
    due = deployment.redis.zscore(deployment.keys.due, f"e:{later}")
    stood_ahead(deployment)
    deployment.redis.zadd(deployment.keys.due, {f"e:{later}": due})
    async with deployment.working(make_app(deployment), **_SETTINGS):
        began_at = asyncio.get_running_loop().time()
        now, soon = deployment.send("quick"), deployment.send("quick", deliver_after=0.5)
        for event_id in (now, soon, held):
            await asyncio.to_thread(deployment.client.wait_for_event, event_id, 20)
        assert asyncio.get_running_loop().time() - began_at < 20
    assert deployment.client.get_event(held).runs[0].lost == 1
    assert deployment.redis.zscore(deployment.keys.due, f"e:{later}") == due
    assert deployment.redis.hget(deployment.keys.meta, "back") is None
    deployment.client.cancel_event(later)


async def test_a_clock_that_goes_back_delays_no_retry(deployment: Deployment) -> None:
    """A retry that waits when the clock goes back does not wait for the additional hour."""
    async with deployment.working(make_app(deployment), **_SETTINGS):
        event_id = deployment.send("hold")
        await await_until(lambda: deployment.statuses(event_id) == {"hold": "waiting"}, what="a retry that waits")
        stood_ahead(deployment)
        record = await asyncio.to_thread(deployment.client.wait_for_event, event_id, 20)
        assert [(run.status, run.attempt) for run in record.runs] == [("succeeded", 2)]
