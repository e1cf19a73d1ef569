"""What `dead_letter` must give and change."""

from __future__ import annotations

from headrace import Retention, RunError
from headrace.formats.codec import encode_outcome
from headrace_worker.protocol import reading, settling
from headrace_worker.protocol.delivery import Stream
from headrace_worker.protocol.settling import BadEntry
from tests.scripts.cases.case import (
    BODY,
    FUTURE,
    LARGE,
    NO_RETENTION,
    RETENTION,
    TURNS,
    Step,
    case,
    header,
    queue,
    run_line,
    seed_entry,
    seed_line,
    seed_record,
    seed_run,
    turn,
)
from tests.scripts.state import NOW, Changes, World

_WHY = {"reason": "unreadable", "error": "no event"}
_OUTCOME = encode_outcome(RunError("Unreadable", "no event"), None).decode("utf-8", "backslashreplace")
_RAW = {"raw.e": "e1", "raw.j": "job", "raw.s": "damaged", "raw.b": BODY}
_IN_5000_S = "<now+5000s>"


def _dead_letter(
    world: World,
    stream: Stream,
    gives: int,
    changes: Changes,
    *,
    named: bool = False,
    retention: Retention = RETENTION,
) -> Step:
    bad = BadEntry("5-0", "unreadable", "no event")
    if named:
        bad = BadEntry("5-0", "unreadable", "no event", "e1", "job" if stream.app else "")
    return Step(settling.dead_letter(world.keys, stream, bad, retention), gives, changes)


