"""What `end_lease` must give and change."""

from __future__ import annotations

from headrace_worker.protocol import leases
from tests.scripts.cases.case import FUTURE, PAST, Step, case, seed_run
from tests.scripts.state import Changes, Keyspace


def _seed_worker(keyspace: Keyspace, ends: int = FUTURE) -> None:
    keyspace.seed("ZADD", "workers", ends, "w1")
    keyspace.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")


def _ends(keyspace: Keyspace, changes: Changes) -> Step:
    ended: Changes = {"workers w1": "0", "wake 0": "lease"}
    return Step(leases.end_lease(keyspace.keys, "w1"), gives=True, changes={**ended, **changes})


def _keeps(keyspace: Keyspace) -> Step:
    return Step(leases.end_lease(keyspace.keys, "w1"), gives=False, changes={})


@case
def a_lease(keyspace: Keyspace) -> Step:
    """A lease that holds has ended, the leader is woken, and what the worker holds stays for the rescue."""
    _seed_worker(keyspace)
    seed_run(keyspace, "5-0", "e1")
    return _ends(keyspace, {})


@case
def seat_and_leadership(keyspace: Keyspace) -> Step:
    """Its dispatcher slot and its leadership are free at once."""
    _seed_worker(keyspace)
    keyspace.seed("ZADD", "dispatchers", FUTURE, "w1")
    keyspace.seed("SET", "leader", f"w1 {FUTURE}")
    return _ends(keyspace, {"dispatchers w1": None, "leader": None})


@case
def a_leader_that_is_to_be_woken_already(keyspace: Keyspace) -> Step:
    """One element is enough; it says why."""
    _seed_worker(keyspace)
    keyspace.seed("LPUSH", "wake", "1")
    return _ends(keyspace, {})


@case
def a_fenced_worker(keyspace: Keyspace) -> Step:
    """A worker that is being rescued keeps the time at which it is looked at again."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "worker:w1", "fenced", PAST)
    return _keeps(keyspace)


@case
def an_unknown_worker(keyspace: Keyspace) -> Step:
    """A worker without a lease, as one that has left, has none to end."""
    return _keeps(keyspace)
