"""What `dispatch` must give and change."""

from __future__ import annotations

from typing import Literal

from headrace.model.retention import Retention
from headrace_worker.app.routes import Route
from headrace_worker.protocol import dispatching
from headrace_worker.protocol.delivery import EventEntry
from headrace_worker.protocol.dispatching import Answer, Dispatched, EventsBehind, Matched, QueuesFull, RoutesStale
from tests.scripts.cases.case import (
    BODY,
    LARGE,
    LARGEST_INLINE,
    NO_RETENTION,
    RETENTION,
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
from tests.scripts.state import Changes, World

_JOB = Route("app/job", "app", "default")
_TWO = Route("app/two", "app", "default")
_MAIL = Route("app/mailer", "app", "mail")
_SHOP = Route("shop/job", "shop", "default")
_RUNG = {"r": ""}


def _seed_event(
    world: World,
    event_id: str = "e1",
    entry: str = "5-0",
    *,
    kind: str = "s",
    runs: str = "-",
    body: str = BODY,
    inline: bool = True,
    has_record: bool = True,
    waited: bool = False,
    ordering_key: str = "",
) -> EventEntry:
    """The event is in `events`, in the worker's hands."""
    fields: dict[str, str | bytes | int] = {"i": event_id, "z": len(body), "b": body if inline else ""}
    world.entry("events", entry, fields | ({"k": ordering_key} if ordering_key else {}))
    world.hold("events", "dispatch", "w1", entry)
    if has_record:
        seed_record(world, event_id, kind=kind, runs=runs, body=body, fields={"w": 1} if waited else None)
    return EventEntry(entry, event_id, len(body), None, ordering_key)


def _dispatch(
    world: World,
    batch: list[Matched],
    gives: Answer,
    changes: Changes,
    *,
    version: str = "1",
    retention: Retention = RETENTION,
    free_first: bool = False,
    full: Literal["passes", "refused"] = "passes",
) -> Step:
    call = dispatching.dispatch(world.keys, batch, version, retention, free_first=free_first)
    return Step(call, gives, changes, full)


def _acknowledged(entry: str = "5-0", left: str = "") -> Lines:
    return {f"events {entry}": None, "events dispatch w1": left}


@case
def one_job(world: World) -> Step:
    """An event's entry is gone, and its one run is queued with its body and in the record; an idle worker is woken."""
    event = _seed_event(world)
    changes = _acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def several_jobs(world: World) -> Step:
    """An event has one run for each job, in the queue of each, and its record counts those that are open."""
    seed_queue(world, "mail")
    seed_queue(world, "default", "shop")
    event = _seed_event(world)
    changes = _acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "queue:app/default new-2": {"e": "e1", "j": "two", "s": "", "b": BODY},
        "queue:app/mail new-1": {"e": "e1", "j": "mailer", "s": "", "b": BODY},
        "queue:shop/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="4"),
        "event:e1 o": "4",
        "event:e1 r:app/job": run_line("q", "new-1"),
        "event:e1 r:app/two": run_line("q", "new-2"),
        "event:e1 r:app/mailer": run_line("q", "new-1", queue="mail"),
        "event:e1 r:shop/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
        "wake-up:shop": "stream",
        "wake-up:shop new-1": _RUNG,
    }
    batch = [Matched(event, [_JOB, _TWO, _MAIL, _SHOP])]
    return _dispatch(world, batch, Dispatched(1, 4, 0), changes, full="refused")


@case
def several_events(world: World) -> Step:
    """Each event of a batch goes to its own jobs; a wake-up stream that was rung has one element still."""
    world.entry("wake-up:app", "1-0", _RUNG)
    both, one, none = _seed_event(world, "both"), _seed_event(world, "one", "6-0"), _seed_event(world, "none", "7-0")
    changes = {
        "events 5-0": None,
        "events 6-0": None,
        "events 7-0": None,
        "events dispatch w1": "",
        "queue:app/default new-1": {"e": "both", "j": "two", "s": "", "b": BODY},
        "queue:app/default new-2": {"e": "both", "j": "job", "s": "", "b": BODY},
        "queue:app/default new-3": {"e": "one", "j": "job", "s": "", "b": BODY},
        "event:both m": header(runs="2"),
        "event:both o": "2",
        "event:both r:app/two": run_line("q", "new-1"),
        "event:both r:app/job": run_line("q", "new-2"),
        "event:one m": header(runs="1"),
        "event:one r:app/job": run_line("q", "new-3"),
        "event:none m": header(runs="0"),
        "event:none ttl": "<now+2000s>",
        "fading none": "<now+1000s>",
        "wake-up:app 1-0": None,
        "wake-up:app new-1": _RUNG,
    }
    batch = [Matched(both, [_TWO, _JOB]), Matched(one, [_JOB]), Matched(none, [])]
    return _dispatch(world, batch, Dispatched(3, 3, 0), changes, full="refused")


