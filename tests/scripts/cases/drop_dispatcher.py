"""What `drop_dispatcher` must give and change."""

from __future__ import annotations

from headrace_worker.protocol import leases
from tests.scripts.cases.case import BODY, FUTURE, PAST, Step, case
from tests.scripts.state import World

_OPEN_MS = 20_000


def _unseats(world: World) -> Step:
    return Step(leases.drop_dispatcher(world.keys, "w1", _OPEN_MS), gives=True, changes={"dispatchers w1": None})


def _keeps(world: World) -> Step:
    return Step(leases.drop_dispatcher(world.keys, "w1", _OPEN_MS), gives=False, changes={})


@case
def a_seat_that_has_run_out(world: World) -> Step:
    """A seat is gone once nothing that its worker read can still turn up."""
    world.seed("ZADD", "dispatchers", PAST, "w1")
    return _unseats(world)


@case
def a_seat_that_holds(world: World) -> Step:
    """A seat that holds stays."""
    world.seed("ZADD", "dispatchers", FUTURE, "w1")
    return _keeps(world)


@case
def a_seat_that_has_just_run_out(world: World) -> Step:
    """While a read of its worker may still be open the dispatcher slot stays, so that its end is looked at again."""
    world.seed("ZADD", "dispatchers", world.now_ms() - 1, "w1")
    return _keeps(world)


@case
def events_in_hand(world: World) -> Step:
    """While an event is in its worker's hands the dispatcher slot stays."""
    world.seed("ZADD", "dispatchers", PAST, "w1")
    world.entry("events", "5-0", {"i": "e5", "z": 8, "b": BODY})
    world.hold("events", "dispatch", "w1", "5-0")
    return _keeps(world)


@case
def an_unknown_worker(world: World) -> Step:
    """A worker without a dispatcher slot has none to lose."""
    return _keeps(world)


@case
def without_events(world: World) -> Step:
    """Where `events` is gone nothing is in anybody's hands."""
    world.seed("DEL", "events")
    world.seed("ZADD", "dispatchers", PAST, "w1")
    return _unseats(world)
