"""A delayed event is delivered when it is due by the server's clock: not before, and all that are due with it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event, Retention
from headrace_worker import Abort, App, Context, RetryAfter, event_trigger
from tests.support.stored import server_time
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


def _app(seen: list[Any], redis: redis_py.Redis) -> App:
    app = App("app")

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(payload: Any, ctx: Context) -> None:
        seen.append((payload, ctx.event.id, server_time(redis)))

    return app


async def test_no_event_is_early(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """Each at its own time and in the order of times, whatever the clients' clocks say."""
    seen: list[Any] = []
    delays = [0.3, 0.1, 0.2, 0.15, 0.05]
    sent = {client.send_event(Event("asked", payload=each), deliver_after=each).id: each for each in delays}
    await host.settle(_app(seen, redis))
    assert [payload for payload, *_ in seen] == sorted(delays)
    for _, event_id, at in seen:
        record = client.get_event(event_id)
        assert record.deliver_at is not None
        assert record.delivered_at is not None
        assert record.deliver_at <= record.delivered_at <= at
    assert {event_id for _, event_id, _ in seen} == set(sent)


async def test_an_earlier_time_wakes_the_promoter(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """It was waiting for a later time, or for as long as a read may wait."""
    seen: list[Any] = []
    async with host.working(_app(seen, redis), block=60, lease=30):
        later = client.send_event(Event("asked", payload="later"), deliver_after=3600)
        client.send_event(Event("asked", payload="sooner"), deliver_after=0.05)
        await await_until(lambda: seen)
        client.send_event(Event("asked", id=later.id, payload="pulled forward"), deliver_after=0.05)
        await await_until(lambda: len(seen) == 2)
    assert [payload for payload, *_ in seen] == ["sooner", "pulled forward"]


async def test_a_foreign_member_of_due_delays_no_later_event(
    host: WorkerHost, client: Client, redis: redis_py.Redis
) -> None:
    """A long-due member that another program wrote is dead-lettered when the next delayed event is sent."""

    def promoter_listens() -> bool:
        clients: Any = redis.client_list()
        return any(each["cmd"] == "blpop" and "b" in each["flags"] for each in clients)

    seen: list[Any] = []
    async with host.working(_app(seen, redis), block=60, lease=60):
        client.send_event(Event("asked", payload="before"), deliver_after=0.05)
        await await_until(lambda: seen and promoter_listens())
        prefix = f"headrace:{{{host.namespace}:0}}:"
        redis.zadd(f"{prefix}due", {"foreign": 1})
        client.send_event(Event("asked", payload="after"), deliver_after=0.05)
        await await_until(lambda: len(seen) == 2, 40)
        letters: Any = redis.xrange(f"{prefix}dead")
        assert [fields[b"raw.member"] for _, fields in letters] == [b"foreign"]


async def test_a_due_time_ends_the_promoters_read(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """The server checks the times of blocked reads only ten times a second, so its own end of a read comes late."""

    def unblocked() -> int:
        counts: Any = redis.info("commandstats")
        return sum(counts.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("client|unblock", "client"))

    seen: list[Any] = []
    async with host.working(_app(seen, redis), block=60, lease=30):
        client.send_event(Event("asked"), deliver_after=0.05)
        await await_until(lambda: len(seen) == 1)
        before = unblocked()
        for count in range(2, 20):  # now and then the server is the first all the same
            client.send_event(Event("asked"), deliver_after=0.2)
            await await_until(lambda count=count: len(seen) == count)  # type: ignore[misc]
            if unblocked() > before:
                return
    pytest.fail("the server ended every read")


async def test_all_that_are_due_at_one_instant_are_dispatched(
    host: WorkerHost, client: Client, redis: redis_py.Redis
) -> None:
    """A thousand of them, each once."""
    seen: list[Any] = []
    at = server_time(redis) + timedelta(seconds=0.4)
    client.send_events([Event("asked", payload=n) for n in range(1000)], deliver_at=at)
    await host.settle(_app(seen, redis))
    assert sorted(payload for payload, *_ in seen) == list(range(1000))
    assert min(moment for *_, moment in seen) >= at


async def test_a_canceled_event_is_never_seen(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """And one that was delivered stays delivered."""
    seen: list[Any] = []
    canceled = client.send_event(Event("asked", payload="canceled"), deliver_after=0.1)
    kept = client.send_event(Event("asked", payload="kept"), deliver_after=0.1)
    assert client.cancel_event(canceled.id).status == "canceled"
    await host.settle(_app(seen, redis))
    assert [payload for payload, *_ in seen] == ["kept"]
    assert client.get_event(canceled.id).runs == []
    assert client.cancel_event(kept.id).status == "settled"
    assert client.get_event(kept.id).runs[0].status == "succeeded"


async def test_the_same_id_again_is_one_event(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """Delayed, the later send counts; delivered, nothing happens; and its job runs once."""
    seen: list[Any] = []
    app = _app(seen, redis)
    client.send_event(Event("asked", id="x", payload=1), deliver_after=3600)
    client.send_event(Event("asked", id="x", payload=2), deliver_after=0.05)
    again = client.send_event(Event("asked", id="x", payload=3))
    assert not again.duplicate
    assert client.send_event(Event("asked", id="x", payload=4)).payload == 3
    await host.settle(app)
    after = client.send_event(Event("asked", id="x", payload=5), deliver_after=0.01)
    assert (after.duplicate, after.payload) == (True, 3)
    await host.settle(app)
    assert [payload for payload, *_ in seen] == [3]


async def test_waiting_for_an_event_ends_with_its_last_run(host: WorkerHost, client: Client) -> None:
    """Delays and retries included; the record that it gives is complete."""
    app = App("app")

    @app.job(id="fails-once", trigger=event_trigger("asked"))
    async def fails_once(ctx: Context) -> str:
        if ctx.run.attempt == 1:
            raise RetryAfter(0.05)
        return "late"

    app.job(id="at-once", trigger=event_trigger("asked"))(lambda: "early")
    sent = client.send_event(Event("asked"), deliver_after=0.05)
    nobody = client.send_event(Event("unheard of"))
    async with host.working(app):
        record = await asyncio.to_thread(client.wait_for_event, sent.id, 20)
        assert [(run.job, run.output) for run in record.runs] == [("app/at-once", "early"), ("app/fails-once", "late")]
        assert (await asyncio.to_thread(client.wait_for_event, nobody.id, 20)).runs == []


# What is remembered.


def _ttl(redis: redis_py.Redis, host: WorkerHost, event_id: str) -> float:
    return float(redis.pttl(f"headrace:{{{host.namespace}:0}}:event:{event_id}")) / 1000


@pytest.mark.parametrize(
    ("event", "raised", "least"),
    [
        (Event("asked"), None, 900),
        (Event("asked", id="own"), None, 86_400),
        (Event("asked", id="bad"), Abort(), 604_800),
    ],
)
async def test_records_last_for_retention_and_ids_for_dedupe(
    host: WorkerHost, client: Client, redis: redis_py.Redis, event: Event, raised: Abort | None, least: int
) -> None:
    """Whichever is longer; while something of the event is open, its record does not expire."""
    app = App("app")

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(ctx: Context) -> None:
        assert redis.ttl(f"headrace:{{{host.namespace}:0}}:event:{ctx.event.id}") == -1
        if raised:
            raise raised

    sent = client.send_event(event)
    await host.settle(app, retention=Retention(success=0 if event.id is None else 60))
    assert least - 60 < _ttl(redis, host, sent.id) <= least


@pytest.mark.parametrize("own_id", ["x", None])
async def test_without_retention_only_the_id_is_remembered(
    host: WorkerHost, client: Client, own_id: str | None
) -> None:
    """The contents and the outcome are gone; sent again, the id still triggers nothing."""
    app, seen = App("app"), []
    app.job(id="job", trigger=event_trigger("asked"))(lambda payload: seen.append(payload))  # noqa: PLW0108 - its name
    sent = client.send_event(Event("asked", id=own_id, payload=1))
    await host.settle(app, retention=Retention(success=0))
    record = client.get_event(sent.id)
    assert (record.name, record.payload, record.runs, record.is_settled) == ("", None, [], True)
    assert client.send_event(Event("asked", id=sent.id, payload=2)).duplicate
    await host.settle(app, retention=Retention(success=0))
    assert seen == [1]


def test_an_event_for_the_last_moment_is_shown_and_canceled(client: Client) -> None:
    """It is due in the last millisecond that there is, and no read of it fails."""
    sent = client.send_event(Event("x", id="never"), deliver_at=datetime.max.replace(tzinfo=UTC))
    record = client.get_event("never")
    assert (record.status, record.deliver_at) == ("delayed", sent.deliver_at)
    assert client.cancel_event("never").status == "canceled"
