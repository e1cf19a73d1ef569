"""The server's clock goes back: ends that it granted before count from where it stands now."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Movement, Renewed
from tests.scripts.state import World

_HOUR_MS, _LEASE_MS = 3_600_000, 60_000
_SLACK_MS = 2_000
"""What a slow machine may take between two looks at the clock."""


@pytest.fixture
def stood(world: World) -> int:
    """Where the clock stood when it went back an hour: another led, and eight dead workers sat. Returns it."""
    stood = world.now_ms() + _HOUR_MS
    for command in ("workers", "dispatchers"):
        world.seed("DEL", command)
        for place in range(8):
            world.seed("ZADD", command, stood + 30_000, f"v{place}")
    world.seed("ZADD", "workers", stood - 120_000, "v8")
    world.seed("SET", "leader", f"v0 {stood + 30_000}")
    world.seed("HSET", "meta", "renewed", stood, "quiet", stood + 40_000)
    world.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")
    world.seed("ZADD", "workers", stood - _HOUR_MS + _LEASE_MS, "w1")  # it has registered since
    world.seed_now()
    return stood


def _renew(world: World, movement: Movement = "moves") -> Renewed:
    call = leases.renew(world.keys, "w1", _LEASE_MS, movement, dispatchers=8, keep_dead_ms=_HOUR_MS)
    (answer,) = world.ask(call)
    assert isinstance(answer, Renewed)
    return answer


def _ends(world: World, key: str) -> dict[str, float]:
    found: Any = world.admin.zrange(world.keys.prefix + key, 0, -1, withscores=True)
    return {name.decode(): score - world.now_ms() for name, score in found}


def test_ends_are_set_back_with_the_clock(world: World, stood: int) -> None:
    """Leases, seats and the leadership end when they would have, had no time passed since the last renewal."""
    assert stood
    answer = _renew(world)
    for key in ("workers", "dispatchers"):
        ends = _ends(world, key)
        assert all(30_000 - _SLACK_MS <= ends[f"v{place}"] <= 30_000 + _SLACK_MS for place in range(8)), ends
    assert -120_000 - _SLACK_MS <= _ends(world, "workers")["v8"] <= 0
    assert _LEASE_MS - _SLACK_MS <= _ends(world, "workers")["w1"] <= _LEASE_MS
    assert not answer.is_leader
    assert 0 < answer.next_ms <= 30_000 + _SLACK_MS


def test_nobody_is_rescued_for_a_lease_then(world: World, stood: int) -> None:
    """The time is quiet, so that the living renew first; it is no longer than that."""
    assert stood
    _renew(world)
    quiet = int(world.admin.hget(world.keys.meta, "quiet") or 0) - world.now_ms()
    assert _LEASE_MS - _SLACK_MS <= quiet <= _LEASE_MS


def test_runs_are_told_to_be_set_back(world: World, stood: int) -> None:
    """By as much as the clock went back, from a lease before it did; and it is done once."""
    assert _renew(world).went_back
    by, start = (world.admin.hget(world.keys.meta, "back") or b"").split()
    assert _HOUR_MS - _SLACK_MS <= int(by) <= _HOUR_MS
    assert int(start) == stood - _LEASE_MS
    before = _ends(world, "dispatchers")
    _renew(world)
    after = _ends(world, "dispatchers")
    assert all(abs(before[name] - after[name]) <= _SLACK_MS for name in before if name != "w1")


def test_a_clock_that_is_a_second_behind_is_none_that_went_back(world: World) -> None:
    """As after a failover to a server whose clock is a little behind."""
    world.seed("HSET", "meta", "renewed", world.now_ms() + 900)
    world.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")
    world.seed_now()
    assert not _renew(world).went_back
    assert world.admin.hget(world.keys.meta, "quiet") is None
