"""What `end_lease` must give and change."""

from __future__ import annotations

from headrace_worker.protocol import leases
from tests.scripts.cases.case import FUTURE, PAST, Step, case, seed_run
from tests.scripts.state import Changes, World


def _seed_worker(world: World, ends: int = FUTURE) -> None:
    world.seed("ZADD", "workers", ends, "w1")
    world.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")


def _ends(world: World, changes: Changes) -> Step:
    ended: Changes = {"workers w1": "0", "wake 0": "lease"}
    return Step(leases.end_lease(world.keys, "w1"), gives=True, changes={**ended, **changes})


def _keeps(world: World) -> Step:
    return Step(leases.end_lease(world.keys, "w1"), gives=False, changes={})


@case
def a_lease(world: World) -> Step:
    """A lease that holds has ended, the leader is woken, and what the worker holds stays for the rescue."""
    _seed_worker(world)
    seed_run(world, "5-0", "e1")
    return _ends(world, {})


@case
def seat_and_leadership(world: World) -> Step:
    """Its dispatcher slot and its leadership are free at once."""
    _seed_worker(world)
    world.seed("ZADD", "dispatchers", FUTURE, "w1")
    world.seed("SET", "leader", f"w1 {FUTURE}")
    return _ends(world, {"dispatchers w1": None, "leader": None})


@case
def a_leader_that_is_to_be_woken_already(world: World) -> Step:
    """One element is enough; it says why."""
    _seed_worker(world)
    world.seed("LPUSH", "wake", "1")
    return _ends(world, {})


@case
def a_fenced_worker(world: World) -> Step:
    """A worker that is being rescued keeps the time at which it is looked at again."""
    _seed_worker(world)
    world.seed("HSET", "worker:w1", "fenced", PAST)
    return _keeps(world)


@case
def an_unknown_worker(world: World) -> Step:
    """A worker without a lease, as one that has left, has none to end."""
    return _keeps(world)
