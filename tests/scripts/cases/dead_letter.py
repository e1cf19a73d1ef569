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
from tests.scripts.state import NOW, Changes, Keyspace

_WHY = {"reason": "unreadable", "error": "no event"}
_OUTCOME = encode_outcome(RunError("Unreadable", "no event"), None).decode("utf-8", "backslashreplace")
_RAW = {"raw.e": "e1", "raw.j": "job", "raw.s": "damaged", "raw.b": BODY}
_IN_5000_S = "<now+5000s>"


def _dead_letter(
    keyspace: Keyspace,
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
    return Step(settling.dead_letter(keyspace.keys, stream, bad, retention), gives, changes)


@case
def an_entry_of_a_queue(keyspace: Keyspace) -> Step:
    """An entry is out of its queue and in `dead` as it was, with the reason; a record that it does not name stays."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_entry(keyspace, "5-0", "e1", state="damaged")
    changes: Changes = {
        "queue:app/default 5-0": None,
        "queue:app/default workers w1": "",
        "dead new-1": _WHY | _RAW,
    }
    return _dead_letter(keyspace, queue(keyspace), 1, changes)


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
def the_entry_of_a_run(keyspace: Keyspace) -> Step:
    """The run whose entry it is has failed for good, and its record ends as after any failure."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_entry(keyspace, "5-0", "e1", state="damaged")
    return _dead_letter(keyspace, queue(keyspace), 1, _ended(), named=True)


@case
def the_entry_of_a_run_that_executes(keyspace: Keyspace) -> Step:
    """Its attempt and its lost workers stay, and a client that waits for the event receives its end."""
    line = run_line("x", "5-0", state="2 1 0 0", worker="w1", started=FUTURE)
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": line, "w": 1})
    seed_entry(keyspace, "5-0", "e1", state="damaged")
    changes = {**_ended(state="2 1 0 0"), "published settled:e1": ""}
    return _dead_letter(keyspace, queue(keyspace), 1, changes, named=True)


@case
def the_entry_of_one_of_several_runs(keyspace: Keyspace) -> Step:
    """Where others are open the record goes on, and knows that one has failed."""
    seed_record(keyspace, "e1", runs="2", fields={"r:app/job": run_line("q", "5-0"), "o": 2})
    seed_entry(keyspace, "5-0", "e1", state="damaged")
    changes = {line: fact for line, fact in _ended().items() if line != "event:e1 ttl"}
    return _dead_letter(keyspace, queue(keyspace), 1, {**changes, "event:e1 o": "1", "event:e1 f": "1"}, named=True)


@case
def without_retention(keyspace: Keyspace) -> Step:
    """Where failures are not kept the record's contents go with it."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_entry(keyspace, "5-0", "e1", state="damaged")
    gone: Changes = {"event:e1 e": None, "event:e1 r:app/job": None, "event:e1 ttl": "<now+2000s>"}
    return _dead_letter(keyspace, queue(keyspace), 1, {**_ended(), **gone}, named=True, retention=NO_RETENTION)


def _set_aside(raw: dict[str, str]) -> Changes:
    return {"queue:app/default 5-0": None, "queue:app/default workers w1": "", "dead new-1": _WHY | raw}


@case
def an_entry_that_its_run_does_not_name(keyspace: Keyspace) -> Step:
    """A foreign entry that names a run which has another entry ends no run."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "4-0")})
    seed_entry(keyspace, "5-0", "e1", state="damaged")
    return _dead_letter(keyspace, queue(keyspace), 1, _set_aside(_RAW), named=True)


@case
def the_entry_of_a_run_that_has_ended(keyspace: Keyspace) -> Step:
    """A run that has ended does not end again."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("s", "5-0")})
    seed_entry(keyspace, "5-0", "e1", state="damaged")
    return _dead_letter(keyspace, queue(keyspace), 1, _set_aside(_RAW), named=True)


@case
def an_entry_that_names_no_record(keyspace: Keyspace) -> Step:
    """An entry of an event that is not known makes no record."""
    seed_entry(keyspace, "5-0", "e1", state="damaged")
    return _dead_letter(keyspace, queue(keyspace), 1, _set_aside(_RAW), named=True)


def _of_events(keyspace: Keyspace, size: int, body: str) -> Changes:
    keyspace.entry("events", "5-0", {"i": "e1", "z": size, "b": body})
    keyspace.hold("events", "dispatch", "w1", "5-0")
    raw = {"raw.i": "e1", "raw.z": str(size), "raw.b": body}
    return {"events 5-0": None, "events dispatch w1": "", "dead new-1": _WHY | raw}


@case
def the_entry_of_an_event(keyspace: Keyspace) -> Step:
    """An event that can't be dispatched has no runs, and its record ends as after a failure."""
    seed_record(keyspace, "e1")
    changes = {**_of_events(keyspace, 8, BODY), "event:e1 m": header(runs="0"), "event:e1 ttl": _IN_5000_S}
    return _dead_letter(keyspace, reading.events_stream(keyspace.keys), 1, changes, named=True)


@case
def the_entry_of_an_event_with_a_large_body(keyspace: Keyspace) -> Step:
    """So it is where the body is only in the record."""
    seed_record(keyspace, "e1", body=LARGE)
    changes = {**_of_events(keyspace, len(LARGE), ""), "event:e1 m": header(runs="0"), "event:e1 ttl": _IN_5000_S}
    return _dead_letter(keyspace, reading.events_stream(keyspace.keys), 1, changes, named=True)


@case
def an_entry_that_is_not_its_events(keyspace: Keyspace) -> Step:
    """A foreign entry that names an event with another body does not end it."""
    seed_record(keyspace, "e1")
    changes = _of_events(keyspace, 5, "other")
    return _dead_letter(keyspace, reading.events_stream(keyspace.keys), 1, changes, named=True)


@case
def an_entry_of_an_event_that_is_delayed(keyspace: Keyspace) -> Step:
    """An event that is yet to be delivered is none that an entry could have been for."""
    seed_record(keyspace, "e1", due=FUTURE, delivered=0)
    keyspace.seed("ZADD", "due", FUTURE, "e:e1")
    return _dead_letter(keyspace, reading.events_stream(keyspace.keys), 1, _of_events(keyspace, 8, BODY), named=True)


@case
def an_entry_of_an_event_that_was_dispatched(keyspace: Keyspace) -> Step:
    """An event that has runs keeps them."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "4-0")})
    return _dead_letter(keyspace, reading.events_stream(keyspace.keys), 1, _of_events(keyspace, 8, BODY), named=True)


@case
def an_entry_of_events(keyspace: Keyspace) -> Step:
    """An entry of `events` that another program wrote is in `dead` as it was."""
    keyspace.entry("events", "5-0", {"reason": "theirs", "run": "theirs"})
    keyspace.hold("events", "dispatch", "w1", "5-0")
    changes: Changes = {
        "events 5-0": None,
        "events dispatch w1": "",
        "dead new-1": _WHY | {"raw.reason": "theirs", "raw.run": "theirs"},
    }
    return _dead_letter(keyspace, reading.events_stream(keyspace.keys), 1, changes)


@case
def the_entry_of_a_canceled_run(keyspace: Keyspace) -> Step:
    """The entry of a run that was canceled while a worker had it is no dead letter; it is not pending any more."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("c", "5-0", worker="w1")})
    seed_entry(keyspace, "5-0", "e1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    return _dead_letter(keyspace, queue(keyspace), 0, {"queue:app/default workers w1": ""}, named=True)


@case
def a_deleted_entry(keyspace: Keyspace) -> Step:
    """The dead letter of an entry that was deleted while pending has the reason."""
    seed_run(keyspace, "5-0", "e1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    changes: Changes = {"queue:app/default workers w1": "", "dead new-1": _WHY}
    return _dead_letter(keyspace, queue(keyspace), 1, changes)


@case
def an_entry_that_is_not_ours(keyspace: Keyspace) -> Step:
    """An entry that is not pending stays where it is."""
    seed_run(keyspace, "5-0", "e1", worker=None)
    return _dead_letter(keyspace, queue(keyspace), 0, {})


@case
def an_unknown_entry(keyspace: Keyspace) -> Step:
    """An entry that is not there is not in `dead` either."""
    return _dead_letter(keyspace, queue(keyspace), 0, {})


@case
def retention_beyond_1970(keyspace: Keyspace) -> Step:
    """A retention longer than the time since 1970 keeps every dead letter."""
    seed_run(keyspace, "5-0", "e1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    changes: Changes = {"queue:app/default workers w1": "", "dead new-1": _WHY}
    return _dead_letter(keyspace, queue(keyspace), 1, changes, retention=Retention(failure=100 * 366 * 86_400))


@case
def a_run_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """A run that can't be handled passes the turn of its key on."""
    seed_line(keyspace, TURNS, turn("e1"), turn("e2"))
    seed_entry(keyspace, "5-0", "e1", ordering_key="user:1")
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
    return Step(settling.dead_letter(keyspace.keys, queue(keyspace), bad, RETENTION), 1, changes)


def _of_the_order(keyspace: Keyspace) -> tuple[BadEntry, Changes]:
    """Seed an event of a key behind another in its order; return its bad entry, and what the call changes."""
    seed_line(keyspace, "order:user:1", "e0", "e1", "e2")
    entry = {"i": "e1", "z": "8", "b": BODY, "k": "user:1"}
    keyspace.entry("events", "5-0", entry)
    keyspace.hold("events", "dispatch", "w1", "5-0")
    raw = {f"raw.{field}": value for field, value in entry.items()}
    gone: Changes = {"events 5-0": None, "events dispatch w1": "", "dead new-1": _WHY | raw}
    return BadEntry("5-0", "unreadable", "no event", "e1", ordering_key="user:1"), gone


@case
def an_event_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """An event that can't be dispatched is not in the order of its key any more, so that those behind it go on."""
    seed_record(keyspace, "e1", fields={"k": "user:1"})
    bad, gone = _of_the_order(keyspace)
    changes = {**gone, "event:e1 m": header(runs="0"), "event:e1 ttl": _IN_5000_S}
    left: Changes = {"order:user:1 1": "e2", "order:user:1 2": None}
    return Step(
        settling.dead_letter(keyspace.keys, reading.events_stream(keyspace.keys), bad, RETENTION),
        1,
        {**changes, **left},
    )


@case
def an_event_with_an_ordering_key_that_is_not_ours(keyspace: Keyspace) -> Step:
    """An event whose entry is not pending any more keeps its place."""
    bad, _ = _of_the_order(keyspace)
    keyspace.seed("XACK", "events", "dispatch", "5-0")
    return Step(settling.dead_letter(keyspace.keys, reading.events_stream(keyspace.keys), bad, RETENTION), 0, {})


@case
def an_entry_of_events_with_an_ordering_key_alone(keyspace: Keyspace) -> Step:
    """An entry that names a key and no event leaves the order of that key as it is."""
    seed_line(keyspace, "order:user:1", "e0")
    keyspace.entry("events", "5-0", {"k": "user:1"})
    keyspace.hold("events", "dispatch", "w1", "5-0")
    bad = BadEntry("5-0", "unreadable", "no event", ordering_key="user:1")
    changes: Changes = {"events 5-0": None, "events dispatch w1": "", "dead new-1": _WHY | {"raw.k": "user:1"}}
    return Step(settling.dead_letter(keyspace.keys, reading.events_stream(keyspace.keys), bad, RETENTION), 1, changes)
