"""Nothing of a paused queue starts, whatever would bring it there; once the queue goes on, all of it does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis as redis_py

from headrace import AsyncClient, Client, Event, InvalidArgument, QueueNotFound
from headrace_worker import App, Retry, RetryAfter, event_trigger
from tests.support.queues import await_blocked, queues_app
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

LONG = {"block": 60.0, "lease": 60.0}
"""With these nothing happens by itself within a test: whatever does was woken."""


def waiting(redis: redis_py.Redis, host: WorkerHost, queue: str) -> int:
    """Return how many runs of a queue wait for a worker."""
    key = f"headrace:{{{host.namespace}:0}}:queue:{queue}"
    pending: Any = redis.xpending(key, "workers")
    return int(redis.xlen(key)) - int(pending["pending"])


@pytest.mark.parametrize("queues", ["a", "ab"])
async def test_nothing_starts_by_a_read_that_is_open(
    host: WorkerHost, client: Client, redis: redis_py.Redis, queues: str
) -> None:
    """An idle worker waits in a read for the run, and does not get it; once the queue goes on, it gets it at once."""
    seen: list[Any] = []
    async with host.working(queues_app(seen, *queues), **LONG):
        await await_blocked(redis, "xreadgroup", 2)
        paused = client.pause_queue("app/a", reason="maintenance")
        assert (paused.reason, paused.limit) == ("maintenance", "declared")
        client.send_events([Event("a"), Event("a")])
        await await_until(lambda: waiting(redis, host, "app/a") == 2)
        await await_blocked(redis, "xreadgroup", 2)
        assert client.list_queue_controls() == [paused]
        assert len(client.list_runs(status="queued", queue="app/a").items) == 2
        assert seen == []
        client.resume_queue("app/a")
        await await_until(lambda: len(seen) == 2)
    assert client.list_queue_controls() == []


async def test_the_other_queues_go_on(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """A pause is of one queue."""
    seen: list[Any] = []
    async with host.working(queues_app(seen, "a", "b"), **LONG):
        await await_blocked(redis, "xreadgroup", 2)
        client.pause_queue("app/a")
        client.send_events([Event("a"), Event("b")])
        await await_until(lambda: seen and waiting(redis, host, "app/a") == 1)
        assert seen == [("b", None)]
        client.resume_queue("app/a")
        await await_until(lambda: len(seen) == 2)


async def test_nothing_starts_by_a_promotion_or_a_retry(
    host: WorkerHost, client: Client, redis: redis_py.Redis
) -> None:
    """A delayed event, a run that waits for its next attempt, and a run that is retried by hand wait in the queue."""
    app, seen, go_on = App("app"), [], asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"), retry=Retry(max_attempts=2))
    async def job(payload: str) -> None:
        seen.append(payload)
        if payload == "fails":
            await go_on.wait()
            raise RetryAfter(0)

    app.job(id="failing", trigger=event_trigger("failing"), retry=Retry(max_attempts=1))(_fail)
    async with host.working(app, **LONG):
        failed = client.send_event(Event("failing"))
        await await_until(lambda: client.get_event(failed.id).is_settled)
        client.send_event(Event("asked", payload="fails"))
        await await_until(lambda: seen == ["fails"])
        client.pause_queue("app/default")
        client.send_event(Event("asked", payload="delayed"), deliver_after=0.01)
        client.retry_run(f"{failed.id}:app/failing")
        go_on.set()
        await await_until(lambda: waiting(redis, host, "app/default") == 3)
        assert seen == ["fails"]
        client.resume_queue("app/default")
        await await_until(lambda: sorted(seen) == ["delayed", "fails", "fails"])


def _fail() -> None:
    raise ValueError


async def test_runs_in_flight_go_on(host: WorkerHost, client: Client) -> None:
    """A run that has begun ends as ever."""
    app, begun, go_on = App("app"), asyncio.Event(), asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job() -> None:
        begun.set()
        await go_on.wait()

    async with host.working(app):
        sent = client.send_event(Event("asked"))
        await begun.wait()
        client.pause_queue("app/default")
        go_on.set()
        await await_until(lambda: client.get_event(sent.id).is_settled)
    client.resume_queue("app/default")


async def test_a_released_run_does_not_start_again(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """What a stopping worker releases into a paused queue waits there, also for a worker that starts meanwhile."""
    app, go_on = App("app"), asyncio.Event()
    seen: list[None] = []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job() -> None:
        seen.append(None)
        await go_on.wait()

    async with host.working(app, **LONG) as first:
        sent = client.send_event(Event("asked"))
        await await_until(lambda: len(seen) == 1)
        client.pause_queue("app/default")
        first.stop_now()
        await await_until(lambda: waiting(redis, host, "app/default") == 1)
    async with host.working(app, **LONG):
        await await_blocked(redis, "xreadgroup", 2)
        assert len(seen) == 1
        go_on.set()
        client.resume_queue("app/default")
        await await_until(lambda: client.get_event(sent.id).is_settled)


async def test_a_pause_under_load_loses_nothing(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """Of many runs some are over when the queue is paused; the rest is executed afterwards, each run once."""
    app = App("app")
    seen: list[int] = []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(payload: int) -> None:
        seen.append(payload)
        await asyncio.sleep(0)

    async with host.working(app, concurrency=300), AsyncClient(host.url, namespace=host.namespace) as operator:
        client.send_events([Event("asked", payload=number) for number in range(4_000)])
        await await_until(lambda: len(seen) > 0)
        await operator.pause_queue("app/default")
        await await_until(lambda: client_is_idle(redis, host))
        paused_at = len(seen)
        await operator.resume_queue("app/default")
        await await_until(lambda: len(seen) == 4_000)
    assert paused_at < 4_000
    assert sorted(seen) == list(range(4_000))


def client_is_idle(redis: redis_py.Redis, host: WorkerHost) -> bool:
    """Return whether all events are dispatched and nothing of the queue is in flight."""
    prefix = f"headrace:{{{host.namespace}:0}}:"
    pending: Any = redis.xpending(f"{prefix}queue:app/default", "workers")
    return redis.xlen(f"{prefix}events") == 0 and pending["pending"] == 0


async def test_a_pause_holds_in_every_partition(url: str, namespace: str) -> None:
    """Events of all partitions wait, and go on together."""
    seen: list[Any] = []
    host = WorkerHost(url, namespace, partitions=3)
    with Client(url, namespace=namespace, partitions=3) as client:
        async with host.working(queues_app(seen, "a")):
            client.pause_queue("app/a")
            sent = client.send_events([Event("a") for _ in range(12)])
            await await_until(lambda: all(client.get_event(each.id).status == "dispatched" for each in sent))
            assert seen == []
            client.resume_queue("app/a")
            await await_until(lambda: len(seen) == 12)


def test_a_queue_that_is_not_known_is_named(client: Client) -> None:
    """The message has the queues that there are."""
    with pytest.raises(QueueNotFound, match="there is none at all"):
        client.pause_queue("app/default")


async def test_the_queues_that_there_are_stand_in_the_error(client: Client, host: WorkerHost) -> None:
    """So a name without its app, or with a mistake, is soon put right."""
    async with host.working(queues_app([], "a", "b")):
        pass
    for name in ("a", "app/c"):
        with pytest.raises(QueueNotFound, match=r"there is app/a, app/b"):
            client.resume_queue(name)


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 201, 5])
def test_a_reason_is_one_line(client: Client, reason: Any) -> None:
    """Another one is refused by name, before the server is asked."""
    with pytest.raises(InvalidArgument, match="reason"):
        client.pause_queue("app/default", reason=reason)


@pytest.mark.leaves_records
@pytest.mark.parametrize("damage", ["", "nonsense", "9" * 30, "²"])
async def test_a_pause_that_is_damaged_is_a_pause(
    client: Client, host: WorkerHost, redis: redis_py.Redis, damage: str
) -> None:
    """The server closes the queue whatever is written there, so a list names it, and it can be resumed."""
    await host.settle(queues_app([], "a"))
    client.pause_queue("app/a")
    redis.hset(f"headrace:{{{host.namespace}:0}}:controls", "p:app/a", damage)
    (found,) = client.list_queue_controls()
    assert (found.queue, found.paused_at is not None) == ("app/a", True)
    assert client.limit_queue("app/a", "declared").paused_at == found.paused_at
    client.resume_queue("app/a")
    assert client.list_queue_controls() == []
