"""The server's clock goes back: ends that it granted before count from where it stands now."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Movement, Renewed
from tests.scripts.state import Keyspace

_HOUR_MS, _LEASE_MS = 3_600_000, 60_000
_SLACK_MS = 2_000
"""What a slow machine may take between two looks at the clock."""


@pytest.fixture
def stood(keyspace: Keyspace) -> int:
    """Where the clock stood when it went back an hour: another led, and eight dead workers sat. Returns it."""
    stood = keyspace.now_ms() + _HOUR_MS
    for command in ("workers", "dispatchers"):
        keyspace.seed("DEL", command)
        for place in range(8):
            keyspace.seed("ZADD", command, stood + 30_000, f"v{place}")
    keyspace.seed("ZADD", "workers", stood - 120_000, "v8")
    keyspace.seed("SET", "leader", f"v0 {stood + 30_000}")
    keyspace.seed("HSET", "meta", "renewed", stood, "quiet", stood + 40_000)
    keyspace.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")
    keyspace.seed("ZADD", "workers", stood - _HOUR_MS + _LEASE_MS, "w1")  # it has registered since
    keyspace.seed_now()
    return stood


def _renew(keyspace: Keyspace, movement: Movement = "moves") -> Renewed:
    call = leases.renew(keyspace.keys, "w1", _LEASE_MS, movement, dispatchers=8, keep_dead_ms=_HOUR_MS)
    (answer,) = keyspace.ask(call)
    assert isinstance(answer, Renewed)
    return answer


def _ends(keyspace: Keyspace, key: str) -> dict[str, float]:
    found: Any = keyspace.admin.zrange(keyspace.keys.prefix + key, 0, -1, withscores=True)
    return {name.decode(): score - keyspace.now_ms() for name, score in found}


def test_ends_are_set_back_with_the_clock(keyspace: Keyspace, stood: int) -> None:
    """Leases, seats and the leadership end when they would have, had no time passed since the last renewal."""
    assert stood
    answer = _renew(keyspace)
    for key in ("workers", "dispatchers"):
        ends = _ends(keyspace, key)
        assert all(30_000 - _SLACK_MS <= ends[f"v{place}"] <= 30_000 + _SLACK_MS for place in range(8)), ends
    assert -120_000 - _SLACK_MS <= _ends(keyspace, "workers")["v8"] <= 0
    assert _LEASE_MS - _SLACK_MS <= _ends(keyspace, "workers")["w1"] <= _LEASE_MS
    assert not answer.is_leader
    assert 0 < answer.next_ms <= 30_000 + _SLACK_MS


def test_nobody_is_rescued_for_a_lease_then(keyspace: Keyspace, stood: int) -> None:
    """The quiet time lets live workers renew first, and is no longer than that."""
    assert stood
    _renew(keyspace)
    quiet = int(keyspace.admin.hget(keyspace.keys.meta, "quiet") or 0) - keyspace.now_ms()
    assert _LEASE_MS - _SLACK_MS <= quiet <= _LEASE_MS


def test_runs_are_told_to_be_set_back(keyspace: Keyspace, stood: int) -> None:
    """By as much as the clock went back, from a lease before it did; and it is done once."""
    assert _renew(keyspace).went_back
    by, start = (keyspace.admin.hget(keyspace.keys.meta, "back") or b"").split()
    assert _HOUR_MS - _SLACK_MS <= int(by) <= _HOUR_MS
    assert int(start) == stood - _LEASE_MS
    before = _ends(keyspace, "dispatchers")
    _renew(keyspace)
    after = _ends(keyspace, "dispatchers")
    assert all(abs(before[name] - after[name]) <= _SLACK_MS for name in before if name != "w1")


def test_a_clock_that_is_a_second_behind_is_none_that_went_back(keyspace: Keyspace) -> None:
    """As after a failover to a server whose clock is a little behind."""
    keyspace.seed("HSET", "meta", "renewed", keyspace.now_ms() + 900)
    keyspace.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")
    keyspace.seed_now()
    assert not _renew(keyspace).went_back
    assert keyspace.admin.hget(keyspace.keys.meta, "quiet") is None
