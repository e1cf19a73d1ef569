"""What `send` must give and change for events that are new, now or for later."""

from __future__ import annotations

from tests.scripts.cases.case import IN_60_S, IN_120_S, LARGE, PAST, Step, case, header, seed_record
from tests.scripts.cases.send.events import BEYOND, entry, later, outgoing, send, text
from tests.scripts.state import NOW, Keyspace, moment_of


@case
def a_new_event_for_now(keyspace: Keyspace) -> Step:
    """A new event has its record, is in `events` with its body, and `recent` names it."""
    event = outgoing("e1")
    return Step(
        send(keyspace, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": text(event),
            "events new-1": entry(event),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def a_large_event(keyspace: Keyspace) -> Step:
    """A body over 8 kB stays in the record; the entry has its size alone."""
    event = outgoing("e1", LARGE)
    return Step(
        send(keyspace, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": text(event),
            "events new-1": entry(event) | {"b": ""},
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def the_largest_event_inside(keyspace: Keyspace) -> Step:
    """A body of 8 kB travels in the entry."""
    event = outgoing("e1", "x" * (8_192 - len(outgoing("e1", "x" * 8_000).body) + 8_000))
    return Step(
        send(keyspace, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": text(event),
            "events new-1": {"i": "e1", "z": "8192", "b": text(event)},
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def a_delay_rings_the_wake(keyspace: Keyspace) -> Step:
    """A delayed event is in `due` alone, and the promoter is woken, as nothing was due earlier."""
    event = later("e1", after_s=60)
    return Step(
        send(keyspace, event),
        [event.sent(deliver_at=IN_60_S)],
        {
            "event:e1 m": header("tok.1", due=IN_60_S, delivered=0),
            "event:e1 e": text(event),
            "due e:e1": IN_60_S,
            "recent new-1": {"e1": "user.new"},
            "wake 0": "1",
        },
        full="refused",
    )


@case
def a_later_time_rings_nothing(keyspace: Keyspace) -> Step:
    """An event for a time behind the first in `due` does not wake the promoter."""
    event = later("e1", at=BEYOND)
    return Step(
        send(keyspace, event),
        [event.sent(deliver_at=moment_of(BEYOND))],
        {
            "event:e1 m": header("tok.1", due=BEYOND, delivered=0),
            "event:e1 e": text(event),
            "due e:e1": str(BEYOND),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def a_later_time_rings_where_the_first_is_due(keyspace: Keyspace) -> Step:
    """Where the first in `due` is due, perhaps added without a wake-up, any time wakes the promoter."""
    keyspace.seed("ZADD", "due", "-inf", "foreign")
    event = later("e1", at=BEYOND)
    return Step(
        send(keyspace, event),
        [event.sent(deliver_at=moment_of(BEYOND))],
        {
            "event:e1 m": header("tok.1", due=BEYOND, delivered=0),
            "event:e1 e": text(event),
            "due e:e1": str(BEYOND),
            "recent new-1": {"e1": "user.new"},
            "wake 0": "1",
        },
        full="refused",
    )


@case
def a_rung_wake_stays_one(keyspace: Keyspace) -> Step:
    """A wake that was rung already gets no second element."""
    keyspace.seed("LPUSH", "wake", "1")
    event = later("e1", after_s=60)
    return Step(
        send(keyspace, event),
        [event.sent(deliver_at=IN_60_S)],
        {
            "event:e1 m": header("tok.1", due=IN_60_S, delivered=0),
            "event:e1 e": text(event),
            "due e:e1": IN_60_S,
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def the_first_delay_rings(keyspace: Keyspace) -> Step:
    """With nothing in `due` any time is an earlier one."""
    keyspace.seed("DEL", "due")
    event = later("e1", at=BEYOND)
    return Step(
        send(keyspace, event),
        [event.sent(deliver_at=moment_of(BEYOND))],
        {
            "event:e1 m": header("tok.1", due=BEYOND, delivered=0),
            "event:e1 e": text(event),
            "due e:e1": str(BEYOND),
            "recent new-1": {"e1": "user.new"},
            "wake 0": "1",
        },
        full="refused",
    )


@case
def a_time_that_has_passed(keyspace: Keyspace) -> Step:
    """An event whose time has passed is delivered now."""
    event = later("e1", at=PAST)
    return Step(
        send(keyspace, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": text(event),
            "events new-1": entry(event),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def several_at_once(keyspace: Keyspace) -> Step:
    """A batch keeps its order, notes each id's kind, and rings the wake once."""
    events = [outgoing("e1", kind="c"), later("e2", after_s=120), later("e3", after_s=60), outgoing("e4", kind="d")]
    sent = [
        events[0].sent(delivered_at=NOW),
        events[1].sent(deliver_at=IN_120_S),
        events[2].sent(deliver_at=IN_60_S),
        events[3].sent(delivered_at=NOW),
    ]
    return Step(
        send(keyspace, *events),
        sent,
        {
            "event:e1 m": header("tok.1", "c", delivered=NOW),
            "event:e2 m": header("tok.2", "s", due=IN_120_S, delivered=0),
            "event:e3 m": header("tok.3", "s", due=IN_60_S, delivered=0),
            "event:e4 m": header("tok.4", "d", delivered=NOW),
            **{f"event:{event.event_id} e": text(event) for event in events},
            "events new-1": entry(events[0]),
            "events new-2": entry(events[3]),
            "due e:e2": IN_120_S,
            "due e:e3": IN_60_S,
            "recent new-1": dict.fromkeys(("e1", "e2", "e3", "e4"), "user.new"),
            "wake 0": "1",
        },
        full="refused",
    )


@case
def the_earliest_of_several_rings(keyspace: Keyspace) -> Step:
    """The wake is rung if one of a batch is due before all others, wherever it stands."""
    keyspace.seed("ZADD", "due", keyspace.now_ms() + 90_000, "e:soon")
    seed_record(keyspace, "soon", due=PAST, delivered=0)
    events = [later("e1", after_s=120), later("e2", after_s=60), later("e3", at=BEYOND), outgoing("e4")]
    sent = [
        events[0].sent(deliver_at=IN_120_S),
        events[1].sent(deliver_at=IN_60_S),
        events[2].sent(deliver_at=moment_of(BEYOND)),
        events[3].sent(delivered_at=NOW),
    ]
    return Step(
        send(keyspace, *events),
        sent,
        {
            "event:e1 m": header("tok.1", due=IN_120_S, delivered=0),
            "event:e2 m": header("tok.2", due=IN_60_S, delivered=0),
            "event:e3 m": header("tok.3", due=BEYOND, delivered=0),
            "event:e4 m": header("tok.4", delivered=NOW),
            **{f"event:{event.event_id} e": text(event) for event in events},
            "due e:e1": IN_120_S,
            "due e:e2": IN_60_S,
            "due e:e3": str(BEYOND),
            "events new-1": entry(events[3]),
            "recent new-1": dict.fromkeys(("e1", "e2", "e3", "e4"), "user.new"),
            "wake 0": "1",
        },
        full="refused",
    )


@case
def an_event_whose_id_is_remembered_longer(keyspace: Keyspace) -> Step:
    """Its header has the mark, and its record the time; one beside it has neither."""
    events = [outgoing("e1", dedupe_for=3_600), outgoing("e2")]
    return Step(
        send(keyspace, *events),
        [event.sent(delivered_at=NOW) for event in events],
        {
            "event:e1 m": header("+tok.1", delivered=NOW),
            "event:e1 e": text(events[0]),
            "event:e1 d": "3600000",
            "events new-1": entry(events[0]),
            "event:e2 m": header("tok.2", delivered=NOW),
            "event:e2 e": text(events[1]),
            "events new-2": entry(events[1]),
            "recent new-1": {"e1": "user.new", "e2": "user.new"},
        },
        full="refused",
    )
