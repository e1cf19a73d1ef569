"""The search for leaks finds what would stay for ever, and nothing else."""

from __future__ import annotations

import pytest
import redis as redis_py

from tests.support.leaks import find_foreign_keys, find_leaks


def test_what_lasts_by_design_is_no_leak(redis: redis_py.Redis, namespace: str, prefix: str) -> None:
    """The streams, routes and leases of a namespace may stay."""
    for name in ("events", "queue:app/default", "wake-up:app", "recent", "runs", "dead"):
        redis.xadd(prefix + name, {"x": "y"})
    for name in ("routes:app", "worker:host-1", "meta"):
        redis.hset(prefix + name, "x", "y")
    for name in ("due", "workers", "dispatchers"):
        redis.zadd(prefix + name, {"x": 1})
    for name in ("routes:version", "leader"):
        redis.set(prefix + name, "1")
    redis.sadd(prefix + "queues", "app/default")
    redis.lpush(prefix + "wake", "1")
    assert find_leaks(redis, namespace) == []


@pytest.mark.leaves_records
def test_a_record_may_last_only_while_something_holds_it(redis: redis_py.Redis, namespace: str, prefix: str) -> None:
    """A record without TTL is a leak unless its event is in `events` or `due`, or a run of it open."""
    ids = ["dispatchable", "queued", "delayed", "has:colons", "leaked", "expiring"]
    for event_id in ids:
        redis.hset(f"{prefix}event:{event_id}", "m", "header")
    redis.expire(f"{prefix}event:expiring", 60)
    redis.xadd(f"{prefix}events", {"i": "dispatchable"})
    redis.xadd(f"{prefix}queue:app/default", {"e": "queued", "j": "job"})
    redis.zadd(f"{prefix}due", {"e:delayed": 1, "r:app/default:has:colons:app/job": 2})
    assert find_leaks(redis, namespace) == [f"{prefix}event:leaked: a record without TTL that nothing holds any more"]


@pytest.mark.leaves_records
def test_unknown_keys_and_crowded_wake_ups_are_leaks(redis: redis_py.Redis, namespace: str, prefix: str) -> None:
    """A key that is none of the lasting ones is a leak, and so is a second element in a wake-up stream."""
    redis.set(prefix + "lock", "1")
    redis.set(prefix + "scratch", "1", ex=60)
    for _ in range(2):
        redis.xadd(prefix + "wake-up:app", {"r": ""})
        redis.lpush(prefix + "wake", "1")
    assert find_leaks(redis, namespace) == [
        f"{prefix}lock: a key without TTL that is none of those that last",
        f"{prefix}wake: a list with more than one element",
        f"{prefix}wake-up:app: a wake-up stream with more than one element",
    ]


def test_keys_of_other_namespaces_are_foreign(redis: redis_py.Redis, namespace: str) -> None:
    """A key outside the namespaces is found, even one whose name begins like theirs."""
    redis.set("other", "1")
    redis.set(f"headrace:{{{namespace}2:0}}:events", "1")
    try:
        assert sorted(find_foreign_keys(redis, [namespace])) == [
            f"headrace:{{{namespace}2:0}}:events",
            "other",
        ]
    finally:
        redis.delete("other", f"headrace:{{{namespace}2:0}}:events")