@case
def a_large_body(world: World) -> Step:
    """A body over 8 kB is not copied: each entry's state has its size."""
    event = _seed_event(world, body=LARGE, inline=False)
    state = f"1 0 0 0 {len(LARGE)}"
    changes = _acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": state, "b": ""},
        "queue:app/default new-2": {"e": "e1", "j": "two", "s": state, "b": ""},
        "event:e1 m": header(runs="2"),
        "event:e1 o": "2",
        "event:e1 r:app/job": run_line("q", "new-1"),
        "event:e1 r:app/two": run_line("q", "new-2"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_JOB, _TWO])], Dispatched(1, 2, 0), changes, full="refused")


@case
def the_largest_body_inside(world: World) -> Step:
    """A body of 8 kB is copied."""
    event = _seed_event(world, body=LARGEST_INLINE)
    changes = _acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": LARGEST_INLINE},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def no_match(world: World) -> Step:
    """An event that nothing matches is settled: its record ends after the sender's dedupe."""
    event = _seed_event(world)
    changes = _acknowledged() | {
        "event:e1 m": header(runs="0"),
        "event:e1 ttl": "<now+2000s>",
        "fading e1": "<now+1000s>",
    }
    return _dispatch(world, [Matched(event, [])], Dispatched(1, 0, 0), changes)


@case
def no_match_of_an_id_by_the_client(world: World) -> Step:
    """The record of an event whose id the client made ends with the retention of successes."""
    event = _seed_event(world, kind="c")
    changes = _acknowledged() | {"event:e1 m": header(kind="c", runs="0"), "event:e1 ttl": "<now+1000s>"}
    return _dispatch(world, [Matched(event, [])], Dispatched(1, 0, 0), changes)


@case
def no_match_of_a_derived_id(world: World) -> Step:
    """The record of an event whose id is derived is kept as long as failures are."""
    event = _seed_event(world, kind="d")
    changes = _acknowledged() | {
        "event:e1 m": header(kind="d", runs="0"),
        "event:e1 ttl": "<now+5000s>",
        "fading e1": "<now+1000s>",
    }
    return _dispatch(world, [Matched(event, [])], Dispatched(1, 0, 0), changes)


@case
def no_match_while_someone_waits(world: World) -> Step:
    """Whoever waits for an event that nothing matches hears of it."""
    event = _seed_event(world, waited=True)
    changes = _acknowledged() | {
        "event:e1 m": header(runs="0"),
        "event:e1 ttl": "<now+2000s>",
        "fading e1": "<now+1000s>",
        "published settled:e1": "",
    }
    return _dispatch(world, [Matched(event, [])], Dispatched(1, 0, 0), changes)


@case
def no_match_without_retention(world: World) -> Step:
    """With retention 0 the header alone stays, for dedupe."""
    event = _seed_event(world, kind="c")
    changes = _acknowledged() | {
        "event:e1 m": header(kind="c", runs="0"),
        "event:e1 e": None,
        "event:e1 ttl": "<now+100s>",
    }
    return _dispatch(world, [Matched(event, [])], Dispatched(1, 0, 0), changes, retention=NO_RETENTION)


@case
def stale_routes(world: World) -> Step:
    """Where the routes have changed since they were read, nothing happens."""
    event = _seed_event(world)
    return _dispatch(world, [Matched(event, [_JOB])], RoutesStale(), {}, version="0")


@case
def routes_that_are_gone(world: World) -> Step:
    """Routes without a version have version 0."""
    world.seed("DEL", "routes:version")
    event = _seed_event(world)
    return _dispatch(world, [Matched(event, [_JOB])], RoutesStale(), {})


