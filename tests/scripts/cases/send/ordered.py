"""What `send` must give and change for events with an ordering key."""

from __future__ import annotations

from typing import Any

from tests.scripts.cases.case import PAST, Step, case, header, seed_line
from tests.scripts.cases.send.events import BEYOND, entry, later, outgoing, seed_sent, send, text
from tests.scripts.state import NOW, Keyspace, moment_of


@case
def events_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """They are in the order of their key, behind those that are not dispatched yet; entries and records name it."""
    seed_line(keyspace, "order:user:1", "e0")
    events = [outgoing(each, ordering_key="user:1") for each in ("e1", "e2")]
    changes: dict[str, Any] = {"recent new-1": {"e1": "user.new", "e2": "user.new"}}
    for place, event in enumerate(events, 1):
        changes |= {
            f"order:user:1 {place}": event.event_id,
            f"events new-{place}": entry(event) | {"k": "user:1"},
            f"event:{event.event_id} m": header(f"tok.{place}", delivered=NOW),
            f"event:{event.event_id} e": text(event),
            f"event:{event.event_id} k": "user:1",
        }
    return Step(send(keyspace, *events), [event.sent(delivered_at=NOW) for event in events], changes, full="refused")


@case
def a_delayed_event_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """Its record names the key; it enters the order when it is due."""
    event = later("e1", at=BEYOND, ordering_key="user:1")
    return Step(
        send(keyspace, event),
        [event.sent(deliver_at=moment_of(BEYOND))],
        {
            "event:e1 m": header("tok.1", due=BEYOND, delivered=0),
            "event:e1 e": text(event),
            "event:e1 k": "user:1",
            "due e:e1": str(BEYOND),
            "recent new-1": {"e1": "user.new"},
        },
        full="refused",
    )


@case
def a_delayed_event_again_without_its_ordering_key(keyspace: Keyspace) -> Step:
    """A delayed event that is sent again for now, without a key, has none any more."""
    first, event = later("e1", at=BEYOND, payload=0), outgoing("e1")
    seed_sent(keyspace, first, header(due=BEYOND, delivered=0))
    keyspace.seed("HSET", "event:e1", "k", "user:1")
    keyspace.seed("ZADD", "due", BEYOND, "e:e1")
    return Step(
        send(keyspace, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": text(event),
            "event:e1 k": "",
            "due e:e1": None,
            "events new-1": entry(event),
        },
        full="refused",
    )


@case
def a_delayed_event_again_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """A delayed event that is sent again for now, with a key, enters its order."""
    first, event = later("e1", at=BEYOND, payload=0), outgoing("e1", ordering_key="user:1")
    seed_sent(keyspace, first, header(due=BEYOND, delivered=0))
    keyspace.seed("ZADD", "due", BEYOND, "e:e1")
    return Step(
        send(keyspace, event),
        [event.sent(delivered_at=NOW)],
        {
            "event:e1 m": header("tok.1", delivered=NOW),
            "event:e1 e": text(event),
            "event:e1 k": "user:1",
            "due e:e1": None,
            "order:user:1 0": "e1",
            "events new-1": entry(event) | {"k": "user:1"},
        },
        full="refused",
    )


@case
def a_duplicate_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """An event that was delivered does not enter the order again."""
    event = outgoing("e1", ordering_key="user:1")
    seed_sent(keyspace, event, header(delivered=PAST))
    return Step(send(keyspace, event), [event.sent(delivered_at=moment_of(PAST), duplicate=True)], {})


@case
def events_with_different_ordering_keys(keyspace: Keyspace) -> Step:
    """Each is in the order of its own key, those without a key in none; a delayed one is in none yet."""
    keys = {"e1": "user:1", "e2": None, "e3": "user:2", "e4": "user:1"}
    events = [outgoing(each, ordering_key=key) for each, key in keys.items()]
    delayed = later("e5", at=BEYOND, ordering_key="user:3")
    changes: dict[str, Any] = {
        "recent new-1": dict.fromkeys([*keys, "e5"], "user.new"),
        "order:user:1 0": "e1",
        "order:user:1 1": "e4",
        "order:user:2 0": "e3",
        "event:e5 m": header("tok.5", due=BEYOND, delivered=0),
        "event:e5 e": text(delayed),
        "event:e5 k": "user:3",
        "due e:e5": str(BEYOND),
    }
    for place, event in enumerate(events, 1):
        key = {"k": event.terms.ordering_key} if event.terms.ordering_key else {}
        changes |= {
            f"events new-{place}": entry(event) | key,
            f"event:{event.event_id} m": header(f"tok.{place}", delivered=NOW),
            f"event:{event.event_id} e": text(event),
        } | {f"event:{event.event_id} {field}": value for field, value in key.items()}
    answers = [event.sent(delivered_at=NOW) for event in events] + [delayed.sent(deliver_at=moment_of(BEYOND))]
    return Step(send(keyspace, *events, delayed), answers, changes, full="refused")
