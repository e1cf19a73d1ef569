"""What operators look at costs the same few calls and bytes whatever is in flight: here 20,000 runs of 300 workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py

from headrace.formats.keys import Keys
from headrace_worker.operate.app_client import AppClient
from tests.support.round_trips import Asked

WORKERS, RUNS = 300, 20_000
FAR_MS = 2**52


@pytest.fixture
def client(url: str, namespace: str, redis: redis_py.Redis, keys: Keys) -> Iterator[AppClient]:
    """A namespace with one queue, all of whose runs are in flight, and a client that has asked about the server."""
    stream = keys.queue("app", "default")
    with redis.pipeline(transaction=False) as pipe:
        pipe.sadd(keys.queues, "app/default")
        pipe.xgroup_create(stream, "workers", "0", mkstream=True)
        for number in range(RUNS):
            pipe.xadd(stream, {"e": f"e{number}", "j": "job", "s": "", "b": b""})
        for number in range(WORKERS):
            name = f"w{number}"
            pipe.zadd(keys.workers, {name: FAR_MS})
            pipe.hset(keys.worker(name), mapping={"app": "app", "queues": "app/default", "slots": "70"})
            pipe.xreadgroup("workers", name, {stream: ">"}, RUNS // WORKERS + 1)
        pipe.execute()
    with AppClient(url, namespace=namespace) as client:
        client.has_workers()
        yield client


@pytest.mark.leaves_records
@pytest.mark.parametrize(
    ("look", "most"),
    [
        (lambda of: of.list_runs(status="executing"), (4, 110, 100_000)),
        (lambda of: of.list_runs(status="executing", worker="w150"), (5, 140, 100_000)),
        (lambda of: of.list_workers(), (2, 310, 100_000)),
        (lambda of: of.get_worker("w150"), (5, 480, 150_000)),
        (lambda of: of.get_queue("app/default"), (8, 330, 150_000)),
        (lambda of: of.list_queues(), (8, 330, 150_000)),
    ],
    ids=["executing", "of a worker", "workers", "worker", "queue", "queues"],
)
def test_a_look_at_what_is_in_flight(
    client: AppClient,
    redis: redis_py.Redis,
    monkeypatch: pytest.MonkeyPatch,
    look: Callable[[AppClient], Any],
    most: tuple[int, int, int],
) -> None:
    """At most so many round trips, calls and bytes: no call for each run, and no answer that grows with the runs."""

    def written() -> int:
        return int(redis.info("stats")["total_net_output_bytes"])

    asked = Asked(client, monkeypatch)
    before, between = written(), written()
    found = look(client)
    assert found
    assert written() - between - (between - before) < most[2]
    assert len(asked.trips) <= most[0]
    assert sum(asked.trips) <= most[1]
