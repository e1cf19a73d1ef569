"""Workers count what becomes of their runs by job and minute, and say what they are; nothing is sent for a run."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from typing import Any

import pytest

from headrace import Client, Event
from headrace.formats.keys import Keys
from headrace_worker import App, Context, Retry, event_trigger
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


def _tallies(redis: Any, keys: Keys) -> Counter[str]:
    found = Counter[str]()
    for key in redis.scan_iter(f"{keys.prefix}tally:*"):
        assert 89_000 < redis.ttl(key) <= 90_000
        assert abs(int(key.rpartition(b":")[2]) - time.time() / 60) < 3
        found.update({field.decode(): int(count) for field, count in redis.hgetall(key).items()})
    return found


async def test_runs_are_counted_by_job(host: WorkerHost, redis: Any) -> None:
    """A worker that stops in order has counted all of them; an app without runs has no counts."""
    app = App("app")

    @app.job(id="fine", trigger=event_trigger("asked"))
    async def fine() -> None: ...

    @app.job(id="fails", trigger=event_trigger("asked"), retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
    async def fails() -> None:
        raise ValueError("never")

    keys = Keys(host.namespace)
    await host.settle(app)
    assert _tallies(redis, keys) == {}
    with Client(host.url, namespace=host.namespace) as client:
        client.send_events([Event("asked")] * 30)
        await host.settle(app)
    counted = _tallies(redis, keys)
    assert {field: count for field, count in counted.items() if not field.endswith(":ms")} == {
        "app/fine:s": 30, "app/fails:r": 30, "app/fails:f": 30, "app/@default:n": 90,
    }  # fmt: skip


async def test_a_worker_says_what_it_is(host: WorkerHost, redis: Any) -> None:
    """At once, and as long as it lives."""
    app = App("app", version="1.2")

    @app.job(id="fine", trigger=event_trigger("asked"))
    async def fine() -> None: ...

    keys = Keys(host.namespace)
    async with host.working(app):

        def known() -> dict[bytes, bytes]:
            (name,) = redis.zrange(keys.workers, 0, -1)
            found: dict[bytes, bytes] = redis.hgetall(keys.worker(name.decode()))
            return found

        await await_until(lambda: b"host" in known(), 20)
        said = known()
        assert said[b"pid"] == str(os.getpid()).encode()
        assert said[b"app_version"] == b"1.2"
        assert abs(int(said[b"started"]) / 1000 - time.time()) < 60
        assert int(said[b"rss"]) > 1_000_000
        redis.hdel(keys.worker(redis.zrange(keys.workers, 0, -1)[0].decode()), "host")
        await await_until(lambda: b"host" in known(), 20)


@pytest.mark.parametrize("queues", [["default"], ["default", "other"]], ids=["one queue", "several"])
async def test_a_quiet_worker_ends_what_it_has_and_fetches_no_more(
    host: WorkerHost, redis: Any, queues: list[str]
) -> None:
    """Another worker takes what comes; the quiet one lives on until it is to stop, and then stops as on a signal."""
    app, done, go_on = App("app"), list[str](), asyncio.Event()

    @app.job(id="waits", trigger=event_trigger("asked"))
    async def waits(ctx: Context) -> None:
        done.append(ctx.worker_id)
        await go_on.wait()

    for queue in queues[1:]:
        app.job(id=queue, queue=queue, trigger=event_trigger(queue))(lambda: None)
    keys = Keys(host.namespace)
    with Client(host.url, namespace=host.namespace) as client:
        async with host.working(app, block=60) as quiet:
            client.send_event(Event("asked", id="first"))
            await await_until(lambda: len(done) == 1, 20)
            name = str(quiet.name)
            assert redis.hset(keys.worker(name), "wanted", "quiet") == 1
            await await_until(lambda: quiet._members[0].identity.is_quiet, 20)
            async with host.working(app) as other:
                client.send_events([Event("asked")] * 20)
                await await_until(lambda: len(done) == 21, 20)
                assert set(done[1:]) == {other.name}
                go_on.set()
                await await_until(lambda: client.get_event("first").is_settled, 20)
                redis.hset(keys.worker(name), "wanted", "stop")
                await await_until(lambda: redis.exists(keys.worker(name)) == 0, 20)
            assert quiet.is_stopping
