"""What a test reads from a namespace, and writes into it, without the clients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import redis as redis_py

from headrace.formats.keys import Keys


def server_time(redis: redis_py.Redis) -> datetime:
    """Return the time by the server's clock."""
    seconds, micros = redis.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)


def entries(redis: redis_py.Redis, stream: str) -> list[dict[bytes, bytes]]:
    """Return the fields of each entry of a stream."""
    found: Any = redis.xrange(stream)
    return [fields for _, fields in found]


def due(redis: redis_py.Redis, keys: Keys) -> dict[bytes, float]:
    """Return the members of `due` with their times in ms."""
    found: Any = redis.zrange(keys.due, 0, -1, withscores=True)
    return dict(found)


def add_run(redis: redis_py.Redis, keys: Keys, event_id: str, job: str, letter: str, outcome: bytes = b"") -> str:
    """Write a run as the scripts do, list it if it has settled, and return its id."""
    line = f"{letter} 2 1 0 0 default 7-0 host-1 1700000000000 {0 if letter in 'qxw' else 1700000001000}"
    redis.hset(keys.event(event_id), f"r:{job}", line.encode() + (b"\n" + outcome if outcome else b""))
    if letter in "sftci":
        redis.xadd(keys.runs, {f"{event_id}:{job}": letter})
    return f"{event_id}:{job}"