@case
def an_entry_that_is_not_ours(world: World) -> Step:
    """Whoever acknowledged the entries of an event: it is dispatched once, as its record says that it was not."""
    event = _seed_event(world)
    world.seed("XACK", "events", "dispatch", "5-0")
    gone = EventEntry("4-0", "e1", len(BODY), None)
    batch = [Matched(event, [_JOB]), Matched(gone, [_JOB])]
    changes = {
        "events 5-0": None,
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, batch, Dispatched(1, 1, 0), changes, full="refused")


@case
def a_dispatched_event(world: World) -> Step:
    """An event that was dispatched before is only acknowledged: its record says how many runs it has."""
    event = _seed_event(world, runs="1")
    changes = _acknowledged() | {"wake-up:app new-1": _RUNG}
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(0, 0, 0), changes, full="refused")


@case
def a_dispatched_event_without_contents(world: World) -> Step:
    """An event of which only the header is left, as it was dispatched and has settled, is only acknowledged."""
    event = _seed_event(world, has_record=False)
    world.seed("HSET", "event:e1", "m", header(runs="1"))
    changes = _acknowledged() | {"wake-up:app new-1": _RUNG}
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(0, 0, 0), changes, full="refused")


@case
def a_lost_record(world: World) -> Step:
    """A record that is gone is made again from the entry, and the event dispatched."""
    event = _seed_event(world, has_record=False)
    changes = _acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header("-", delivered=5, runs="1"),
        "event:e1 e": BODY,
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def a_lost_body(world: World) -> Step:
    """A record that has lost its body before the dispatch gets it again from the entry."""
    event = _seed_event(world, has_record=False)
    world.seed("HSET", "event:e1", "m", header())
    changes = _acknowledged() | {
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header("-", delivered=5, runs="1"),
        "event:e1 e": BODY,
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def a_lost_record_of_a_large_event(world: World) -> Step:
    """Where record and body are gone, the entry is acknowledged and told of as lost."""
    event = _seed_event(world, has_record=False, inline=False)
    changes = _acknowledged() | {"wake-up:app new-1": _RUNG}
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(0, 0, 1), changes, full="refused")


@case
def an_expired_record_of_an_entry_that_is_not_ours(world: World) -> Step:
    """An event that another worker has dispatched, and whose record has gone since, is not told of as lost."""
    changes = {"wake-up:app new-1": _RUNG}
    batch = [Matched(EventEntry("5-0", "e1", 8, None), [_JOB])]
    return _dispatch(world, batch, Dispatched(0, 0, 0), changes, full="refused")


@case
def a_lost_entry(world: World) -> Step:
    """An entry that was deleted while it was in hand is dispatched from the record."""
    event = _seed_event(world)
    world.seed("XDEL", "events", "5-0")
    changes: Lines = {
        "events dispatch w1": "",
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def free_first_into_an_empty_queue(world: World) -> Step:
    """On a full server one event goes into queues that are empty, acknowledged first."""
    seed_queue(world, "mail")
    event = _seed_event(world)
    changes = _acknowledged() | {
        "queue:app/mail new-1": {"e": "e1", "j": "mailer", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/mailer": run_line("q", "new-1", queue="mail"),
        "wake-up:app new-1": _RUNG,
    }
    batch = [Matched(event, [_MAIL])]
    return _dispatch(world, batch, Dispatched(1, 1, 0), changes, free_first=True)


@case
def free_first_into_a_queue_with_entries(world: World) -> Step:
    """On a full server nothing goes into a queue that has entries, even if another of the event's is empty."""
    seed_queue(world, "mail")
    event = _seed_event(world)
    return _dispatch(world, [Matched(event, [_MAIL, _JOB])], QueuesFull(), {}, free_first=True)


@case
def free_first_without_a_match(world: World) -> Step:
    """On a full server an event that nothing matches is settled."""
    event = _seed_event(world)
    changes = _acknowledged() | {
        "event:e1 m": header(runs="0"),
        "event:e1 ttl": "<now+2000s>",
        "fading e1": "<now+1000s>",
    }
    return _dispatch(world, [Matched(event, [])], Dispatched(1, 0, 0), changes, free_first=True)


@case
def free_first_with_a_lost_record(world: World) -> Step:
    """On a full server a lost record is made again as well."""
    seed_queue(world, "mail")
    event = _seed_event(world, has_record=False)
    changes = _acknowledged() | {
        "queue:app/mail new-1": {"e": "e1", "j": "mailer", "s": "", "b": BODY},
        "event:e1 m": header("-", delivered=5, runs="1"),
        "event:e1 e": BODY,
        "event:e1 r:app/mailer": run_line("q", "new-1", queue="mail"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_MAIL])], Dispatched(1, 1, 0), changes, free_first=True)


