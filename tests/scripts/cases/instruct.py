"""What `instruct` must give and change."""

from __future__ import annotations

from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Wanted
from tests.scripts.cases.case import FUTURE, PAST, Step, case
from tests.scripts.state import Changes, Keyspace


def _seed_worker(keyspace: Keyspace, ends: int = FUTURE, **fields: str | int) -> None:
    keyspace.seed("ZADD", "workers", ends, "w1")
    keyspace.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")
    for field, value in fields.items():
        keyspace.seed("HSET", "worker:w1", field, value)


def _instruct(keyspace: Keyspace, wanted: Wanted, changes: Changes, *, gives: bool) -> Step:
    call = leases.instruct(keyspace.keys, "w1", wanted)
    return Step(call, gives, changes, full="refused" if changes else "passes")


@case
def a_live_worker(keyspace: Keyspace) -> Step:
    """It will see what is wanted of it."""
    _seed_worker(keyspace)
    return _instruct(keyspace, "quiet", {"worker:w1 wanted": "quiet"}, gives=True)


@case
def a_quiet_worker(keyspace: Keyspace) -> Step:
    """It stops after all."""
    _seed_worker(keyspace, wanted="quiet")
    return _instruct(keyspace, "stop", {"worker:w1 wanted": "stop"}, gives=True)


@case
def a_worker_that_stops(keyspace: Keyspace) -> Step:
    """It stops all the same."""
    _seed_worker(keyspace, wanted="stop")
    return _instruct(keyspace, "quiet", {}, gives=True)


@case
def an_expired_worker(keyspace: Keyspace) -> Step:
    """Nobody would see it."""
    _seed_worker(keyspace, PAST)
    return _instruct(keyspace, "stop", {}, gives=False)


@case
def a_fenced_worker(keyspace: Keyspace) -> Step:
    """Its name is never used again."""
    _seed_worker(keyspace, fenced=PAST)
    return _instruct(keyspace, "stop", {}, gives=False)


@case
def an_unknown_worker(keyspace: Keyspace) -> Step:
    """No hash is made that would stay for ever."""
    return _instruct(keyspace, "stop", {}, gives=False)
