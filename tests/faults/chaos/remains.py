"""Reads what is on the server when everything has drained, and looks for what should not be there any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from headrace import Client, EventNotFound, EventRecord
from headrace.formats.codec import to_micros
from tests.faults.chaos.history import FinalEvent, FinalRun, Remains
from tests.faults.deployment import OUTAGE, Deployment
from tests.support.leaks import find_leaks
from tests.support.waiting import WaitedInVain, wait_until

_TOLERATED_BYTES = 4_000_000
"""What a server's memory differs by from one moment to another."""


def open_work(redis: Any, deployment: Deployment) -> dict[str, int]:
    """Return how many entries and members each stream and `due` holds, and how many entries are pending."""
    keys = deployment.keys
    found = {"events": redis.xlen(keys.events), "due": redis.zcard(keys.due)}
    found["pending events"] = redis.xpending(keys.events, "dispatch")["pending"]
    for name in redis.smembers(keys.queues):
        app, _, queue = name.decode().partition("/")
        stream = keys.queue(app, queue)
        found[f"queue {app}/{queue}"] = redis.xlen(stream)
        found[f"pending runs of {app}/{queue}"] = redis.xpending(stream, "workers")["pending"]
    return found


def strangers(redis: Any, deployment: Deployment, living: AbstractSet[str]) -> dict[str, int]:
    """Return how many workers that do not live any more are not forgotten, by where they are known."""
    found = {"dead workers": len(deployment.workers() - living)}
    groups = [(deployment.keys.events, "dispatch")]
    for name in redis.smembers(deployment.keys.queues):
        app, _, queue = name.decode().partition("/")
        groups.append((deployment.keys.queue(app, queue), "workers"))
    for stream, group in groups:
        known = {row["name"].decode() for row in redis.xinfo_consumers(stream, group)}
        found[f"consumers of {stream.rpartition('}:')[2]}"] = len(known - living)
    return found


def wait_until_none(look: Callable[[], dict[str, int]], timeout: float) -> dict[str, int]:
    """Return what is left after the time; nothing if all is gone."""

    def is_none() -> bool:
        # Twice, as what moves from one place to another between two reads is seen in neither.
        return not any(look().values()) and not any(look().values())

    try:
        wait_until(is_none, timeout, interval=0.1, ignoring=OUTAGE)
    except WaitedInVain:
        return {name: count for name, count in look().items() if count}
    return {}


def memory(redis: Any, deployment: Deployment) -> int:
    """Return the server's memory without the listings, which are bounded and stay."""
    listings = (deployment.keys.recent, deployment.keys.runs, deployment.keys.dead)
    return int(redis.info("memory")["used_memory"]) - sum(redis.memory_usage(key, samples=0) or 0 for key in listings)


def read_remains(client: Client, ids: Iterable[str]) -> Remains:
    """Return the records of the events and the runs of all dead letters."""
    found: dict[str, FinalEvent] = {}
    for event_id in ids:
        try:
            found[event_id] = _final(client.get_event(event_id))
        except EventNotFound:
            continue
    return Remains(found, tuple(_dead_runs(client)))


def _dead_runs(client: Client) -> list[str]:
    runs: list[str] = []
    cursor = None
    while True:
        page = client.list_dead_letters(cursor=cursor, limit=1000)
        runs += [entry.run_id or f"{entry.reason} {entry.id}" for entry in page.items]
        cursor = page.cursor
        if cursor is None:
            return runs


def _final(record: EventRecord) -> FinalEvent:
    return FinalEvent(
        record.id,
        record.status,
        tuple(FinalRun(run.job, run.status, run.lost) for run in record.runs),
        to_micros(record.deliver_at) // 1000 if record.deliver_at else 0,
        to_micros(record.delivered_at) // 1000 if record.delivered_at else 0,
        record.is_settled,
    )


def leftovers(redis: Any, deployment: Deployment, retention_ms: int, memory_before: int) -> dict[str, int]:
    """Return what is left when all workers have stopped and retention has passed, whose end is brought forward."""
    keys = deployment.keys
    found = {
        "workers": redis.zcard(keys.workers),
        "dispatchers": redis.zcard(keys.dispatchers),
        "leader": redis.exists(keys.leader),
    }
    found |= {f"leak {leak}": 1 for leak in find_leaks(redis, deployment.namespace)}
    kept_too_long = 0
    for name in redis.scan_iter(match=f"{keys.prefix}*", count=1000):
        ttl = redis.pttl(name)
        kept_too_long += ttl > retention_ms and not name.startswith(keys.tally(0).removesuffix("0").encode())
        if ttl > 0:
            redis.delete(name)
    found["records kept too long"] = kept_too_long
    grown = memory(redis, deployment) - memory_before
    found["bytes"] = grown if grown > _TOLERATED_BYTES else 0
    return found
