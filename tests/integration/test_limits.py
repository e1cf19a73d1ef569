"""Of a limited queue no more runs are in flight than the limit, over all workers, and all of them are executed."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, ConfigurationError, Event, InvalidArgument
from headrace_worker import App, Queue, Retry, event_trigger
from tests.support.queues import await_blocked, queues_app
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

LONG = {"block": 60.0, "lease": 60.0}
"""With these nothing happens by itself within a test: a read ends after a minute, a lease is renewed each 20 s, and no
test waits so long. Whatever a worker does it was woken for: by an entry, a wake-up, or a message of the controls, which
`test_a_limit_is_heard_in_an_open_read` has alone."""


class Work:
    """Counts how many runs execute at once; each ends when it is let."""

    def __init__(self) -> None:
        self.executing = self.most = self.ended = 0
        self._slots = asyncio.Semaphore(0)

    async def run(self) -> None:
        self.executing += 1
        self.most = max(self.most, self.executing)
        try:
            await self._slots.acquire()
        finally:
            self.executing -= 1
            self.ended += 1

    def is_at(self, ended: int, executing: int) -> bool:
        return (self.ended, self.executing) == (ended, executing)

    def let_end(self, count: int) -> None:
        """Let so many runs end, now or later."""
        for _ in range(count):
            self._slots.release()


def work_app(work: Work, **options: Any) -> App:
    app = App("app")

    @app.job(id="job", trigger=event_trigger("asked"), **options)
    async def job() -> None:
        await work.run()

    return app


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_declared_limit_holds_over_all_workers(host: WorkerHost, client: Client, workers: int) -> None:
    """Whenever a run ends the next one begins, in whichever worker; the end of each wakes one."""
    work = Work()
    async with AsyncExitStack() as stack:
        for _ in range(workers):
            await stack.enter_async_context(host.working(work_app(work, concurrency=2), **LONG))
        client.send_events([Event("asked") for _ in range(20)])
        await await_until(lambda: work.executing == 2)
        for ended in range(1, 19):
            work.let_end(1)
            await await_until(partial(work.is_at, ended, 2))
        work.let_end(2)
        await await_until(lambda: work.ended == 20)
    assert work.most == 2


@pytest.mark.parametrize("attempts", [1, 2], ids=["failed", "retried"])
async def test_any_end_of_a_run_lets_the_next_begin(host: WorkerHost, client: Client, attempts: int) -> None:
    """Also a failed attempt, whose run waits for its next one, and a run that failed for good."""
    app = App("app")
    seen: list[int] = []
    retry = Retry(max_attempts=attempts, min_delay=3_600, max_delay=3_600)

    @app.job(id="job", trigger=event_trigger("asked"), concurrency=1, retry=retry)
    async def job(payload: int) -> None:
        seen.append(payload)
        if payload < 3:
            raise ValueError

    async with host.working(app, **LONG):
        client.send_events([Event("asked", payload=number) for number in range(4)])
        await await_until(lambda: seen == [0, 1, 2, 3])


async def test_a_run_that_is_released_lets_the_next_begin(host: WorkerHost, client: Client) -> None:
    """A worker that stops gives its runs and their room to another one."""
    work = Work()
    app = work_app(work, concurrency=2)
    async with host.working(app, **LONG) as first:
        client.send_events([Event("asked") for _ in range(4)])
        await await_until(lambda: work.executing == 2)
        async with host.working(app, **LONG):
            first.stop_now()
            await await_until(lambda: work.ended == 2)  # they were cancelled
            work.let_end(4)
            await await_until(lambda: work.ended == 6)
    assert work.most == 2


@pytest.mark.parametrize("queues", ["a", "ab"])
async def test_a_limit_at_run_time(host: WorkerHost, client: Client, redis: redis_py.Redis, queues: str) -> None:
    """It holds for workers that wait in a read already, and goes down, up and away while runs are in flight."""
    work, app = Work(), App("app")
    for queue in queues:
        app.job(id=queue, trigger=event_trigger(queue), queue=queue)(work.run)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(host.working(app, **LONG))
        await await_blocked(redis, "xreadgroup", 3)
        assert client.limit_queue("app/a", 3).limit == 3
        client.send_events([Event("a") for _ in range(40)])
        await await_until(lambda: work.executing == 3)
        client.limit_queue("app/a", 1)
        work.let_end(2)
        await await_until(lambda: work.ended == 2)
        assert work.executing == 1
        client.limit_queue("app/a", 5)
        await await_until(lambda: work.executing == 5)
        assert work.most == 5
        client.limit_queue("app/a", "declared")
        await await_until(lambda: work.executing == 38)
        assert client.list_queue_controls() == []
        work.let_end(38)
        await await_until(lambda: work.ended == 40)
        client.send_event(Event("a"))  # and the workers go on as before
        work.let_end(1)
        await await_until(lambda: work.ended == 41)


async def test_a_declared_limit_is_lifted_and_comes_back(host: WorkerHost, client: Client) -> None:
    """None lets any number of runs be in flight, `declared` as many as the code says."""
    work = Work()
    async with host.working(work_app(work, concurrency=1), **LONG):
        client.send_events([Event("asked") for _ in range(10)])
        await await_until(lambda: work.executing == 1)
        assert client.limit_queue("app/job", None).limit is None
        await await_until(lambda: work.executing == 10)
        client.limit_queue("app/job", "declared")
        work.let_end(10)
        await await_until(lambda: work.ended == 10)
        work.most = 0
        client.send_events([Event("asked") for _ in range(3)])
        work.let_end(3)
        await await_until(lambda: work.ended == 13)
        assert work.most == 1


async def test_a_limit_holds_for_all_partitions_together(url: str, namespace: str) -> None:
    """Each has its part of it, and a limit that can't be divided is refused."""
    work, host = Work(), WorkerHost(url, namespace, partitions=3)
    with Client(url, namespace=namespace, partitions=3) as client:
        async with host.working(work_app(work, concurrency=4), **LONG):
            client.send_events([Event("asked") for _ in range(60)])
            await await_until(lambda: work.executing == 4)
            work.let_end(30)
            await await_until(lambda: work.ended == 30)
            assert client.limit_queue("app/job", 7).limit == 7
            work.let_end(30)
            await await_until(lambda: work.ended == 60)
            with pytest.raises(InvalidArgument, match="2 can't be divided among the 3 partitions"):
                client.limit_queue("app/job", 2)
            client.limit_queue("app/job", "declared")
        with pytest.raises(ConfigurationError, match="concurrency=2"):
            await host.make(work_app(work, concurrency=2)).run()
    assert work.most <= 7