@case
def a_queue_without_a_group(world: World) -> Step:
    """A queue that no worker has made yet gets the run, for the group that will be made at its beginning."""
    event = _seed_event(world)
    changes = _acknowledged() | {
        "queue:shop/default": "stream",
        "queue:shop/default new-1": {"e": "e1", "j": "job", "s": "", "b": BODY},
        "event:e1 m": header(runs="1"),
        "event:e1 r:shop/job": run_line("q", "new-1"),
        "wake-up:shop": "stream",
        "wake-up:shop new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_SHOP])], Dispatched(1, 1, 0), changes, full="refused")


# ordering keys


def _entry(event_id: str, key: str = "user:1") -> dict[str, str]:
    return {"e": event_id, "j": "job", "s": "", "b": BODY, "k": key}


@case
def the_first_of_an_ordering_key(world: World) -> Step:
    """An event whose key is free has left the order, and its runs have their turns and are queued."""
    seed_line(world, "order:user:1", "e1", "e9")
    event = _seed_event(world, ordering_key="user:1")
    changes = _acknowledged() | {
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
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_JOB, _TWO])], Dispatched(1, 2, 0), changes, full="refused")


@case
def several_of_an_ordering_key(world: World) -> Step:
    """The first of a key is queued, the next waits for its turn; another key and an event without one go beside it."""
    seed_line(world, "order:user:1", "e1", "e2")
    seed_line(world, "order:b", "e3")
    events = [
        _seed_event(world, "e1", "5-0", ordering_key="user:1"),
        _seed_event(world, "e2", "6-0", ordering_key="user:1"),
        _seed_event(world, "e3", "7-0", ordering_key="b"),
        _seed_event(world, "e4", "8-0"),
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
        "wake-up:app new-1": _RUNG,
    }
    changes |= {f"event:e{number} m": header(runs="1") for number in (1, 2, 3, 4)}
    batch = [Matched(event, [_JOB]) for event in events]
    return _dispatch(world, batch, Dispatched(4, 4, 0), changes, full="refused")


