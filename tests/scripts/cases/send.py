"""What `send` must give and change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from headrace import Event, EventConflict
from headrace.calls import sending
from headrace.formats.outgoing import Outgoing
from headrace.plans.prepare import SendOptions, prepare
from tests.scripts.cases.case import FUTURE, IN_60_S, IN_120_S, LARGE, PAST, Step, case, header, seed_line, seed_record
from tests.scripts.state import NOW, World, moment_of

_SENT_AT = datetime(2001, 2, 3, tzinfo=UTC)
_BEYOND = FUTURE + 1
"""Later than anything in `due`."""


def outgoing(
    event_id: str,
    payload: Any = 1,
    *,
    kind: str = "s",
    name: str = "user.new",
    source: str = "shop",
    ordering_key: str | None = None,
) -> Outgoing:
    """Returns an event for now, as a client prepares it."""
    event = Event(name, payload, id=event_id, timestamp=_SENT_AT, source=source)
    return prepare([event], SendOptions(ordering_key=ordering_key), now=lambda: _SENT_AT, id_kind=kind)[0]


def _later(
    event_id: str, after_s: int = 0, at: int = 0, payload: Any = 1, ordering_key: str | None = None
) -> Outgoing:  # fmt: skip
    options = SendOptions(moment_of(at) if at else None, after_s or None, ordering_key=ordering_key)
    event = Event("user.new", payload, id=event_id, timestamp=_SENT_AT, source="shop")
    return prepare([event], options, now=lambda: _SENT_AT)[0]


def _text(event: Outgoing) -> str:
    return event.body.decode("utf-8", "backslashreplace")


def _entry(event: Outgoing) -> dict[str, str]:
    return {"i": event.event_id, "z": str(len(event.body)), "b": _text(event)}


def _seed_sent(world: World, event: Outgoing, head: str) -> None:
    """The event was sent before; the record's header is given."""
    world.seed("HSET", f"event:{event.event_id}", "m", head, "e", event.body)


def _send(world: World, *events: Outgoing) -> Any:
    return sending.send(world.keys, events, "tok")


