"""What `watch` must give and change."""

from __future__ import annotations

from headrace import EventNotFound
from headrace.calls import records
from tests.scripts.cases.case import FUTURE, Step, case, run_line, seed_record
from tests.scripts.state import Keyspace


@case
def an_event(keyspace: Keyspace) -> Step:
    """The record says that someone waits."""
    seed_record(keyspace, "e1")
    return Step(records.watch(keyspace.keys, "e1"), None, {"event:e1 w": "1"}, full="refused")


@case
def an_event_that_ends(keyspace: Keyspace) -> Step:
    """A record that ends goes on to end at its time."""
    seed_record(keyspace, "e1", runs="0")
    keyspace.seed("PEXPIREAT", "event:e1", FUTURE)
    return Step(records.watch(keyspace.keys, "e1"), None, {"event:e1 w": "1"}, full="refused")


@case
def a_watched_event(keyspace: Keyspace) -> Step:
    """A second wait changes nothing."""
    seed_record(keyspace, "e1", fields={"w": 1})
    return Step(records.watch(keyspace.keys, "e1"), None, {}, full="refused")


@case
def an_unknown_event(keyspace: Keyspace) -> Step:
    """An event that is not known is reported, and gets no record."""
    return Step(records.watch(keyspace.keys, "e1"), EventNotFound("e1"), {})


@case
def a_record_without_header(keyspace: Keyspace) -> Step:
    """What a settle has left of a record that was lost is no event."""
    keyspace.seed("HSET", "event:e1", "r:app/job", run_line("s", "5-0"))
    return Step(records.watch(keyspace.keys, "e1"), EventNotFound("e1"), {})
