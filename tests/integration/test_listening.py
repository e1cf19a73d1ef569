"""What a worker hears at once, over one connection, and finds out when the line was cut meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace_worker import App, event_trigger
from tests.support.proxy import Proxy
from tests.support.queues import await_blocked
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

LONG: dict[str, Any] = {"block": 60.0, "lease": 60.0}
"""No end of a read, which takes a minute, and no renewal of the lease, each 20 s, tells the worker anything within a
test, whose waits are shorter: what a worker learns it has heard, or looked for as its subscription stood."""


def subscribers(redis: redis_py.Redis, keys: Keys) -> list[int]:
    channels = redis.pubsub_numsub(keys.canceled_channel, keys.controls_channel)
    return [count for _, count in channels]


@asynccontextmanager
async def unheard(proxy: Proxy, redis: redis_py.Redis, keys: Keys) -> AsyncIterator[None]:
    """The one worker's subscriptions are cut, and it can't subscribe again meanwhile."""
    await await_until(lambda: subscribers(redis, keys) == [1, 1])
    cut = proxy.cut_before_request(b"SUBSCRIBE", times=1_000)
    redis.client_kill_filter(_type="pubsub")
    await asyncio.to_thread(cut.wait)
    yield
    assert subscribers(redis, keys) == [0, 0]
    cut.cancel()


def until_canceled(began: asyncio.Event, ended: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def job() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    return job


async def test_a_cancellation_that_was_missed_is_found(
    proxy: Proxy, namespace: str, client: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """The next subscription begins with a look at which runs are still this worker's."""
    app, began, ended = App("app"), asyncio.Event(), asyncio.Event()

    app.job(id="job", trigger=event_trigger("asked"))(until_canceled(began, ended))
    async with WorkerHost(proxy.url, namespace).working(app, **LONG):
        sent = client.send_event(Event("asked"))
        await began.wait()
        async with unheard(proxy, redis, keys):
            client.cancel_run(f"{sent.id}:app/job")
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_limit_is_heard_in_an_open_read(
    host: WorkerHost, client: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """By its message, as nothing else ends the read: the queue gives it nothing while it is limited.

    The second limit is the one that counts, as the first may be what the worker finds when its subscription stands.
    """
    app, called = App("app"), asyncio.Semaphore(0)

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job() -> None:
        called.release()

    async with host.working(app, **LONG):
        await await_until(lambda: subscribers(redis, keys) == [1, 1])
        for _ in range(2):
            await await_blocked(redis, "xreadgroup", 2)
            client.limit_queue("app/default", 1)
            client.send_event(Event("asked"))
            await asyncio.wait_for(called.acquire(), 5)
            client.limit_queue("app/default", "declared")


async def test_a_limit_that_was_missed_is_found(
    proxy: Proxy, namespace: str, client: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """The open read of a limited queue gets nothing; the worker ends the read, and takes by the limit."""
    app, called = App("app"), asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job() -> None:
        called.set()
        await asyncio.sleep(0)

    async with WorkerHost(proxy.url, namespace).working(app, **LONG):
        async with unheard(proxy, redis, keys):
            await await_blocked(redis, "xreadgroup", 2)
            client.limit_queue("app/default", 1)
        client.send_event(Event("asked"))
        await asyncio.wait_for(called.wait(), 5)


async def test_a_partition_that_cant_be_read_hides_no_cancellation_in_another(
    proxy: Proxy, url: str, namespace: str, redis: redis_py.Redis, keys: Keys
) -> None:
    """The look fails for the one, and ends the canceled function in the other."""
    partitions, ids = Partitions(namespace, 2), dict[int, str]()
    app, began, ended = App("app"), asyncio.Semaphore(0), asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job() -> None:
        began.release()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    for number in count():
        ids.setdefault(partitions.of(f"e{number}").partition, f"e{number}")
        if len(ids) == 2:
            break
    with Client(url, namespace=namespace, partitions=2) as client:
        async with WorkerHost(proxy.url, namespace, 2).working(app, grace=0, **LONG):
            client.send_events([Event("asked", id=each) for each in ids.values()])
            await began.acquire()
            await began.acquire()
            queue = partitions.first.queue("app", "default")
            async with unheard(proxy, redis, keys):
                client.cancel_run(f"{ids[1]}:app/job")
                redis.rename(queue, f"{queue}-kept")
                redis.set(queue, "foreign")
            await asyncio.wait_for(ended.wait(), 5)
            redis.rename(f"{queue}-kept", queue)


@pytest.fixture
def deaf_url(url: str, redis: redis_py.Redis) -> Iterator[str]:
    """The session's server for a user who may not subscribe."""
    redis.execute_command("ACL", "SETUSER", "deaf", "reset", "on", ">secret", "~*", "&*", "+@all", "-subscribe")
    parts = urlsplit(url)
    yield urlunsplit(parts._replace(netloc=f"deaf:secret@{parts.netloc.rpartition('@')[2]}"))
    redis.execute_command("ACL", "DELUSER", "deaf")


async def test_a_worker_that_may_not_subscribe_looks(deaf_url: str, namespace: str, client: Client) -> None:
    """Three times in a lease: there is no message that it could hear, and its function ends all the same."""
    app, began, ended = App("app"), asyncio.Event(), asyncio.Event()
    app.job(id="job", trigger=event_trigger("asked"))(until_canceled(began, ended))
    async with WorkerHost(deaf_url, namespace).working(app, lease=3.0):
        sent = client.send_event(Event("asked"))
        await began.wait()
        client.cancel_run(f"{sent.id}:app/job")
        await asyncio.wait_for(ended.wait(), 10)


async def test_a_worker_listens_over_one_connection(host: WorkerHost, redis: redis_py.Redis, keys: Keys) -> None:
    """For cancellations and for controls."""
    before = len(redis.client_list(_type="pubsub"))
    async with host.working(App("app", dispatch_only=True), **LONG):
        await await_until(lambda: subscribers(redis, keys) == [1, 1])
        assert len(redis.client_list(_type="pubsub")) == before + 1
