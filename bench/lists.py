"""Fills a namespace, and counts what the first page of each list costs: round trips, and the longest command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from bench.server import Server
from headrace import Client, RunError
from headrace.calls.call import Call
from headrace.formats.codec import encode_outcome
from headrace.formats.keys import Keys

KEYS = Keys("default")
_GROUP = 500
T = TypeVar("T")
_ERROR = encode_outcome(RunError("ValueError", "no such user", "Traceback (most recent call last):\n" * 20), None)

LISTS: dict[str, Callable[[Client], object]] = {
    "events list": lambda client: client.list_events(limit=20),
    "events list --name nope": lambda client: client.list_events(name="nope"),
    "events list --source nope": lambda client: client.list_events(source="nope"),
    "runs list": lambda client: client.list_runs(limit=20),
    "runs list --job app/nope": lambda client: client.list_runs(job="app/nope"),
    "runs list --status failed": lambda client: client.list_runs(status="failed", limit=20),
    "runs list --status failed --job app/nope": lambda client: client.list_runs(status="failed", job="app/nope"),
    "runs list --status executing": lambda client: client.list_runs(status="executing", limit=20),
    "runs list --status queued": lambda client: client.list_runs(status="queued", limit=20),
    "runs list --status waiting": lambda client: client.list_runs(status="waiting", limit=20),
    "delayed list": lambda client: client.list_delayed(limit=20),
    "dead list": lambda client: client.list_dead_letters(limit=20),
    "dead list --error nope": lambda client: client.list_dead_letters(error="nope"),
    "dead groups": lambda client: client.dead_letter_groups(),
}
"""Each list as it is asked for on the command line, the filters that match nothing among them."""


class Cost(msgspec.Struct, frozen=True):
    """What a page took.

    Attributes:
        slowest_ms: the longest command, by the server's own clock.
    """

    round_trips: int
    calls: int
    seconds: float
    slowest_ms: float


def fill(server: Server, waiting: int, dead: int) -> None:
    """Give the newest events runs: so many in a queue, half of them with a worker; so many in `due`; dead letters."""
    redis = server.client
    queue = KEYS.queue("app", "default")
    redis.sadd(KEYS.queues, "app/default")
    redis.xgroup_create(queue, "workers", "0", mkstream=True)
    later = int((time.time() + 86_400) * 1000)
    for ids in _in_groups(list(_event_ids(server, waiting))):
        pipe = redis.pipeline(transaction=False)
        for event_id in ids:
            pipe.xadd(queue, {"e": event_id, "j": "queued", "s": "", "b": b"x" * 100})
            pipe.zadd(KEYS.due, {f"r:default:{event_id}:app/due": later})
            pipe.hset(
                KEYS.event(event_id),
                mapping={
                    "r:app/queued": "q 1 0 0 0 default 1-0 - 0 0",
                    "r:app/due": "w 2 0 0 0 default - w1 1 0",
                },
            )
        pipe.execute()
    for _ in range(waiting // 2 // _GROUP):
        redis.xreadgroup("workers", "w1", {queue: ">"}, _GROUP)
    for numbers in _in_groups(range(dead)):
        pipe = redis.pipeline(transaction=False)
        for number in numbers:
            pipe.xadd(KEYS.dead, {"run": f"e{number}:app/dead", "reason": "failed", "error": _ERROR})
            pipe.xadd(KEYS.runs, {f"e{number}:app/dead": "f"}, maxlen=10_000, approximate=True)
        pipe.execute()


def _in_groups(items: Sequence[T]) -> Iterator[Sequence[T]]:
    yield from (items[first : first + _GROUP] for first in range(0, len(items), _GROUP))


def _event_ids(server: Server, count: int) -> Iterator[str]:
    """Return the ids of the newest events, of those that the index remembers, and then made up ones."""
    entries: Any = server.client.xrevrange(KEYS.recent, count=count)
    known = [event_id.decode() for _, fields in entries for event_id in fields][:count]
    yield from known
    yield from (f"made-up-{number}" for number in range(count - len(known)))


class _Counted(Client):
    """A client that notes the calls of each round trip."""

    def _open_transport(self) -> Any:
        transport = super()._open_transport()
        self.trips: list[int] = []
        run = transport.run

        def counted(calls: Sequence[Call[Any]], **given: Any) -> Any:
            self.trips.append(len(calls))
            return run(calls, **given)

        transport.run = counted
        return transport


def first_pages(server: Server) -> dict[str, Cost]:
    """Return what the first page of each list costs."""
    with _Counted(server.url) as client:
        client.has_workers()
        return {name: _cost(server, client, ask) for name, ask in LISTS.items()}


def _cost(server: Server, client: _Counted, ask: Callable[[Client], object]) -> Cost:
    redis = server.client
    client.trips.clear()
    redis.config_set("slowlog-max-len", 10_000)
    redis.config_set("slowlog-log-slower-than", 0)
    redis.slowlog_reset()
    began = time.perf_counter()
    ask(client)
    seconds = time.perf_counter() - began
    redis.config_set("slowlog-log-slower-than", 10_000)
    slow = [each["duration"] for each in redis.slowlog_get(10_000) if not each["command"].startswith(b"CONFIG")]
    return Cost(len(client.trips), sum(client.trips), seconds, max(slow, default=0) / 1000)
