"""What `release` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.protocol import reading, rescuing
from headrace_worker.protocol.rescuing import PendingEntry
from tests.scripts.cases.case import (
    BODY,
    LARGE,
    PAST,
    Lines,
    Step,
    case,
    queue,
    run_line,
    seed_entry,
    seed_queue,
    seed_record,
    seed_run,
)
from tests.scripts.state import Changes, Keyspace


def _held(keyspace: Keyspace, entry: str = "5-0", event_id: str = "e1", job: str = "job") -> PendingEntry:
    return PendingEntry(entry, keyspace.keys.event(event_id), f"app/{job}")


def _release(
    keyspace: Keyspace, held: Sequence[PendingEntry], gives: int, changes: Changes, name: str = "default"
) -> Step:
    return Step(rescuing.release(queue(keyspace, name), held), gives, changes)


def _back(state: str, body: str = BODY, name: str = "default") -> Lines:
    return {
        f"queue:app/{name} 5-0": None,
        f"queue:app/{name} workers w1": "",
        f"queue:app/{name} new-1": {"e": "e1", "j": "job", "s": state, "b": body},
        "event:e1 r:app/job": run_line("q", "new-1", state=state.rpartition(" ")[0], queue=name),
        "wake-up:app new-1": {"r": ""},
    }


@case
def a_first_delivery(keyspace: Keyspace) -> Step:
    """A run is back in its queue under a new id, its record says queued, nothing is counted, a worker is woken."""
    fields: dict[str, str | int] = {"r:app/job": run_line("x", "5-0", worker="w1", started=PAST)}
    seed_record(keyspace, "e1", runs="1", fields=fields)
    seed_run(keyspace, "5-0", "e1")
    attempts = {"event:e1 a:app/job": f"1 released w1 {PAST} <now> -"}
    return _release(keyspace, [_held(keyspace)], 1, _back("1 0 0 0 0") | attempts)


@case
def a_later_delivery(keyspace: Keyspace) -> Step:
    """A run that was retried, had lost workers and waited for its job keeps all that, and its queue."""
    seed_queue(keyspace, "mail")
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0", state="3 2 7 1", queue="mail")})
    seed_run(keyspace, "5-0", "e1", state="3 2 7 1 8", name="mail")
    return _release(keyspace, [_held(keyspace)], 1, _back("3 2 7 1 8", name="mail"), "mail")


@case
def a_large_body(keyspace: Keyspace) -> Step:
    """A body that is only in the record stays there."""
    state = f"1 0 0 0 {len(LARGE)}"
    seed_record(keyspace, "e1", runs="1", body=LARGE, fields={"r:app/job": run_line("q", "5-0")})
    seed_run(keyspace, "5-0", "e1", state=state, body="")
    return _release(keyspace, [_held(keyspace)], 1, _back(state, ""))


@case
def several(keyspace: Keyspace) -> Step:
    """Several are back in their order; those that are not ours any more are left alone; one worker is woken."""
    fields: dict[str, str | int] = {"o": 2, "r:app/job": run_line("q", "5-0"), "r:app/two": run_line("q", "6-0")}
    seed_record(keyspace, "e1", runs="2", fields=fields)
    seed_record(keyspace, "e2", runs="1", fields={"r:app/job": run_line("q", "7-0")})
    seed_run(keyspace, "5-0", "e1")
    seed_run(keyspace, "6-0", "e1", job="two")
    seed_run(keyspace, "7-0", "e2", worker="w2")
    keyspace.seed("XACK", "queue:app/default", "workers", "7-0")
    changes = _back("1 0 0 0 0") | {
        "queue:app/default 6-0": None,
        "queue:app/default new-2": {"e": "e1", "j": "two", "s": "1 0 0 0 0", "b": BODY},
        "event:e1 r:app/two": run_line("q", "new-2"),
    }
    held = [
        _held(keyspace),
        _held(keyspace, "7-0", "e2"),
        _held(keyspace, "6-0", job="two"),
        _held(keyspace, "4-0", "gone"),
    ]
    return _release(keyspace, held, 2, changes)


@case
def entries_that_are_not_ours(keyspace: Keyspace) -> Step:
    """Where nothing is ours any more nothing happens, and no wake-up stream is rung."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "6-0")})
    seed_run(keyspace, "6-0", "e1", worker="w2")
    return _release(keyspace, [_held(keyspace)], 0, {})


@case
def nothing(keyspace: Keyspace) -> Step:
    """Without entries nothing happens."""
    return _release(keyspace, [], 0, {})


@case
def a_deleted_entry(keyspace: Keyspace) -> Step:
    """An entry that was deleted while it was pending is not pending any more."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_run(keyspace, "5-0", "e1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    return _release(keyspace, [_held(keyspace)], 0, {"queue:app/default workers w1": ""})


@case
def an_entry_that_is_none_of_the_run(keyspace: Keyspace) -> Step:
    """One that names a run with another entry goes back, and the record goes on naming that."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "4-0")})
    seed_run(keyspace, "5-0", "e1")
    changes = _back("1 0 0 0 0")
    del changes["event:e1 r:app/job"]
    return _release(keyspace, [_held(keyspace)], 1, changes)


@case
def a_damaged_state(keyspace: Keyspace) -> Step:
    """An entry whose state the script can't read is back as it is, for a fetcher to dead-letter."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_entry(keyspace, "5-0", "e1", state="1  0 0 0 8")
    changes: Changes = {
        "queue:app/default 5-0": None,
        "queue:app/default workers w1": "",
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "1  0 0 0 8", "b": BODY},
        "wake-up:app new-1": {"r": ""},
    }
    return _release(keyspace, [_held(keyspace)], 1, changes)


@case
def events(keyspace: Keyspace) -> Step:
    """Events are back in `events` as they were; there is no record to write and no wake-up stream to ring."""
    for entry in ("5-0", "6-0"):
        keyspace.entry("events", entry, {"i": f"e{entry[0]}", "z": 8, "b": BODY})
    keyspace.hold("events", "dispatch", "w1", "5-0", "6-0")
    changes: Changes = {
        "events 5-0": None,
        "events 6-0": None,
        "events dispatch w1": "",
        "events new-1": {"i": "e5", "z": "8", "b": BODY},
        "events new-2": {"i": "e6", "z": "8", "b": BODY},
    }
    held = [PendingEntry("5-0"), PendingEntry("6-0"), PendingEntry("4-0")]
    return Step(rescuing.release(reading.events_stream(keyspace.keys), held), 2, changes)


@case
def a_run_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """A run's new entry has the key as well, so that its turn is passed on when it ends."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_run(keyspace, "5-0", "e1", ordering_key="user:1")
    changes = _back("1 0 0 0 0")
    changes["queue:app/default new-1"] = {"e": "e1", "j": "job", "s": "1 0 0 0 0", "b": BODY, "k": "user:1"}
    return _release(keyspace, [_held(keyspace)], 1, changes)
