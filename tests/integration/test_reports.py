"""Workers count what becomes of their runs by job and minute, and say what they are; nothing is sent for a run."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from headrace import Client, Event
from headrace.formats.keys import Keys
from headrace_worker import App, Retry, event_trigger
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
        "app/fine:s": 30, "app/fails:r": 30, "app/fails:f": 30,
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
            return redis.hgetall(keys.worker(name.decode()))

        await await_until(lambda: b"host" in known(), 20)
        said = known()
        assert said[b"pid"] == str(os.getpid()).encode()
        assert said[b"app_version"] == b"1.2"
        assert abs(int(said[b"started"]) / 1000 - time.time()) < 60
        assert int(said[b"rss"]) > 1_000_000
        redis.hdel(keys.worker(redis.zrange(keys.workers, 0, -1)[0].decode()), "host")
        await await_until(lambda: b"host" in known(), 20)
