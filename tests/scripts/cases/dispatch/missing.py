"""What `dispatch` must give and change where routes, records or entries are other ones or gone."""

from __future__ import annotations

from headrace_worker.protocol.delivery import EventEntry
from headrace_worker.protocol.dispatching import Dispatched, Matched, RoutesStale
from tests.scripts.cases.case import BODY, Lines, Step, case, header, run_line, seed_line
from tests.scripts.cases.dispatch.events import JOB, RUNG, acknowledged, dispatch, seed_event
from tests.scripts.state import Keyspace


@case
def stale_routes(keyspace: Keyspace) -> Step:
    """Where the routes have changed since they were read, nothing happens."""
    event = seed_event(keyspace)
    return dispatch(keyspace, [Matched(event, [JOB])], RoutesStale(), {}, version="0")


@case
def routes_that_are_gone(keyspace: Keyspace) -> Step:
    """Routes without a version have version 0."""
    keyspace.seed("DEL", "routes:version")
    event = seed_event(keyspace)
    return dispatch(keyspace, [Matched(event, [JOB])], RoutesStale(), {})


@case
def an_entry_that_is_not_ours(keyspace: Keyspace) -> Step:
    """Another program has acknowledged the entries of an event: it is dispatched once, by its record."""
    event = seed_event(keyspace)
    keyspace.seed("XACK", "events", "dispatch", "5-0")
    gone = EventEntry("4-0", "e1", len(BODY), None)
    batch = [Matched(event, [JOB]), Matched(gone, [JOB])]
    changes = {
        "events 5-0": None,
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, batch, Dispatched(1, 1, 0), changes, full="refused")


@case
def a_dispatched_event(keyspace: Keyspace) -> Step:
    """An event that was dispatched before is only acknowledged: its record says how many runs it has."""
    event = seed_event(keyspace, runs="1")
    changes = acknowledged() | {"wake-up:app new-1": RUNG}
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(0, 0, 0), changes, full="refused")


@case
def a_dispatched_event_without_contents(keyspace: Keyspace) -> Step:
    """An event of which only the header is left, as it was dispatched and has settled, is only acknowledged."""
    event = seed_event(keyspace, has_record=False)
    keyspace.seed("HSET", "event:e1", "m", header(runs="1"))
    changes = acknowledged() | {"wake-up:app new-1": RUNG}
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(0, 0, 0), changes, full="refused")


@case
def a_lost_record(keyspace: Keyspace) -> Step:
    """A record that is gone is made again from the entry, and the event dispatched."""
    event = seed_event(keyspace, has_record=False)
    changes = acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header("-", delivered=5, runs="1"),
        "event:e1 e": BODY,
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def a_lost_body(keyspace: Keyspace) -> Step:
    """A record that has lost its body before the dispatch gets it again from the entry."""
    event = seed_event(keyspace, has_record=False)
    keyspace.seed("HSET", "event:e1", "m", header())
    changes = acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header("-", delivered=5, runs="1"),
        "event:e1 e": BODY,
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def a_lost_record_of_a_large_event(keyspace: Keyspace) -> Step:
    """Where record and body are gone, the entry is acknowledged and counted as lost."""
    event = seed_event(keyspace, has_record=False, inline=False)
    changes = acknowledged() | {"wake-up:app new-1": RUNG}
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(0, 0, 1), changes, full="refused")


@case
def an_id_that_was_sent_again_since(keyspace: Keyspace) -> Step:
    """Another worker has handled the entry, its record is gone, and a new event has its id: that one stays."""
    seed_event(keyspace, entry="6-0")
    changes = {"wake-up:app new-1": RUNG}
    batch = [Matched(EventEntry("5-0", "e1", 8, None), [JOB])]
    return dispatch(keyspace, batch, Dispatched(0, 0, 0), changes, full="refused")


@case
def an_id_with_an_ordering_key_that_was_sent_again_since(keyspace: Keyspace) -> Step:
    """It stays in the order of its key, too."""
    seed_line(keyspace, "order:user:1", "e1")
    seed_event(keyspace, entry="6-0", ordering_key="user:1")
    changes = {"wake-up:app new-1": RUNG}
    batch = [Matched(EventEntry("5-0", "e1", 8, None, "user:1"), [JOB])]
    return dispatch(keyspace, batch, Dispatched(0, 0, 0), changes, full="refused")


@case
def an_expired_record_of_an_entry_that_is_not_ours(keyspace: Keyspace) -> Step:
    """An event that another worker has dispatched, and whose record has gone since, is not counted as lost."""
    changes = {"wake-up:app new-1": RUNG}
    batch = [Matched(EventEntry("5-0", "e1", 8, None), [JOB])]
    return dispatch(keyspace, batch, Dispatched(0, 0, 0), changes, full="refused")


@case
def a_lost_entry(keyspace: Keyspace) -> Step:
    """An entry that was deleted while it was pending is dispatched from the record."""
    event = seed_event(keyspace)
    keyspace.seed("XDEL", "events", "5-0")
    changes: Lines = {
        "events dispatch w1": "",
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(1, 1, 0), changes, full="refused")