@case
def behind_a_run_of_the_ordering_key(world: World) -> Step:
    """While a run of the key is open the next one waits for its turn, also on a full server."""
    seed_queue(world, "mail")
    seed_line(world, "line:app/mailer:user:1", "o:6:user:1:mail:e0:app/mailer")
    seed_line(world, "order:user:1", "e1")
    event = _seed_event(world, ordering_key="user:1")
    changes = _acknowledged() | {
        "order:user:1 0": None,
        "line:app/mailer:user:1 1": "o:6:user:1:mail:e1:app/mailer",
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/mailer": run_line("w", "-", queue="mail"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_MAIL])], Dispatched(1, 1, 0), changes, free_first=True)


@case
def behind_an_event_in_other_hands(world: World) -> Step:
    """An event of a key does not overtake one that is not dispatched yet, and the batch stays as it is."""
    seed_line(world, "order:user:1", "e1", "e2")
    world.entry("events", "4-0", {"i": "e1", "z": 8, "b": BODY, "k": "user:1"})
    seed_record(world, "e1", fields={"k": "user:1"})
    batch = [
        Matched(_seed_event(world, "e3", "5-0"), [_JOB]),
        Matched(_seed_event(world, "e2", "6-0", ordering_key="user:1"), [_JOB]),
    ]
    return _dispatch(world, batch, EventsBehind([1]), {})


@case
def an_event_out_of_other_hands(world: World) -> Step:
    """What is first of a key can be dispatched without its entry, whose holder will find it dispatched."""
    seed_line(world, "order:user:1", "e1", "e2")
    world.entry("events", "4-0", {"i": "e1", "z": 8, "b": BODY, "k": "user:1"})
    seed_record(world, "e1", fields={"k": "user:1"})
    batch = [
        Matched(EventEntry("0-0", "e1", 8, None, "user:1"), [_JOB]),
        Matched(_seed_event(world, "e2", ordering_key="user:1"), []),
    ]
    changes = _acknowledged() | {
        "order:user:1 0": None,
        "order:user:1 1": None,
        f"{TURNS} 0": turn("e1"),
        "queue:app/default new-1": _entry("e1"),
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "event:e2 m": header(runs="0"),
        "event:e2 ttl": "<now+2000s>",
        "fading e2": "<now+1000s>",
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, batch, Dispatched(2, 1, 0), changes, full="refused")


@case
def an_event_of_an_ordering_key_twice(world: World) -> Step:
    """An event that was read from other hands, and whose entry has come meanwhile, is not behind itself."""
    seed_line(world, "order:user:1", "e1")
    event = _seed_event(world, ordering_key="user:1")
    changes = _acknowledged() | {
        "order:user:1 0": None,
        f"{TURNS} 0": turn("e1"),
        "queue:app/default new-1": _entry("e1"),
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    batch = [Matched(EventEntry("0-0", "e1", 8, None, "user:1"), [_JOB]), Matched(event, [_JOB])]
    return _dispatch(world, batch, Dispatched(1, 1, 0), changes, full="refused")


@case
def a_dispatched_event_with_an_ordering_key(world: World) -> Step:
    """An event that was dispatched out of our hands is only acknowledged."""
    seed_line(world, "order:user:1", "e2")
    event = _seed_event(world, runs="1", ordering_key="user:1")
    changes = _acknowledged() | {"wake-up:app new-1": _RUNG}
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(0, 0, 0), changes, full="refused")


@case
def a_dispatched_event_that_its_order_lists(world: World) -> Step:
    """An event that was set aside while it stood in its order leaves it, and the next one goes."""
    seed_line(world, "order:user:1", "e1", "e2")
    seed_record(world, "e1", runs="0", fields={"k": "user:1"})
    event = _seed_event(world, "e2", ordering_key="user:1")
    changes = _acknowledged() | {
        "order:user:1 0": None,
        "order:user:1 1": None,
        f"{TURNS} 0": turn("e2"),
        "queue:app/default new-1": _entry("e2"),
        "event:e2 m": header(runs="1"),
        "event:e2 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    batch = [Matched(EventEntry("0-0", "e1", 8, None, "user:1"), [_JOB]), Matched(event, [_JOB])]
    return _dispatch(world, batch, Dispatched(1, 1, 0), changes, full="refused")


@case
def an_event_that_its_order_does_not_list(world: World) -> Step:
    """An event that left its order, as someone could not read it, waits for no other, and still for its turn."""
    seed_line(world, "order:user:1", "e0")
    seed_line(world, TURNS, turn("e9"))
    event = _seed_event(world, ordering_key="user:1")
    changes = _acknowledged() | {
        f"{TURNS} 1": turn("e1"),
        "event:e1 m": header(runs="1"),
        "event:e1 r:app/job": run_line("w", "-"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(1, 1, 0), changes, full="refused")


@case
def a_lost_event_with_an_ordering_key(world: World) -> Step:
    """An event of which nothing is left leaves the order of its key, and the next one goes."""
    seed_line(world, "order:user:1", "e1", "e2")
    lost = _seed_event(world, has_record=False, inline=False, ordering_key="user:1")
    event = _seed_event(world, "e2", "6-0", ordering_key="user:1")
    changes = _acknowledged() | {
        "events 6-0": None,
        "order:user:1 0": None,
        "order:user:1 1": None,
        f"{TURNS} 0": turn("e2"),
        "queue:app/default new-1": _entry("e2"),
        "event:e2 m": header(runs="1"),
        "event:e2 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(
        world, [Matched(lost, [_JOB]), Matched(event, [_JOB])], Dispatched(1, 1, 1), changes, full="refused"
    )


@case
def a_lost_record_with_an_ordering_key(world: World) -> Step:
    """A record that is made again from the entry has the key again."""
    seed_line(world, "order:user:1", "e1")
    event = _seed_event(world, has_record=False, ordering_key="user:1")
    changes = _acknowledged() | {
        "order:user:1 0": None,
        f"{TURNS} 0": turn("e1"),
        "queue:app/default new-1": _entry("e1"),
        "event:e1 m": header("-", delivered=5, runs="1"),
        "event:e1 e": BODY,
        "event:e1 k": "user:1",
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": _RUNG,
    }
    return _dispatch(world, [Matched(event, [_JOB])], Dispatched(1, 1, 0), changes, full="refused")
