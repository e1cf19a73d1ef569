"""What `drop_dispatcher` must give and change."""

from __future__ import annotations

from headrace_worker.protocol import leases
from tests.scripts.cases.case import BODY, FUTURE, PAST, Step, case
from tests.scripts.state import Keyspace

_OPEN_MS = 20_000


def _unseats(keyspace: Keyspace) -> Step:
    return Step(leases.drop_dispatcher(keyspace.keys, "w1", _OPEN_MS), gives=True, changes={"dispatchers w1": None})


def _keeps(keyspace: Keyspace) -> Step:
    return Step(leases.drop_dispatcher(keyspace.keys, "w1", _OPEN_MS), gives=False, changes={})


@case
def a_seat_that_has_run_out(keyspace: Keyspace) -> Step:
    """A seat is gone once nothing that its worker read can still turn up."""
    keyspace.seed("ZADD", "dispatchers", PAST, "w1")
    return _unseats(keyspace)


@case
def a_seat_that_holds(keyspace: Keyspace) -> Step:
    """A seat that holds stays."""
    keyspace.seed("ZADD", "dispatchers", FUTURE, "w1")
    return _keeps(keyspace)


@case
def a_seat_that_has_just_run_out(keyspace: Keyspace) -> Step:
    """While a read of its worker may still be open the dispatcher slot stays, so that its end is looked at again."""
    keyspace.seed("ZADD", "dispatchers", keyspace.now_ms() - 1, "w1")
    return _keeps(keyspace)


@case
def pending_events(keyspace: Keyspace) -> Step:
    """While an event is pending under its worker the dispatcher slot stays."""
    keyspace.seed("ZADD", "dispatchers", PAST, "w1")
    keyspace.entry("events", "5-0", {"i": "e5", "z": 8, "b": BODY})
    keyspace.hold("events", "dispatch", "w1", "5-0")
    return _keeps(keyspace)


@case
def an_unknown_worker(keyspace: Keyspace) -> Step:
    """A worker without a dispatcher slot has none to lose."""
    return _keeps(keyspace)


@case
def without_events(keyspace: Keyspace) -> Step:
    """Without `events` nothing is pending."""
    keyspace.seed("DEL", "events")
    keyspace.seed("ZADD", "dispatchers", PAST, "w1")
    return _unseats(keyspace)
