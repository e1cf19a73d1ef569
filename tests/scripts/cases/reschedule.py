"""What `reschedule` must give and change."""

from __future__ import annotations

from headrace.calls import canceling
from tests.scripts.cases.case import FUTURE, LONG_PAST, PAST, Step, case, header, seed_record
from tests.scripts.state import Changes, Keyspace

_LATER = FUTURE + 60_000


def _reschedule(keyspace: Keyspace, answer: str, changes: Changes, when: str = str(_LATER)) -> Step:
    return Step(canceling.reschedule(keyspace.keys, "e1", when), answer, changes)


def _seed_delayed(keyspace: Keyspace) -> None:
    seed_record(keyspace, "e1", due=FUTURE, delivered=0)
    keyspace.seed("ZADD", "due", FUTURE, "e:e1")


@case
def a_later_time(keyspace: Keyspace) -> Step:
    """A delayed event is due then, by `due` and by its record."""
    _seed_delayed(keyspace)
    return _reschedule(keyspace, "delayed", {"due e:e1": str(_LATER), "event:e1 m": header(due=_LATER, delivered=0)})


@case
def an_earlier_time(keyspace: Keyspace) -> Step:
    """Before all others it wakes the leader."""
    _seed_delayed(keyspace)
    changes: Changes = {"due e:e1": str(PAST), "event:e1 m": header(due=PAST, delivered=0), "wake 0": "1"}
    return _reschedule(keyspace, "delayed", changes, str(PAST))


@case
def a_time_from_now(keyspace: Keyspace) -> Step:
    """A time may be given from now, by the server's clock."""
    _seed_delayed(keyspace)
    changes: Changes = {
        "due e:e1": "<now+60s>", "event:e1 m": header(due="<now+60s>", delivered=0), "wake 0": "1",
    }  # fmt: skip
    return _reschedule(keyspace, "delayed", changes, "+60000")


@case
def a_delivered_event(keyspace: Keyspace) -> Step:
    """A delivered event stays as it is."""
    seed_record(keyspace, "e1", due=PAST, runs="0")
    return _reschedule(keyspace, "delivered", {})


@case
def a_canceled_event(keyspace: Keyspace) -> Step:
    """So does a canceled one."""
    seed_record(keyspace, "e1", due=FUTURE, delivered=0, canceled=LONG_PAST, runs="0")
    return _reschedule(keyspace, "canceled", {})


@case
def an_unknown_event(keyspace: Keyspace) -> Step:
    """An event that is not known is reported, and gets no record."""
    return _reschedule(keyspace, "missing", {})


@case
def a_damaged_header(keyspace: Keyspace) -> Step:
    """A record whose header can't be read stays as it is."""
    _seed_delayed(keyspace)
    keyspace.seed("HSET", "event:e1", "m", "something else")
    return _reschedule(keyspace, "damaged", {})
