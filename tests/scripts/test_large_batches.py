"""No batch is too large for a script: what Lua's stack can't take at once is taken in parts."""

from __future__ import annotations

import pytest

from headrace.calls import sending
from headrace_worker.app.routes import Route
from headrace_worker.protocol import dispatching, due, reading, rescuing, settling
from headrace_worker.protocol.delivery import Delivery, EventEntry
from headrace_worker.protocol.dispatching import Dispatched, Matched
from headrace_worker.protocol.due import Promoted
from headrace_worker.protocol.rescuing import PendingEntry
from headrace_worker.protocol.settling import BadEntry, Recorded, Retried, Settled
from tests.scripts.cases.case import (
    BODY,
    PAST,
    RETENTION,
    Lines,
    delivery,
    header,
    queue,
    run_line,
    seed_entry,
    seed_record,
)
from tests.scripts.cases.send.events import outgoing
from tests.scripts.state import NOW, Keyspace, expected

pytestmark = pytest.mark.leaves_records

_MANY = 3_000
_LISTED = 20
"""How many ids an entry of a listing has at most."""
_JOBS = [f"j{number}" for number in range(1, _MANY + 1)]


def _seed_runs(keyspace: Keyspace) -> list[Delivery]:
    """Seed an event with many runs, all pending under w1; their entries are 1-1, 1-2 and so on."""
    fields: dict[str, str | int] = {f"r:app/{job}": run_line("q", f"1-{n}") for n, job in enumerate(_JOBS, 1)}
    seed_record(keyspace, "e1", kind="c", runs=str(_MANY), fields={"o": _MANY, **fields})
    for number, job in enumerate(_JOBS, 1):
        seed_entry(keyspace, f"1-{number}", "e1", job=job, worker=None)
    keyspace.hold("queue:app/default", "workers", "w1", *(f"1-{number}" for number in range(1, _MANY + 1)))
    return [delivery(keyspace, f"1-{number}", "e1", job=job) for number, job in enumerate(_JOBS, 1)]


def _emptied() -> Lines:
    gone: Lines = {f"queue:app/default 1-{number}": None for number in range(1, _MANY + 1)}
    return gone | {"queue:app/default workers w1": ""}


def test_one_event_for_many_jobs(keyspace: Keyspace) -> None:
    """An event that thousands of jobs match has a run of each."""
    seed_record(keyspace, "e1")
    keyspace.entry("events", "5-0", {"i": "e1", "z": 8, "b": BODY})
    keyspace.hold("events", "dispatch", "w1", "5-0")
    routes = [Route(f"app/{job}", "app", "default") for job in _JOBS]
    batch = [Matched(EventEntry("5-0", "e1", 8, None), routes)]
    ran = keyspace.run(dispatching.dispatch(keyspace.keys, batch, "1", RETENTION))
    assert ran.gave == expected(Dispatched(1, _MANY, 0))
    changes: Lines = {
        "events 5-0": None,
        "events dispatch w1": "",
        "event:e1 m": header(runs=str(_MANY)),
        "event:e1 o": str(_MANY),
        "wake-up:app new-1": {"r": ""},
    }
    for number, job in enumerate(_JOBS, 1):
        changes[f"queue:app/default new-{number}"] = {"e": "e1", "j": job, "s": "", "b": BODY}
        changes[f"event:e1 r:app/{job}"] = run_line("q", f"new-{number}")
    assert ran.changes == changes


def test_many_events(keyspace: Keyspace) -> None:
    """Thousands of events are dispatched in one call."""
    ids = [f"e{number}" for number in range(1, _MANY + 1)]
    for number, event_id in enumerate(ids, 1):
        seed_record(keyspace, event_id)
        keyspace.entry("events", f"2-{number}", {"i": event_id, "z": 8, "b": BODY})
    entries = [f"2-{number}" for number in range(1, _MANY + 1)]
    keyspace.hold("events", "dispatch", "w1", *entries)
    route = Route("app/job", "app", "default")
    batch = [Matched(EventEntry(entry, each, 8, None), [route]) for entry, each in zip(entries, ids, strict=True)]
    ran = keyspace.run(dispatching.dispatch(keyspace.keys, batch, "1", RETENTION))
    assert ran.gave == expected(Dispatched(_MANY, _MANY, 0))
    assert ran.changes["events dispatch w1"] == ""
    assert sum(line.startswith("queue:app/default new-") for line in ran.changes) == _MANY
    assert sum(fact is None for fact in ran.changes.values()) == _MANY


def test_many_settled_runs(keyspace: Keyspace) -> None:
    """Thousands of runs settle in one call, the last of which closes their event."""
    runs = [Settled(run, "s", 0, "", b"") for run in _seed_runs(keyspace)]
    ran = keyspace.run(settling.settle(keyspace.keys, "w1", runs, RETENTION))
    assert ran.gave == expected(Recorded([]))
    changes = _emptied() | {"event:e1 o": "0", "event:e1 ttl": "<now+1000s>"}
    for first in range(0, len(_JOBS), _LISTED):
        listed = dict.fromkeys((f"e1:app/{job}" for job in _JOBS[first : first + _LISTED]), "s")
        changes[f"runs new-{first // _LISTED + 1}"] = listed
    for number, job in enumerate(_JOBS, 1):
        changes[f"event:e1 r:app/{job}"] = run_line("s", f"1-{number}", worker="w1", started=NOW, finished=NOW)
    assert ran.changes == changes