@case
def an_entry_of_a_queue(world: World) -> Step:
    """An entry is out of its queue and in `dead` as it was, with the reason; a record that it does not name stays."""
    seed_record(world, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_entry(world, "5-0", "e1", state="damaged")
    changes: Changes = {
        "queue:app/default 5-0": None,
        "queue:app/default workers w1": "",
        "dead new-1": _WHY | _RAW,
    }
    return _dead_letter(world, queue(world), 1, changes)


def _ended(status: str = "f", state: str = "1 0 0 0") -> Changes:
    return {
        "queue:app/default 5-0": None,
        "queue:app/default workers w1": "",
        "dead new-1": {"reason": "unreadable", "error": _OUTCOME, "run": "e1:app/job"} | _RAW,
        "event:e1 r:app/job": run_line(status, "new-1", state=state, finished=NOW, outcome=_OUTCOME),
        "event:e1 ttl": _IN_5000_S,
        "runs new-1": {"e1:app/job": "f"},
    }


@case
def the_entry_of_a_run(world: World) -> Step:
    """The run whose entry it is has failed for good, and its record ends as after any failure."""
    seed_record(world, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_entry(world, "5-0", "e1", state="damaged")
    return _dead_letter(world, queue(world), 1, _ended(), named=True)


@case
def the_entry_of_a_run_that_executes(world: World) -> Step:
    """Its attempt and its lost workers stay what they were, and who waits for the event hears of its end."""
    line = run_line("x", "5-0", state="2 1 0 0", worker="w1", started=FUTURE)
    seed_record(world, "e1", runs="1", fields={"r:app/job": line, "w": 1})
    seed_entry(world, "5-0", "e1", state="damaged")
    changes = {**_ended(state="2 1 0 0"), "published settled:e1": ""}
    return _dead_letter(world, queue(world), 1, changes, named=True)


@case
def the_entry_of_one_of_several_runs(world: World) -> Step:
    """Where others are open the record goes on, and knows that one has failed."""
    seed_record(world, "e1", runs="2", fields={"r:app/job": run_line("q", "5-0"), "o": 2})
    seed_entry(world, "5-0", "e1", state="damaged")
    changes = {line: fact for line, fact in _ended().items() if line != "event:e1 ttl"}
    return _dead_letter(world, queue(world), 1, {**changes, "event:e1 o": "1", "event:e1 f": "1"}, named=True)


@case
def without_retention(world: World) -> Step:
    """Where failures are not kept the record's contents go with it."""
    seed_record(world, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_entry(world, "5-0", "e1", state="damaged")
    gone: Changes = {"event:e1 e": None, "event:e1 r:app/job": None, "event:e1 ttl": "<now+2000s>"}
    return _dead_letter(world, queue(world), 1, {**_ended(), **gone}, named=True, retention=NO_RETENTION)


def _moved(raw: dict[str, str]) -> Changes:
    return {"queue:app/default 5-0": None, "queue:app/default workers w1": "", "dead new-1": _WHY | raw}


@case
def an_entry_that_its_run_does_not_name(world: World) -> Step:
    """A foreign entry that names a run which has another entry ends no run."""
    seed_record(world, "e1", runs="1", fields={"r:app/job": run_line("q", "4-0")})
    seed_entry(world, "5-0", "e1", state="damaged")
    return _dead_letter(world, queue(world), 1, _moved(_RAW), named=True)


@case
def the_entry_of_a_run_that_has_ended(world: World) -> Step:
    """A run that has ended does not end again."""
    seed_record(world, "e1", runs="1", fields={"r:app/job": run_line("s", "5-0")})
    seed_entry(world, "5-0", "e1", state="damaged")
    return _dead_letter(world, queue(world), 1, _moved(_RAW), named=True)


@case
def an_entry_that_names_no_record(world: World) -> Step:
    """An entry of an event that is not known makes no record."""
    seed_entry(world, "5-0", "e1", state="damaged")
    return _dead_letter(world, queue(world), 1, _moved(_RAW), named=True)


def _of_events(world: World, size: int, body: str) -> Changes:
    world.entry("events", "5-0", {"i": "e1", "z": size, "b": body})
    world.hold("events", "dispatch", "w1", "5-0")
    raw = {"raw.i": "e1", "raw.z": str(size), "raw.b": body}
    return {"events 5-0": None, "events dispatch w1": "", "dead new-1": _WHY | raw}


@case
def the_entry_of_an_event(world: World) -> Step:
    """An event that can't be dispatched has no runs, and its record ends as after a failure."""
    seed_record(world, "e1")
    changes = {**_of_events(world, 8, BODY), "event:e1 m": header(runs="0"), "event:e1 ttl": _IN_5000_S}
    return _dead_letter(world, reading.events_stream(world.keys), 1, changes, named=True)


@case
def the_entry_of_an_event_with_a_large_body(world: World) -> Step:
    """So it is where the body is only in the record."""
    seed_record(world, "e1", body=LARGE)
    changes = {**_of_events(world, len(LARGE), ""), "event:e1 m": header(runs="0"), "event:e1 ttl": _IN_5000_S}
    return _dead_letter(world, reading.events_stream(world.keys), 1, changes, named=True)


@case
def an_entry_that_is_not_its_events(world: World) -> Step:
    """A foreign entry that names an event with another body does not end it."""
    seed_record(world, "e1")
    return _dead_letter(world, reading.events_stream(world.keys), 1, _of_events(world, 5, "other"), named=True)


@case
def an_entry_of_an_event_that_is_delayed(world: World) -> Step:
    """An event that is yet to be delivered is none that an entry could have been for."""
    seed_record(world, "e1", due=FUTURE, delivered=0)
    world.seed("ZADD", "due", FUTURE, "e:e1")
    return _dead_letter(world, reading.events_stream(world.keys), 1, _of_events(world, 8, BODY), named=True)


@case
def an_entry_of_an_event_that_was_dispatched(world: World) -> Step:
    """An event that has runs keeps them."""
    seed_record(world, "e1", runs="1", fields={"r:app/job": run_line("q", "4-0")})
    return _dead_letter(world, reading.events_stream(world.keys), 1, _of_events(world, 8, BODY), named=True)


@case
def an_entry_of_events(world: World) -> Step:
    """An entry of `events` that another program wrote is in `dead` as it was."""
    world.entry("events", "5-0", {"reason": "theirs", "run": "theirs"})
    world.hold("events", "dispatch", "w1", "5-0")
    changes: Changes = {
        "events 5-0": None,
        "events dispatch w1": "",
        "dead new-1": _WHY | {"raw.reason": "theirs", "raw.run": "theirs"},
    }
    return _dead_letter(world, reading.events_stream(world.keys), 1, changes)


@case
def a_deleted_entry(world: World) -> Step:
    """Of an entry that was deleted while it was in hand the reason is in `dead`."""
    seed_run(world, "5-0", "e1")
    world.seed("XDEL", "queue:app/default", "5-0")
    changes: Changes = {"queue:app/default workers w1": "", "dead new-1": _WHY}
    return _dead_letter(world, queue(world), 1, changes)


@case
def an_entry_that_is_not_ours(world: World) -> Step:
    """An entry that is in nobody's hands stays where it is."""
    seed_run(world, "5-0", "e1", worker=None)
    return _dead_letter(world, queue(world), 0, {})


@case
def an_unknown_entry(world: World) -> Step:
    """An entry that is not there is not in `dead` either."""
    return _dead_letter(world, queue(world), 0, {})


@case
def retention_beyond_1970(world: World) -> Step:
    """A retention longer than the time since 1970 keeps every dead letter."""
    seed_run(world, "5-0", "e1")
    world.seed("XDEL", "queue:app/default", "5-0")
    changes: Changes = {"queue:app/default workers w1": "", "dead new-1": _WHY}
    return _dead_letter(world, queue(world), 1, changes, retention=Retention(failure=100 * 366 * 86_400))


@case
def a_run_with_an_ordering_key(world: World) -> Step:
    """A run that can't be handled passes the turn of its key on."""
    seed_line(world, TURNS, turn("e1"), turn("e2"))
    seed_entry(world, "5-0", "e1", ordering_key="user:1")
    bad = BadEntry("5-0", "unreadable", "no event", "e1", "job", "user:1")
    raw = {"raw.e": "e1", "raw.j": "job", "raw.s": "", "raw.b": BODY, "raw.k": "user:1"}
    changes: Changes = {
        "queue:app/default 5-0": None,
        "queue:app/default workers w1": "",
        "dead new-1": _WHY | raw,
        f"{TURNS} 0": turn("e2"),
        f"{TURNS} 1": None,
        f"due {turn('e2')}": NOW,
        "wake 0": "1",
    }
    return Step(settling.dead_letter(world.keys, queue(world), bad, RETENTION), 1, changes)


def _of_the_order(world: World) -> tuple[BadEntry, Changes]:
    """An event of a key is behind another in its order; returns its dead letter, and what that changes."""
    seed_line(world, "order:user:1", "e0", "e1", "e2")
    entry = {"i": "e1", "z": "8", "b": BODY, "k": "user:1"}
    world.entry("events", "5-0", entry)
    world.hold("events", "dispatch", "w1", "5-0")
    raw = {f"raw.{field}": value for field, value in entry.items()}
    gone: Changes = {"events 5-0": None, "events dispatch w1": "", "dead new-1": _WHY | raw}
    return BadEntry("5-0", "unreadable", "no event", "e1", ordering_key="user:1"), gone


@case
def an_event_with_an_ordering_key(world: World) -> Step:
    """An event that can't be dispatched is not in the order of its key any more, so that those behind it go on."""
    seed_record(world, "e1", fields={"k": "user:1"})
    bad, gone = _of_the_order(world)
    changes = {**gone, "event:e1 m": header(runs="0"), "event:e1 ttl": _IN_5000_S}
    left: Changes = {"order:user:1 1": "e2", "order:user:1 2": None}
    return Step(
        settling.dead_letter(world.keys, reading.events_stream(world.keys), bad, RETENTION), 1, {**changes, **left}
    )


@case
def an_event_with_an_ordering_key_that_is_not_ours(world: World) -> Step:
    """An event whose entry is in nobody's hands any more keeps its place."""
    bad, _ = _of_the_order(world)
    world.seed("XACK", "events", "dispatch", "5-0")
    return Step(settling.dead_letter(world.keys, reading.events_stream(world.keys), bad, RETENTION), 0, {})


@case
def an_entry_of_events_with_an_ordering_key_alone(world: World) -> Step:
    """An entry that names a key and no event leaves the order of that key as it is."""
    seed_line(world, "order:user:1", "e0")
    world.entry("events", "5-0", {"k": "user:1"})
    world.hold("events", "dispatch", "w1", "5-0")
    bad = BadEntry("5-0", "unreadable", "no event", ordering_key="user:1")
    changes: Changes = {"events 5-0": None, "events dispatch w1": "", "dead new-1": _WHY | {"raw.k": "user:1"}}
    return Step(settling.dead_letter(world.keys, reading.events_stream(world.keys), bad, RETENTION), 1, changes)
