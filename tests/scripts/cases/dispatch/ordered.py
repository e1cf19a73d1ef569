"""What `dispatch` must give and change for events with an ordering key."""

from __future__ import annotations

from headrace_worker.protocol.delivery import EventEntry
from headrace_worker.protocol.dispatching import Dispatched, EventsBehind, Matched
from tests.scripts.cases.case import (
    BODY,
    TURNS,
    Lines,
    Step,
    case,
    header,
    run_line,
    seed_line,
    seed_queue,
    seed_record,
    turn,
)
from tests.scripts.cases.dispatch.events import JOB, MAIL, RUNG, TWO, acknowledged, dispatch, seed_event
from tests.scripts.state import Keyspace


def _entry(event_id: str, key: str = "user:1") -> dict[str, str]:
    return {"e": event_id, "j": "job", "s": "", "b": BODY, "k": key}


@case
def the_first_of_an_ordering_key(keyspace: Keyspace) -> Step:
    """An event whose key is free has left the order, and its runs have their turns and are queued."""
    seed_line(keyspace, "order:user:1", "e1", "e9")
    event = seed_event(keyspace, ordering_key="user:1")
    changes = acknowledged() | {
        "order:user:1 0": "e9",
        "order:user:1 1": None,
        f"{TURNS} 0": turn("e1"),
        "line:app/two:user:1 0": "o:6:user:1:default:e1:app/two",
        "queue:app/default new-1": _entry("e1"),
        "queue:app/default new-2": _entry("e1") | {"j": "two"},
        "event:e1 m": header(runs="2"),
        "event:e1 o": "2",
        "event:e1 r:app/job": run_line("q", "new-1"),
        "event:e1 r:app/two": run_line("q", "new-2"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [JOB, TWO])], Dispatched(1, 2, 0), changes, full="refused")


@case
def several_of_an_ordering_key(keyspace: Keyspace) -> Step:
    """The first of a key is queued, the next waits for its turn; another key and an event without one go beside it."""
    seed_line(keyspace, "order:user:1", "e1", "e2")
    seed_line(keyspace, "order:b", "e3")
    events = [
        seed_event(keyspace, "e1", "5-0", ordering_key="user:1"),
        seed_event(keyspace, "e2", "6-0", ordering_key="user:1"),
        seed_event(keyspace, "e3", "7-0", ordering_key="b"),
        seed_event(keyspace, "e4", "8-0"),
    ]
    changes: Lines = {f"events {entry}-0": None for entry in (5, 6, 7, 8)} | {
        "events dispatch w1": "",
        "order:user:1 0": None,
        "order:user:1 1": None,
        "order:b 0": None,
        f"{TURNS} 0": turn("e1"),
        f"{TURNS} 1": turn("e2"),
        "line:app/job:b 0": "o:1:b:default:e3:app/job",
        "queue:app/default new-1": _entry("e1"),
        "queue:app/default new-2": _entry("e3", "b"),
        "queue:app/default new-3": {"e": "e4", "j": "job", "s": "", "b": BODY},
        "event:e1 r:app/job": run_line("q", "new-1"),
        "event:e2 r:app/job": run_line("w", "-"),
        "event:e3 r:app/job": run_line("q", "new-2"),
        "event:e4 r:app/job": run_line("q", "new-3"),
        "wake-up:app new-1": RUNG,
    }
    changes |= {f"event:e{number} m": header(runs="1") for number in (1, 2, 3, 4)}
    batch = [Matched(event, [JOB]) for event in events]
    return dispatch(keyspace, batch, Dispatched(4, 4, 0), changes, full="refused")


