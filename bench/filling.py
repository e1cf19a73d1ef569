"""Fills a namespace with what operators look through: runs in a queue and in `due`, dead letters, workers, jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from bench.server import Server
from headrace import Client, RunError
from headrace.formats.codec import encode_outcome
from headrace.formats.keys import Keys
from headrace.formats.trails import MAX_SENT, encode_sent
from headrace.transport.single import Transport
from headrace_worker import App, event_trigger
from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Registration

KEYS = Keys("default")
APP = "app"
WORKERS = 100
JOBS = 100
AUDITED = 1_000
MINUTES = 60
_LEASE_MS = 86_400_000
_GROUP = 500
_ERROR = encode_outcome(RunError("ValueError", "no such user", "Traceback (most recent call last):\n" * 20), None)
T = TypeVar("T")


class Filled(msgspec.Struct, frozen=True):
    """One of each, to be looked at alone.

    Attributes:
        event: the newest event, whose run `run` has sent the 99 before it.
    """

    event: str
    run: str
    letter: str
    worker: str


def fill(server: Server, waiting: int, dead: int) -> Filled:
    """Give the newest events runs: so many in a queue, half of them with a worker; so many in `due`; dead letters.

    Beside them there are live workers, jobs, what became of runs in the last hour, and an audit.
    """
    _register(server)
    ids = list(_event_ids(server, waiting))
    _fill_queue_and_due(server, ids)
    fill_dead(server, dead, listed=True)
    _fill_tallies(server)
    with Client(server.url) as client:
        for number in range(AUDITED):
            client.audit("runs retry", {"job": f"{APP}/queued", "number": number}, via="bench")
    ((letter, _),) = server.client.xrevrange(KEYS.dead, count=1)
    return Filled(ids[0], f"{ids[0]}:{APP}/queued", letter.decode(), "w1")


def fill_dead(server: Server, count: int, *, listed: bool = False) -> None:
    """Add so many dead letters, of runs that have no record; `listed` names them among the runs that settled."""
    for numbers in _in_groups(range(count)):
        pipe = server.client.pipeline(transaction=False)
        for number in numbers:
            pipe.xadd(KEYS.dead, {"run": f"e{number}:{APP}/dead", "reason": "failed", "error": _ERROR})
            if listed:
                pipe.xadd(KEYS.runs, {f"e{number}:{APP}/dead": "f"}, maxlen=10_000, approximate=True)
        pipe.execute()


def _register(server: Server) -> None:
    app = App(APP)
    for job in ("queued", "due", "dead", *(f"job-{number}" for number in range(JOBS - 3))):
        app.job(id=job, trigger=event_trigger("bench"))(_nothing)
    registration = Registration.of(app)
    transport = Transport(server.url)
    transport.run([leases.register(KEYS, f"w{number}", _LEASE_MS, registration) for number in range(1, WORKERS + 1)])


async def _nothing() -> None:
    pass


def _fill_queue_and_due(server: Server, event_ids: list[str]) -> None:
    redis = server.client
    queue = KEYS.queue(APP, "default")
    later = int((time.time() + 86_400) * 1000)
    for ids in _in_groups(event_ids):
        pipe = redis.pipeline(transaction=False)
        for event_id in ids:
            pipe.xadd(queue, {"e": event_id, "j": "queued", "s": "", "b": b"x" * 100})
            pipe.zadd(KEYS.due, {f"r:default:{event_id}:{APP}/due": later})
            pipe.hset(
                KEYS.event(event_id),
                mapping={
                    f"r:{APP}/queued": "q 1 0 0 0 default 1-0 - 0 0",
                    f"r:{APP}/due": "w 2 0 0 0 default - w1 1 0",
                },
            )
        pipe.execute()
    redis.hset(KEYS.event(event_ids[0]), f"c:{APP}/queued", encode_sent(event_ids[1:MAX_SENT]))
    for _ in range(len(event_ids) // 2 // _GROUP):
        redis.xreadgroup("workers", "w1", {queue: ">"}, _GROUP)


def _fill_tallies(server: Server) -> None:
    counts = {f"{APP}/job-{number}:{what}": number + 1 for number in range(JOBS - 3) for what in ("s", "f", "r", "ms")}
    now = int(time.time() // 60)
    for minute in range(now - MINUTES, now + 1):
        server.client.hset(KEYS.tally(minute), mapping=counts)


def _in_groups(items: Sequence[T]) -> Iterator[Sequence[T]]:
    yield from (items[first : first + _GROUP] for first in range(0, len(items), _GROUP))


def _event_ids(server: Server, count: int) -> Iterator[str]:
    """Return the ids of the newest events, of those that the index remembers, and then made up ones."""
    entries: Any = server.client.xrevrange(KEYS.recent, count=count)
    known = [event_id.decode() for _, fields in entries for event_id in fields][:count]
    yield from known
    yield from (f"made-up-{number}" for number in range(count - len(known)))
