"""A run whose job the worker does not have waits for a worker that has it, for as long as there may be one."""

from __future__ import annotations

import asyncio
from typing import Any

import redis as redis_py

from headrace import Client, Event
from headrace_worker import App, event_trigger
from tests.support.queues import queues_app
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


def _hurry(redis: redis_py.Redis, prefix: str) -> None:
    """Make everything that waits in `due` due now."""
    members: Any = redis.zrange(f"{prefix}due", 0, -1)
    for member in members:
        redis.zadd(f"{prefix}due", {member: 1}, xx=True)
    redis.lpush(f"{prefix}wake", "1")


async def test_a_run_of_an_unknown_job_waits_for_a_worker_that_has_it(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """Its waits count as nothing, and then it succeeds at its first attempt."""
    seen: list[Any] = []
    new, old = queues_app(seen, "default"), App("app")
    old.job(id="other", trigger=event_trigger("other"))(lambda: None)
    async with host.working(new):
        pass  # its routes are known
    sent = client.send_event(Event("default", payload=7))
    async with host.working(new, queues=("elsewhere",)):
        await await_until(lambda: client.get_event(sent.id).status in {"dispatched", "settled"})
    async with host.working(old):
        for _ in range(2):
            run = await await_until(lambda: (found := client.get_event(sent.id).runs[0]).status == "waiting" and found)
            assert run
            assert run.error is not None
            assert (run.error.type, run.attempt) == ("UnknownJob", 1)
            _hurry(redis, prefix)
    _hurry(redis, prefix)
    await host.settle(new)
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.attempt, run.lost, run.error) == ("succeeded", 1, 0, None)
    assert seen == [("default", 7)]


async def test_a_job_that_no_worker_has_is_given_up_in_time(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It is dead with its reason, and can be retried when a worker has the job."""
    seen: list[Any] = []
    new, old = queues_app(seen, "default"), App("app")
    old.job(id="other", trigger=event_trigger("other"))(lambda: None)
    async with host.working(new, queues=("elsewhere",)):
        sent = client.send_event(Event("default"))
        await await_until(lambda: client.get_event(sent.id).status in {"dispatched", "settled"})
    async with host.working(old, unknown_job=0.01):
        await await_until(lambda: redis.zcard(f"{prefix}due"))
        _hurry(redis, prefix)
        while not client.get_event(sent.id).is_settled:
            _hurry(redis, prefix)
            await asyncio.sleep(0.01)
    (run,) = client.get_event(sent.id).runs
    assert run.status == "failed"
    (dead,) = client.list_dead_letters().items
    assert (dead.reason, dead.job, dead.run_id) == ("unknown_job", "app/default", run.id)
    client.retry_run(run.id)
    await host.settle(new)
    assert seen == [("default", None)]


async def test_a_job_that_a_live_worker_has_is_not_given_up(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """However long its runs have waited: that worker is only busy, or takes from another queue."""
    seen: list[Any] = []
    new, old = queues_app(seen, "default"), App("app")
    old.job(id="other", trigger=event_trigger("other"))(lambda: None)
    async with host.working(new, queues=("elsewhere",)), host.working(old, unknown_job=0, dispatchers=0):
        sent = client.send_event(Event("default"))
        for _ in range(3):
            await await_until(lambda: redis.zcard(f"{prefix}due"))
            _hurry(redis, prefix)
        await await_until(lambda: redis.zcard(f"{prefix}due"))
        assert client.get_event(sent.id).runs[0].status == "waiting"
    _hurry(redis, prefix)
    await host.settle(new)
    assert seen == [("default", None)]
