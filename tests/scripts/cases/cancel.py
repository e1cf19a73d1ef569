"""What `cancel` must give and change."""

from __future__ import annotations

from datetime import datetime

from headrace import EventNotFound, Retention
from headrace.calls import canceling
from headrace.formats.codec import from_millis
from tests.scripts.cases.case import (
    FUTURE,
    LONG_PAST,
    NO_RETENTION,
    PAST,
    RETENTION,
    Lines,
    Step,
    case,
    header,
    run_line,
    seed_record,
)
from tests.scripts.state import NOW, Changes, Keyspace


def _seed_delayed(keyspace: Keyspace, kind: str = "s") -> None:
    seed_record(keyspace, "e1", kind=kind, due=FUTURE, delivered=0)
    keyspace.seed("ZADD", "due", FUTURE, "e:e1")


def _canceled(kind: str, ttl: str) -> Lines:
    return {
        "due e:e1": None,
        "event:e1 m": header(kind=kind, due=FUTURE, delivered=0, canceled=NOW, runs="0"),
        "event:e1 ttl": ttl,
        **({"fading e1": "<now+1000s>"} if ttl != "<now+1000s>" else {}),
    }


def _cancel(
    keyspace: Keyspace, changes: Changes, retention: Retention = RETENTION, since: datetime | None = NOW
) -> Step:
    return Step(canceling.cancel(keyspace.keys, "e1", retention), since, changes)


@case
def a_delayed_event(keyspace: Keyspace) -> Step:
    """A delayed event is out of `due`, its record says canceled and ends after the sender's dedupe."""
    _seed_delayed(keyspace)
    return _cancel(keyspace, _canceled("s", "<now+2000s>"))


@case
def an_id_by_the_client(keyspace: Keyspace) -> Step:
    """The record of an event whose id the client made ends with the retention of successes."""
    _seed_delayed(keyspace, "c")
    return _cancel(keyspace, _canceled("c", "<now+1000s>"))


@case
def a_derived_id(keyspace: Keyspace) -> Step:
    """The record of an event whose id is derived is kept as long as failures are."""
    _seed_delayed(keyspace, "d")
    return _cancel(keyspace, _canceled("d", "<now+5000s>"))


@case
def an_id_that_is_remembered_longer(keyspace: Keyspace) -> Step:
    """The record stays for as long as the send has asked."""
    _seed_delayed(keyspace)
    keyspace.seed("HSET", "event:e1", "m", header("+t.1", due=FUTURE, delivered=0), "d", 9_000_000)
    head = header("+t.1", due=FUTURE, delivered=0, canceled=NOW, runs="0")
    return _cancel(keyspace, _canceled("s", "<now+9000s>") | {"event:e1 m": head})


@case
def someone_waits(keyspace: Keyspace) -> Step:
    """A client that waits for the event receives the message."""
    _seed_delayed(keyspace)
    keyspace.seed("HSET", "event:e1", "w", 1)
    return _cancel(keyspace, _canceled("s", "<now+2000s>") | {"published settled:e1": ""})


@case
def without_retention(keyspace: Keyspace) -> Step:
    """With retention 0 the header alone stays, for dedupe."""
    _seed_delayed(keyspace)
    gone = {line: fact for line, fact in _canceled("s", "<now+2000s>").items() if line != "fading e1"}
    return _cancel(keyspace, gone | {"event:e1 e": None}, NO_RETENTION)


@case
def without_retention_and_dedupe(keyspace: Keyspace) -> Step:
    """With retention 0 and dedupe 0 nothing stays."""
    _seed_delayed(keyspace)
    nothing = Retention(success=0, failure=0, dedupe_client=0, dedupe_sender=0)
    return _cancel(keyspace, {"due e:e1": None, "event:e1 m": None, "event:e1 e": None}, nothing)


@case
def a_canceled_event(keyspace: Keyspace) -> Step:
    """A canceled event stays as it is."""
    seed_record(keyspace, "e1", due=FUTURE, delivered=0, canceled=LONG_PAST, runs="0")
    keyspace.seed("PEXPIREAT", "event:e1", FUTURE)
    return _cancel(keyspace, {}, since=from_millis(LONG_PAST))


@case
def a_delivered_event(keyspace: Keyspace) -> Step:
    """A delivered event stays as it is, and so do its runs."""
    seed_record(keyspace, "e1", due=PAST, runs="1", fields={"r:app/job": run_line("q", "1-0")})
    return _cancel(keyspace, {}, since=None)


@case
def an_unknown_event(keyspace: Keyspace) -> Step:
    """An event that is not known is reported, and gets no record."""
    return Step(canceling.cancel(keyspace.keys, "e1", RETENTION), EventNotFound("e1"), {})


@case
def a_damaged_header(keyspace: Keyspace) -> Step:
    """A record whose header can't be read stays as it is."""
    seed_record(keyspace, "e1", due=FUTURE, delivered=0)
    keyspace.seed("HSET", "event:e1", "m", "something else")
    keyspace.seed("ZADD", "due", FUTURE, "e:e1")
    return _cancel(keyspace, {}, since=None)


@case
def a_pending_event(keyspace: Keyspace) -> Step:
    """An event that no dispatcher has handled yet stays delivered, unless that is asked for."""
    seed_record(keyspace, "e1", runs="-")
    return _cancel(keyspace, {}, since=None)


@case
def a_pending_event_with_its_runs(keyspace: Keyspace) -> Step:
    """Then its dispatch makes no runs, and its record stays for longer than any entry waits."""
    seed_record(keyspace, "e1", runs="-")
    changes: Changes = {"event:e1 m": header(canceled=NOW, runs="0"), "event:e1 ttl": "<now+2592000s>"}
    return Step(canceling.cancel(keyspace.keys, "e1", RETENTION, pending=True), NOW, changes)