@case
def behind_a_run_of_the_ordering_key(keyspace: Keyspace) -> Step:
    """While a run of the key is open the next one waits for its turn, also on a full server."""
    seed_queue(keyspace, "mail")
    seed_line(keyspace, "line:app/mailer:user:1", "o:6:user:1:mail:e0:app/mailer")
    seed_line(keyspace, "order:user:1", "e1")
    event = seed_event(keyspace, ordering_key="user:1")
    changes = acknowledged() | {
        "order:user:1 0": None,
        "line:app/mailer:user:1 1": "o:6:user:1:mail:e1:app/mailer",
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/mailer": run_line("w", "-", queue="mail"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [MAIL])], Dispatched(1, 1, 0), changes, free_first=True)


@case
def behind_an_event_in_other_hands(keyspace: Keyspace) -> Step:
    """An event of a key does not overtake one that is not dispatched yet, and the batch stays as it is."""
    seed_line(keyspace, "order:user:1", "e1", "e2")
    keyspace.entry("events", "4-0", {"i": "e1", "z": 8, "b": BODY, "k": "user:1"})
    seed_record(keyspace, "e1", fields={"k": "user:1"})
    batch = [
        Matched(seed_event(keyspace, "e3", "5-0"), [JOB]),
        Matched(seed_event(keyspace, "e2", "6-0", ordering_key="user:1"), [JOB]),
    ]
    return dispatch(keyspace, batch, EventsBehind([1]), {})


@case
def an_event_out_of_other_hands(keyspace: Keyspace) -> Step:
    """What is first of a key can be dispatched without its entry, whose holder will find it dispatched."""
    seed_line(keyspace, "order:user:1", "e1", "e2")
    keyspace.entry("events", "4-0", {"i": "e1", "z": 8, "b": BODY, "k": "user:1"})
    seed_record(keyspace, "e1", fields={"k": "user:1"})
    batch = [
        Matched(EventEntry("0-0", "e1", 8, None, "user:1"), [JOB]),
        Matched(seed_event(keyspace, "e2", ordering_key="user:1"), []),
    ]
    changes = acknowledged() | {
        "order:user:1 0": None,
        "order:user:1 1": None,
        f"{TURNS} 0": turn("e1"),
        "queue:app/default new-1": _entry("e1"),
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "event:e2 m": header(runs="0"),
        "event:e2 ttl": "<now+2000s>",
        "fading e2": "<now+1000s>",
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, batch, Dispatched(2, 1, 0), changes, full="refused")


@case
def an_event_of_an_ordering_key_twice(keyspace: Keyspace) -> Step:
    """An event that was read for another dispatcher, and whose entry has come meanwhile, is not behind itself."""
    seed_line(keyspace, "order:user:1", "e1")
    event = seed_event(keyspace, ordering_key="user:1")
    changes = acknowledged() | {
        "order:user:1 0": None,
        f"{TURNS} 0": turn("e1"),
        "queue:app/default new-1": _entry("e1"),
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    batch = [Matched(EventEntry("0-0", "e1", 8, None, "user:1"), [JOB]), Matched(event, [JOB])]
    return dispatch(keyspace, batch, Dispatched(1, 1, 0), changes, full="refused")


@case
def a_dispatched_event_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """An event that another worker has dispatched is only acknowledged."""
    seed_line(keyspace, "order:user:1", "e2")
    event = seed_event(keyspace, runs="1", ordering_key="user:1")
    changes = acknowledged() | {"wake-up:app new-1": RUNG}
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(0, 0, 0), changes, full="refused")


@case
def a_dispatched_event_that_its_order_lists(keyspace: Keyspace) -> Step:
    """An event that was dead-lettered leaves its order, and the next one is dispatched."""
    seed_line(keyspace, "order:user:1", "e1", "e2")
    seed_record(keyspace, "e1", runs="0", fields={"k": "user:1"})
    event = seed_event(keyspace, "e2", ordering_key="user:1")
    changes = acknowledged() | {
        "order:user:1 0": None,
        "order:user:1 1": None,
        f"{TURNS} 0": turn("e2"),
        "queue:app/default new-1": _entry("e2"),
        "event:e2 m": header(runs="1"),
        "event:e2 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    batch = [Matched(EventEntry("0-0", "e1", 8, None, "user:1"), [JOB]), Matched(event, [JOB])]
    return dispatch(keyspace, batch, Dispatched(1, 1, 0), changes, full="refused")


@case
def an_event_that_its_order_does_not_list(keyspace: Keyspace) -> Step:
    """An event that left its order, as someone could not read it, waits for no other, and still for its turn."""
    seed_line(keyspace, "order:user:1", "e0")
    seed_line(keyspace, TURNS, turn("e9"))
    event = seed_event(keyspace, ordering_key="user:1")
    changes = acknowledged() | {
        f"{TURNS} 1": turn("e1"),
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("w", "-"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def a_lost_event_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """An event of which nothing is left leaves the order of its key, and the next one goes."""
    seed_line(keyspace, "order:user:1", "e1", "e2")
    lost = seed_event(keyspace, has_record=False, inline=False, ordering_key="user:1")
    event = seed_event(keyspace, "e2", "6-0", ordering_key="user:1")
    changes = acknowledged() | {
        "events 6-0": None,
        "order:user:1 0": None,
        "order:user:1 1": None,
        f"{TURNS} 0": turn("e2"),
        "queue:app/default new-1": _entry("e2"),
        "event:e2 m": header(runs="1"),
        "event:e2 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(
        keyspace, [Matched(lost, [JOB]), Matched(event, [JOB])], Dispatched(1, 1, 1), changes, full="refused"
    )


@case
def a_lost_record_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """A record that is made again from the entry has the key again."""
    seed_line(keyspace, "order:user:1", "e1")
    event = seed_event(keyspace, has_record=False, ordering_key="user:1")
    changes = acknowledged() | {
        "order:user:1 0": None,
        f"{TURNS} 0": turn("e1"),
        "queue:app/default new-1": _entry("e1"),
        "event:e1 m": header("-", delivered=5, runs="1"),
        "event:e1 e": BODY,
        "event:e1 k": "user:1",
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": RUNG,
    }
    return dispatch(keyspace, [Matched(event, [JOB])], Dispatched(1, 1, 0), changes, full="refused")
