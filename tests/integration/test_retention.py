"""What is kept, and for how long: contents for their retention, headers for as long as ids are remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, DeadLetterNotFound, Event, Retention, RunNotRetryable, SendOptions, SentEvent
from headrace.formats.keys import Keys
from headrace_worker import App, Retry, event_trigger
from headrace_worker.dev.embedded import EmbeddedServer
from tests.support.clients import KINDS, Kind, open_client
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

_PAYLOAD = "x" * 20_000


@pytest.fixture
def app() -> App:
    app = App("app")

    @app.job(id="echo", trigger=event_trigger("echo"))
    async def echo(payload: Any) -> Any:
        return payload

    @app.job(id="fail", trigger=event_trigger("fail"), retry=Retry(max_attempts=1))
    async def fail() -> None:
        raise ValueError(_PAYLOAD[:100])

    return app


def _size(redis: redis_py.Redis, keys: Keys, event_id: str) -> int:
    found: Any = redis.memory_usage(keys.event(event_id))
    return int(found or 0)


@pytest.mark.parametrize("event_id", [None, "invoice-7"], ids=["made by the client", "given by the sender"])
async def test_contents_go_with_their_retention(
    host: WorkerHost, client: Client, redis: redis_py.Redis, keys: Keys, app: App, event_id: str | None
) -> None:
    """Payload and output go; the header stays, so that the same id triggers nothing again."""
    retention = Retention(success=0.3, failure=0.3)
    async with host.working(app, retention=retention, lease=1.0):
        ids: dict[str, Any] = {} if event_id is None else {"id": event_id}
        sent = client.send_event(Event("echo", _PAYLOAD, **ids))
        await await_until(lambda: client.get_event(sent.id).is_settled, what="a settled event")
        await await_until(lambda: 0 < _size(redis, keys, sent.id) < 500, 20, what="a bare header")
        record = client.get_event(sent.id)
        assert (record.payload, record.runs, record.is_settled) == (None, [], True)
        if event_id is not None:
            assert client.send_event(Event("echo", id=event_id)).duplicate
        left: Any = redis.pttl(keys.event(sent.id))
        assert 600_000 < left <= 86_400_000
        assert redis.zcard(keys.fading) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("delay", [None, 0.05], ids=["now", "later"])
async def test_an_id_is_remembered_as_long_as_its_send_asks(
    host: WorkerHost, redis: redis_py.Redis, keys: Keys, app: App, kind: Kind, delay: float | None
) -> None:
    """Longer than the workers have it, never shorter; the contents go with the retention all the same."""
    week, day = 7 * 86_400_000, 86_400_000
    events: list[Any] = [Event("echo", _PAYLOAD, id="long"), (Event("none", id="short"), SendOptions(dedupe_for=1))]

    def send() -> list[SentEvent]:
        with open_client(kind, host.url, namespace=host.namespace) as client:
            return client.send_events(events, dedupe_for=timedelta(weeks=1), deliver_after=delay)

    def left(event_id: str) -> int:
        found: Any = redis.pttl(keys.event(event_id))
        return int(found)

    async with host.working(app, retention=Retention(success=0.3), lease=1.0):
        await asyncio.to_thread(send)
        await await_until(lambda: 0 < _size(redis, keys, "long") < 500, 20, what="a bare header")
        await await_until(lambda: left("short") > 0, 20, what="the end of the other event")
        assert day < left("long") <= week
        assert 0 < left("short") <= day
        assert [sent.duplicate for sent in await asyncio.to_thread(send)] == [True, True]


async def test_errors_go_with_theirs(
    host: WorkerHost, client: Client, redis: redis_py.Redis, keys: Keys, app: App
) -> None:
    """The dead letter too, though no other dead letter follows."""
    async with host.working(app, retention=Retention(success=0.2, failure=0.4), lease=1.0):
        sent = client.send_event(Event("fail", _PAYLOAD, id="once"))
        await await_until(lambda: len(client.list_dead_letters().items) == 1, what="a dead letter")
        (letter,) = client.list_dead_letters().items
        await await_until(lambda: client.list_dead_letters().items == [], 20, what="no dead letter")
        with pytest.raises(DeadLetterNotFound):
            client.get_dead_letter(letter.id)
        await await_until(lambda: 0 < _size(redis, keys, sent.id) < 500, 20, what="a bare header")


async def test_a_run_again_keeps_its_payload(
    host: WorkerHost, client: Client, redis: redis_py.Redis, keys: Keys, app: App
) -> None:
    """A retried run needs its payload, however long ago it settled."""
    async with host.working(app, retention=Retention(failure=30, dedupe_sender=60), lease=1.0):
        sent = client.send_event(Event("fail", _PAYLOAD, id="again"))
        await await_until(lambda: client.get_event(sent.id).is_settled, what="a settled event")
    client.retry_run(f"{sent.id}:app/fail")
    redis.zadd(keys.fading, {sent.id: 1})
    other = App("other")
    async with host.working(other, lease=1.0):
        await await_until(lambda: redis.zcard(keys.fading) == 0, 20, what="a look of the leader")
    assert client.get_event(sent.id).payload == _PAYLOAD
    async with host.working(app, retention=Retention(failure=30, dedupe_sender=60), lease=1.0):
        await await_until(lambda: client.get_event(sent.id).is_settled, what="a settled event")
    redis.hdel(keys.event(sent.id), "e")
    with pytest.raises(RunNotRetryable):
        client.retry_run(f"{sent.id}:app/fail")


@pytest.mark.slow
async def test_memory_is_back_soon_after_the_retention(
    make_server: Callable[..., EmbeddedServer], app: App, namespace: str
) -> None:
    """Of 100,000 events that were kept for a second only the headers are left: some 200 bytes each."""
    server, count = make_server(), 100_000
    host = WorkerHost(server.url, namespace)
    redis: Any = redis_py.Redis.from_url(server.url)
    with Client(server.url, namespace=namespace) as client:
        async with host.working(app, retention=Retention(success=1), concurrency=500, lease=2.0):
            before = redis.info("memory")["used_memory"]
            for first in range(0, count, 1_000):
                events = [Event("echo", "x" * 1_000, id=f"{number}") for number in range(first, first + 1_000)]
                await asyncio.to_thread(client.send_events, events)
            keys = Keys(namespace)
            await await_until(lambda: redis.xlen(keys.events) + redis.xlen(keys.queue("app", "default")) == 0, 100)
            await await_until(lambda: redis.zcard(keys.fading) == 0, 15, what="nothing that fades")
            left = redis.info("memory")["used_memory"] - before
    redis.close()
    assert left / count < 400