def test_many_retried_runs(keyspace: Keyspace) -> None:
    """Thousands of runs begin to wait in one call."""
    runs = [Retried(run, "2 0 0 0", 0, 60_000, b"") for run in _seed_runs(keyspace)]
    ran = keyspace.run(settling.retry(keyspace.keys, "w1", runs))
    assert ran.gave == expected(Recorded([]))
    changes = _emptied() | {"wake 0": "1"}
    for job in _JOBS:
        changes[f"event:e1 r:app/{job}"] = run_line("w", "-", state="2 0 0 0", worker="w1", started=NOW)
        changes[f"due r:default:e1:app/{job}"] = "<now+60s>"
    assert ran.changes == changes


@pytest.mark.parametrize("lost", [0, 1])
def test_many_runs_put_back(keyspace: Keyspace, lost: int) -> None:
    """Thousands of entries are back in one call, released or rescued."""
    held = [PendingEntry(run.entry, keyspace.keys.event("e1"), run.job) for run in _seed_runs(keyspace)]
    back = queue(keyspace)
    rescue = rescuing.rescue(keyspace.keys, "w1", back, held, dead=True, look_again_ms=20_000, app="app")
    ran = keyspace.run(rescue if lost else rescuing.release(back, held))
    assert ran.gave == _MANY
    changes = _emptied() | {"wake-up:app new-1": {"r": ""}}
    if lost:
        changes |= {"worker:w1 fenced": NOW, "workers w1": "<now+20s>"}
    for number, job in enumerate(_JOBS, 1):
        entry = {"e": "e1", "j": job, "s": f"1 {lost} 0 0 0", "b": BODY}
        changes[f"queue:app/default new-{number}"] = entry
        changes[f"event:e1 r:app/{job}"] = run_line("q", f"new-{number}", state=f"1 {lost} 0 0")
        if lost:
            changes[f"event:e1 a:app/{job}"] = "1 lost w1 0 <now> -"
    assert ran.changes == changes


def test_many_due_runs(keyspace: Keyspace) -> None:
    """Thousands of members are promoted in one call."""
    fields: dict[str, str | int] = {f"r:app/{job}": run_line("w", "-", state="2 0 0 0") for job in _JOBS}
    seed_record(keyspace, "e1", runs=str(_MANY), fields={"o": _MANY, **fields})
    members = [f"r:default:e1:app/{job}" for job in _JOBS]
    for member in members:
        keyspace.seed("ZADD", "due", PAST, member)
    ran = keyspace.run(due.promote(keyspace.keys, members, 0))
    assert ran.gave == expected(Promoted(NOW, _MANY, 0, [], []))
    changes: Lines = {f"due {member}": None for member in members}
    changes["wake-up:app new-1"] = {"r": ""}
    for number, job in enumerate(_JOBS, 1):
        changes[f"queue:app/default new-{number}"] = {"e": "e1", "j": job, "s": "2 0 0 0 8", "b": BODY}
        changes[f"event:e1 r:app/{job}"] = run_line("q", f"new-{number}", state="2 0 0 0")
    assert ran.changes == changes


def test_many_taken_runs(keyspace: Keyspace) -> None:
    """Thousands of runs are taken in one call."""
    for number, job in enumerate(_JOBS, 1):
        seed_entry(keyspace, f"1-{number}", "e1", job=job, worker=None)
    ran = keyspace.run(reading.take(keyspace.keys, "w1", [reading.Share(queue(keyspace), _MANY + 1)], _MANY + 1))
    ((_, entries),) = ran.gave[1]["entries"]
    assert [entry for entry, _ in entries] == [f"1-{number}".encode() for number in range(1, _MANY + 1)]


def test_an_entry_of_many_fields(keyspace: Keyspace) -> None:
    """Of a foreign entry with thousands of fields the dead letter has as many as a script can copy."""
    keyspace.entry("queue:app/default", "5-0", {f"f{number}": number for number in range(6_000)})
    keyspace.hold("queue:app/default", "workers", "w1", "5-0")
    ran = keyspace.run(
        settling.dead_letter(keyspace.keys, queue(keyspace), BadEntry("5-0", "unreadable", "no entry"), RETENTION)
    )
    assert ran.gave == 1
    letter = ran.changes["dead new-1"]
    assert isinstance(letter, dict)
    assert {"reason", "error", "raw.f0", "raw.f1999"} <= set(letter)
    assert ran.changes["queue:app/default 5-0"] is None


def test_a_foreign_event_of_many_fields(keyspace: Keyspace) -> None:
    """A foreign entry of `events` with thousands of fields can be re-queued."""
    keyspace.entry("events", "5-0", {f"f{number}": number for number in range(6_000)})
    keyspace.hold("events", "dispatch", "w1", "5-0")
    ran = keyspace.run(rescuing.release(reading.events_stream(keyspace.keys), [PendingEntry("5-0")]))
    assert ran.gave == 1
    assert "events new-1" in ran.changes
    assert ran.changes["events 5-0"] is None


def test_the_largest_batch_of_a_send(keyspace: Keyspace) -> None:
    """As many events as a client sends at once are sent."""
    events = [outgoing(f"e{number}") for number in range(sending.MAX_BATCH_EVENTS)]
    ran = keyspace.run(sending.send(keyspace.keys, events, "tok"))
    assert len(ran.gave) == len(events)
    listed = [entry for line, entry in ran.changes.items() if line.startswith("recent ")]
    assert [len(entry or ()) for entry in listed] == [_LISTED] * (len(events) // _LISTED)