@case
def a_new_event_for_now(world: World) -> Step:
    """A new event has its record, is in `events` with its body, and `recent` names it."""
    event = outgoing("e1")
    return Step(
        _send(world, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": _text(event),
            "events new-1": _entry(event),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def a_large_event(world: World) -> Step:
    """A body over 8 kB stays in the record; the entry has its size alone."""
    event = outgoing("e1", LARGE)
    return Step(
        _send(world, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": _text(event),
            "events new-1": _entry(event) | {"b": ""},
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def the_largest_event_inside(world: World) -> Step:
    """A body of 8 kB travels in the entry."""
    event = outgoing("e1", "x" * (8_192 - len(outgoing("e1", "x" * 8_000).body) + 8_000))
    return Step(
        _send(world, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": _text(event),
            "events new-1": {"i": "e1", "z": "8192", "b": _text(event)},
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def a_delay_rings_the_wake(world: World) -> Step:
    """A delayed event is in `due` alone, and the promoter is woken, as nothing was due earlier."""
    event = _later("e1", after_s=60)
    return Step(
        _send(world, event),
        [event.sent(deliver_at=IN_60_S)],
        {
            "event:e1 m": header("tok.1", due=IN_60_S, delivered=0),
            "event:e1 e": _text(event),
            "due e:e1": IN_60_S,
            "recent new-1": {"e1": "user.new"},
            "wake 0": "1",
        },
        full="refused",
    )


@case
def a_later_time_rings_nothing(world: World) -> Step:
    """An event for a time behind the first in `due` does not wake the promoter."""
    event = _later("e1", at=_BEYOND)
    return Step(
        _send(world, event),
        [event.sent(deliver_at=moment_of(_BEYOND))],
        {
            "event:e1 m": header("tok.1", due=_BEYOND, delivered=0),
            "event:e1 e": _text(event),
            "due e:e1": str(_BEYOND),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def a_later_time_rings_where_the_first_is_due(world: World) -> Step:
    """Where the first in `due` is due, by another program that woke nobody perhaps, any time wakes the promoter."""
    world.seed("ZADD", "due", "-inf", "foreign")
    event = _later("e1", at=_BEYOND)
    return Step(
        _send(world, event),
        [event.sent(deliver_at=moment_of(_BEYOND))],
        {
            "event:e1 m": header("tok.1", due=_BEYOND, delivered=0),
            "event:e1 e": _text(event),
            "due e:e1": str(_BEYOND),
            "recent new-1": {"e1": "user.new"},
            "wake 0": "1",
        },
        full="refused",
    )


@case
def a_rung_wake_stays_one(world: World) -> Step:
    """A wake that was rung already gets no second element."""
    world.seed("LPUSH", "wake", "1")
    event = _later("e1", after_s=60)
    return Step(
        _send(world, event),
        [event.sent(deliver_at=IN_60_S)],
        {
            "event:e1 m": header("tok.1", due=IN_60_S, delivered=0),
            "event:e1 e": _text(event),
            "due e:e1": IN_60_S,
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def the_first_delay_rings(world: World) -> Step:
    """With nothing in `due` any time is an earlier one."""
    world.seed("DEL", "due")
    event = _later("e1", at=_BEYOND)
    return Step(
        _send(world, event),
        [event.sent(deliver_at=moment_of(_BEYOND))],
        {
            "event:e1 m": header("tok.1", due=_BEYOND, delivered=0),
            "event:e1 e": _text(event),
            "due e:e1": str(_BEYOND),
            "recent new-1": {"e1": "user.new"},
            "wake 0": "1",
        },
        full="refused",
    )


@case
def a_time_that_has_passed(world: World) -> Step:
    """An event whose time has passed is delivered now."""
    event = _later("e1", at=PAST)
    return Step(
        _send(world, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": _text(event),
            "events new-1": _entry(event),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def several_at_once(world: World) -> Step:
    """A batch keeps its order, notes each id's kind, and rings the wake once."""
    events = [outgoing("e1", kind="c"), _later("e2", after_s=120), _later("e3", after_s=60), outgoing("e4", kind="d")]
    sent = [
        events[0].sent(delivered_at=NOW),
        events[1].sent(deliver_at=IN_120_S),
        events[2].sent(deliver_at=IN_60_S),
        events[3].sent(delivered_at=NOW),
    ]
    return Step(
        _send(world, *events),
        sent,
        {
            "event:e1 m": header("tok.1", "c", delivered=NOW),
            "event:e2 m": header("tok.2", "s", due=IN_120_S, delivered=0),
            "event:e3 m": header("tok.3", "s", due=IN_60_S, delivered=0),
            "event:e4 m": header("tok.4", "d", delivered=NOW),
            **{f"event:{event.event_id} e": _text(event) for event in events},
            "events new-1": _entry(events[0]),
            "events new-2": _entry(events[3]),
            "due e:e2": IN_120_S,
            "due e:e3": IN_60_S,
            "recent new-1": dict.fromkeys(("e1", "e2", "e3", "e4"), "user.new"),
            "wake 0": "1",
        },
        full="refused",
    )


@case
def the_earliest_of_several_rings(world: World) -> Step:
    """The wake is rung if one of a batch is due before all others, wherever it stands."""
    world.seed("ZADD", "due", world.now_ms() + 90_000, "e:soon")
    seed_record(world, "soon", due=PAST, delivered=0)
    events = [_later("e1", after_s=120), _later("e2", after_s=60), _later("e3", at=_BEYOND), outgoing("e4")]
    sent = [
        events[0].sent(deliver_at=IN_120_S),
        events[1].sent(deliver_at=IN_60_S),
        events[2].sent(deliver_at=moment_of(_BEYOND)),
        events[3].sent(delivered_at=NOW),
    ]
    return Step(
        _send(world, *events),
        sent,
        {
            "event:e1 m": header("tok.1", due=IN_120_S, delivered=0),
            "event:e2 m": header("tok.2", due=IN_60_S, delivered=0),
            "event:e3 m": header("tok.3", due=_BEYOND, delivered=0),
            "event:e4 m": header("tok.4", delivered=NOW),
            **{f"event:{event.event_id} e": _text(event) for event in events},
            "due e:e1": IN_120_S,
            "due e:e2": IN_60_S,
            "due e:e3": str(_BEYOND),
            "events new-1": _entry(events[3]),
            "recent new-1": dict.fromkeys(("e1", "e2", "e3", "e4"), "user.new"),
            "wake 0": "1",
        },
        full="refused",
    )


@case
def its_own_retry(world: World) -> Step:
    """The same call again, its reply having been lost, changes nothing and answers as the first time."""
    event = outgoing("e1")
    _seed_sent(world, event, header("tok.1"))
    return Step(_send(world, event), [event.sent(delivered_at=moment_of(PAST))], {})


@case
def its_own_retry_after_dispatch(world: World) -> Step:
    """The same call again is recognised even when the event has been dispatched meanwhile."""
    event = outgoing("e1")
    _seed_sent(world, event, header("tok.1", runs="2"))
    return Step(_send(world, event), [event.sent(delivered_at=moment_of(PAST))], {})


@case
def its_own_retry_of_a_delay(world: World) -> Step:
    """The same call again does not move a delay: it answers with the time that the first one set."""
    event = _later("e1", after_s=60)
    _seed_sent(world, event, header("tok.1", due=FUTURE, delivered=0))
    world.seed("ZADD", "due", FUTURE, "e:e1")
    return Step(_send(world, event), [event.sent(deliver_at=moment_of(FUTURE))], {})


@case
def its_own_retry_after_promotion(world: World) -> Step:
    """The same call again for an event that was delayed and delivered since answers with its due time."""
    event = _later("e1", after_s=60)
    _seed_sent(world, event, header("tok.1", due=PAST, delivered=PAST + 1))
    return Step(_send(world, event), [event.sent(deliver_at=moment_of(PAST))], {})


@case
def a_delivered_id(world: World) -> Step:
    """The id of a delivered event triggers nothing again: the answer is what is stored."""
    stored = outgoing("e1", "stored")
    _seed_sent(world, stored, header("other.1", runs="1"))
    answer = stored.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched")
    return Step(_send(world, outgoing("e1", "sent again")), [answer], {})


@case
def a_delivered_id_for_later(world: World) -> Step:
    """The id of a delivered event is not delayed either."""
    stored = outgoing("e1", "stored")
    _seed_sent(world, stored, header("other.1", runs="1"))
    answer = stored.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched")
    return Step(_send(world, _later("e1", after_s=60)), [answer], {})


@case
def a_canceled_id(world: World) -> Step:
    """The id of a canceled event is not sent again."""
    stored = outgoing("e1", "stored")
    _seed_sent(world, stored, header("other.1", due=FUTURE, delivered=0, canceled=PAST, runs="0"))
    answer = stored.sent(deliver_at=moment_of(FUTURE), duplicate=True, status="canceled")
    return Step(_send(world, outgoing("e1", "sent again")), [answer], {})


@case
def a_delivered_id_under_another_name(world: World) -> Step:
    """The id of a delivered event is not another event's."""
    _seed_sent(world, outgoing("e1"), header("other.1", runs="1"))
    return Step(_send(world, outgoing("e1", name="user.gone")), [EventConflict("e1", status="dispatched")], {})


@case
def a_canceled_id_from_another_source(world: World) -> Step:
    """Nor is that of a canceled one."""
    _seed_sent(world, outgoing("e1"), header("other.1", due=FUTURE, delivered=0, canceled=PAST, runs="0"))
    return Step(_send(world, outgoing("e1", source="bank")), [EventConflict("e1", status="canceled")], {})


@case
def a_derived_id_under_another_name(world: World) -> Step:
    """What a run has sent under a key stays what it was, whatever a later attempt sends under that key."""
    stored = outgoing("e1", kind="d")
    _seed_sent(world, stored, header("other.1", runs="1"))
    answer = stored.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched")
    return Step(_send(world, outgoing("e1", kind="d", name="user.gone")), [answer], {})


@case
def a_remembered_id_without_contents(world: World) -> Step:
    """An id of which only the header is left (retention 0) is known as well."""
    world.seed("HSET", "event:e1", "m", header("other.1", runs="1"))
    event = outgoing("e1", "sent again")
    answer = event.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched")
    return Step(_send(world, event), [answer], {})


@case
def another_name(world: World) -> Step:
    """A delayed event is not replaced by one with another name."""
    _seed_sent(world, outgoing("e1"), header("other.1", due=FUTURE, delivered=0))
    return Step(_send(world, outgoing("e1", name="user.gone")), [EventConflict("e1")], {})


@case
def another_source(world: World) -> Step:
    """A delayed event is not replaced by one with another source."""
    _seed_sent(world, outgoing("e1"), header("other.1", due=FUTURE, delivered=0))
    return Step(_send(world, outgoing("e1", source="shop2")), [EventConflict("e1")], {})


@case
def a_delay_is_rescheduled(world: World) -> Step:
    """A delayed event that is sent again gets the new payload and time; `recent` has it already."""
    _seed_sent(world, outgoing("e1", "old"), header("other.1", due=FUTURE, delivered=0))
    world.seed("ZADD", "due", FUTURE, "e:e1")
    event = _later("e1", after_s=60, payload="new")
    return Step(
        _send(world, event),
        [event.sent(deliver_at=IN_60_S)],
        {
            "event:e1 m": header("tok.1", due=IN_60_S, delivered=0),
            "event:e1 e": _text(event),
            "due e:e1": IN_60_S,
            "wake 0": "1",
        },
        full="refused",
    )


@case
def a_delay_is_put_off(world: World) -> Step:
    """A delayed event can be put off to a later time, which wakes nobody."""
    _seed_sent(world, outgoing("e1", "old"), header("other.1", due=FUTURE, delivered=0))
    world.seed("ZADD", "due", FUTURE, "e:e1")
    event = _later("e1", at=_BEYOND)
    return Step(
        _send(world, event),
        [event.sent(deliver_at=moment_of(_BEYOND))],
        {
            "event:e1 m": header("tok.1", due=_BEYOND, delivered=0),
            "event:e1 e": _text(event),
            "due e:e1": str(_BEYOND),
        },
        full="refused",
    )


@case
def a_delay_is_pulled_forward(world: World) -> Step:
    """A delayed event that is sent again for now is in `events` and not in `due` any more."""
    _seed_sent(world, outgoing("e1", "old"), header("other.1", due=FUTURE, delivered=0))
    world.seed("ZADD", "due", FUTURE, "e:e1")
    event = outgoing("e1", "new")
    return Step(
        _send(world, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": _text(event),
            "events new-1": _entry(event),
            "due e:e1": None,
        },
        full="refused",
    )


@case
def the_same_id_twice(world: World) -> Step:
    """Of two events of a batch with one id the first is delivered, the second a duplicate of it."""
    first, second = outgoing("e1", "first"), outgoing("e1", "second")
    return Step(
        _send(world, first, second),
        [first.sent(delivered_at=NOW), first.sent(delivered_at=NOW, duplicate=True)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": _text(first),
            "events new-1": _entry(first),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def the_same_id_twice_again(world: World) -> Step:
    """The retry of a call that had one id twice answers as the first time, place by place."""
    first, second = outgoing("e1", "first"), outgoing("e1", "second")
    _seed_sent(world, first, header("tok.1"))
    sent = first.sent(delivered_at=moment_of(PAST))
    return Step(_send(world, first, second), [sent, first.sent(delivered_at=sent.delivered_at, duplicate=True)], {})


@case
def the_same_id_delayed_twice(world: World) -> Step:
    """Of two delayed events of a batch with one id the second replaces the first."""
    first, second = _later("e1", after_s=60, payload="first"), _later("e1", after_s=120, payload="second")
    return Step(
        _send(world, first, second),
        [first.sent(deliver_at=IN_60_S), second.sent(deliver_at=IN_120_S)],
        {
            "event:e1 m": header("tok.2", due=IN_120_S, delivered=0),
            "event:e1 e": _text(second),
            "due e:e1": IN_120_S,
            "recent new-1": {"e1": "user.new"},
            "wake 0": "1",
        },
        full="refused",
    )


@case
def the_same_id_delayed_twice_again(world: World) -> Step:
    """The retry of a call that had delayed one id twice replaces nothing."""
    first, second = _later("e1", after_s=60, payload="first"), _later("e1", after_s=120, payload="second")
    _seed_sent(world, second, header("tok.2", due=FUTURE, delivered=0))
    world.seed("ZADD", "due", FUTURE, "e:e1")
    when = moment_of(FUTURE)
    return Step(_send(world, first, second), [first.sent(deliver_at=when), second.sent(deliver_at=when)], {})


@case
def new_and_known_together(world: World) -> Step:
    """Each event of a batch gets its own answer, in its place."""
    known, foreign = outgoing("known", "stored"), outgoing("foreign")
    _seed_sent(world, known, header("other.1", runs="1"))
    _seed_sent(world, foreign, header("other.2", due=FUTURE, delivered=0))
    fresh, last = outgoing("fresh"), outgoing("last")
    return Step(
        _send(world, outgoing("known"), fresh, outgoing("foreign", name="user.gone"), last),
        [
            known.sent(delivered_at=moment_of(PAST), duplicate=True, status="dispatched"),
            fresh.sent(delivered_at=NOW),
            EventConflict("foreign"),
            last.sent(delivered_at=NOW),
        ],
        {
            "event:fresh m": header("tok.2", delivered=NOW),
            "event:fresh e": _text(fresh),
            "event:last m": header("tok.4", delivered=NOW),
            "event:last e": _text(last),
            "events new-1": _entry(fresh),
            "events new-2": _entry(last),
            "recent new-1": {"fresh": "user.new", "last": "user.new"},
        },
        full="refused",
    )


@case
def a_lost_body(world: World) -> Step:
    """A delayed event whose record has lost its body does not stop the batch: it counts as another one's."""
    seed_record(world, "e1", due=FUTURE, delivered=0, body=None)
    return Step(_send(world, outgoing("e1")), [EventConflict("e1")], {})


@case
def events_with_an_ordering_key(world: World) -> Step:
    """They are in the order of their key, behind those that are not dispatched yet; entries and records name it."""
    seed_line(world, "order:user:1", "e0")
    events = [outgoing(each, ordering_key="user:1") for each in ("e1", "e2")]
    changes: dict[str, Any] = {"recent new-1": {"e1": "user.new", "e2": "user.new"}}
    for place, event in enumerate(events, 1):
        changes |= {
            f"order:user:1 {place}": event.event_id,
            f"events new-{place}": _entry(event) | {"k": "user:1"},
            f"event:{event.event_id} m": header(f"tok.{place}", delivered=NOW),
            f"event:{event.event_id} e": _text(event),
            f"event:{event.event_id} k": "user:1",
        }
    return Step(_send(world, *events), [event.sent(delivered_at=NOW) for event in events], changes, full="refused")


@case
def a_delayed_event_with_an_ordering_key(world: World) -> Step:
    """Its record names the key; it enters the order when it is due."""
    event = _later("e1", at=_BEYOND, ordering_key="user:1")
    return Step(
        _send(world, event),
        [event.sent(deliver_at=moment_of(_BEYOND))],
        {
            "event:e1 m": header("tok.1", due=_BEYOND, delivered=0),
            "event:e1 e": _text(event),
            "event:e1 k": "user:1",
            "due e:e1": str(_BEYOND),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def a_delayed_event_again_without_its_ordering_key(world: World) -> Step:
    """A delayed event that is sent again for now, without a key, has none any more."""
    first, event = _later("e1", at=_BEYOND, payload=0), outgoing("e1")
    _seed_sent(world, first, header(due=_BEYOND, delivered=0))
    world.seed("HSET", "event:e1", "k", "user:1")
    world.seed("ZADD", "due", _BEYOND, "e:e1")
    return Step(
        _send(world, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": _text(event),
            "event:e1 k": "",
            "due e:e1": None,
            "events new-1": _entry(event),
        },
        full="refused",
    )


@case
def a_delayed_event_again_with_an_ordering_key(world: World) -> Step:
    """A delayed event that is sent again for now, with a key, enters its order."""
    first, event = _later("e1", at=_BEYOND, payload=0), outgoing("e1", ordering_key="user:1")
    _seed_sent(world, first, header(due=_BEYOND, delivered=0))
    world.seed("ZADD", "due", _BEYOND, "e:e1")
    return Step(
        _send(world, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": _text(event),
            "event:e1 k": "user:1",
            "due e:e1": None,
            "order:user:1 0": "e1",
            "events new-1": _entry(event) | {"k": "user:1"},
        },
        full="refused",
    )


@case
def a_duplicate_with_an_ordering_key(world: World) -> Step:
    """An event that was delivered does not enter the order again."""
    event = outgoing("e1", ordering_key="user:1")
    _seed_sent(world, event, header(delivered=PAST))
    return Step(_send(world, event), [event.sent(delivered_at=moment_of(PAST), duplicate=True)], {})