async def test_weights_share_the_slots_of_a_worker(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """While both queues have runs, three of the one begin for each of the other."""
    app = App("app")
    seen: list[str] = []
    for name, weight in (("light", 1), ("heavy", 3)):

        @app.job(id=name, trigger=event_trigger(name), queue=Queue(name, weight=weight))
        async def job(payload: str) -> None:
            seen.append(payload)

    client.send_events([Event(name, payload=name) for name in ("light", "heavy") for _ in range(120)])
    async with host.working(app, queues=("elsewhere",)):  # dispatches, and takes nothing
        await await_until(lambda: _is_dispatched(host, redis))
    await host.settle(app, concurrency=8)
    counts = Counter(seen[:80])
    assert abs(counts["heavy"] - 60) <= 8, counts
    assert Counter(seen) == {"light": 120, "heavy": 120}


def _is_dispatched(host: WorkerHost, redis: redis_py.Redis) -> bool:
    return redis.xlen(f"headrace:{{{host.namespace}:0}}:events") == 0


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "3", "none"])
def test_a_bad_limit_is_refused(client: Client, limit: Any) -> None:
    """The error names it and its rule; a limit of none at all is a pause."""
    with pytest.raises(InvalidArgument, match=r"limit: must be a whole number from 1 .* pause the queue"):
        client.limit_queue("app/a", limit)


async def test_a_queue_that_is_paused_and_limited(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """The one does not change the other."""
    seen: list[Any] = []
    async with host.working(queues_app(seen, "a"), **LONG):
        client.limit_queue("app/a", 2)
        client.pause_queue("app/a")
        client.send_event(Event("a"))
        client.limit_queue("app/a", 3)
        await await_until(lambda: _is_dispatched(host, redis))
        await await_blocked(redis, "xreadgroup", 2)
        assert seen == []
        resumed = client.resume_queue("app/a")
        assert (resumed.paused_at, resumed.limit) == (None, 3)
        await await_until(lambda: len(seen) == 1)
        client.limit_queue("app/a", "declared")
