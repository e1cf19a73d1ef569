"""What `rerun` must give and change."""

from __future__ import annotations

from headrace.calls import rerunning
from tests.scripts.cases.case import (
    BODY,
    FUTURE,
    LARGE,
    LARGEST_INLINE,
    PAST,
    TURNS,
    Step,
    case,
    run_line,
    seed_entry,
    seed_line,
    seed_record,
    turn,
)
from tests.scripts.state import Changes, Keyspace

_REPLAYED = "1 0 0 1"
_NOTE = '["ValueError","two\\nlines"]'


def seed_failed_run(
    keyspace: Keyspace,
    status: str = "f",
    *,
    body: str | bytes | None = BODY,
    fields: dict[str, str | int] | None = None,
) -> None:
    """The run has ended on its third attempt and is in `dead` as 5-0."""
    line = run_line(status, "5-0", state="3 1 0 0", worker="w1", started=PAST, finished=PAST, outcome="error")
    seed_record(keyspace, "e1", runs="1", body=body, fields={"r:app/job": line, **(fields or {})})
    keyspace.seed("PEXPIREAT", "event:e1", FUTURE)
    keyspace.entry("dead", "5-0", {"run": "e1:app/job", "reason": "failed", "error": "error"})


def _queued(state: str = f"{_REPLAYED} 8", body: str = BODY, kind: str = "failed") -> Changes:
    return {
        "event:e1 a:app/job": f"3 {kind} w1 {PAST} {PAST} -",
        "event:e1 r:app/job": run_line("q", "new-1", state=_REPLAYED),
        "event:e1 ttl": None,
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": state, "b": body},
        "dead 5-0": None,
        "wake-up:app new-1": {"r": ""},
    }


def _rerun(keyspace: Keyspace, answer: tuple[str, str], changes: Changes, queue: str = "default") -> Step:
    return Step(
        rerunning.rerun(keyspace.keys, "e1", "app/job", queue), answer, changes, full="refused" if changes else "passes"
    )


@case
def a_failed_run(keyspace: Keyspace) -> Step:
    """A failed run is queued from its first attempt, its record does not end, and its dead letter is gone."""
    seed_failed_run(keyspace)
    return _rerun(keyspace, ("queued", "new-1"), _queued())


@case
def a_timed_out_run(keyspace: Keyspace) -> Step:
    """A run that timed out can be run again."""
    seed_failed_run(keyspace, "t")
    return _rerun(keyspace, ("queued", "new-1"), _queued(kind="timed_out"))


@case
def a_run_with_an_invalid_payload(keyspace: Keyspace) -> Step:
    """A run whose payload did not fit can be run again, with a job that takes it."""
    seed_failed_run(keyspace, "i")
    return _rerun(keyspace, ("queued", "new-1"), _queued(kind="invalid_payload"))


@case
def an_end_that_is_listed(keyspace: Keyspace) -> Step:
    """An attempt that is among the run's attempts already is not listed twice."""
    listed = f'2 failed w1 1 2 -\n3 failed w1 {PAST} {PAST} ["ValueError","x"]'
    seed_failed_run(keyspace, fields={"a:app/job": listed})
    changes = {line: fact for line, fact in _queued().items() if line != "event:e1 a:app/job"}
    return _rerun(keyspace, ("queued", "new-1"), changes)


@case
def an_end_behind_ten_attempts(keyspace: Keyspace) -> Step:
    """The oldest attempt makes room for it."""
    seed_failed_run(keyspace, fields={"a:app/job": "\n".join(f"{n} failed w1 {n} {n} -" for n in range(10))})
    lines = [*(f"{n} failed w1 {n} {n} -" for n in range(1, 10)), f"3 failed w1 {PAST} {PAST} -"]
    return _rerun(keyspace, ("queued", "new-1"), {**_queued(), "event:e1 a:app/job": "\n".join(lines)})


@case
def one_of_several(keyspace: Keyspace) -> Step:
    """Where an event has several runs, one more of them is open."""
    seed_failed_run(keyspace, fields={"o": 1, "f": 1, "r:app/other": run_line("q", "1-0")})
    return _rerun(keyspace, ("queued", "new-1"), {**_queued(), "event:e1 o": "2", "event:e1 f": "0"})


@case
def one_of_several_failures(keyspace: Keyspace) -> Step:
    """Where another run of the event has failed too, its record still knows of a failure."""
    seed_failed_run(keyspace, fields={"o": 0, "r:app/other": run_line("t", "4-0")})
    return _rerun(keyspace, ("queued", "new-1"), {**_queued(), "event:e1 o": "1", "event:e1 f": "1"})


@case
def a_large_body(keyspace: Keyspace) -> Step:
    """A body over 8 kB stays in the record; the entry's state has its size."""
    seed_failed_run(keyspace, body=LARGE)
    return _rerun(keyspace, ("queued", "new-1"), _queued(f"{_REPLAYED} {len(LARGE)}", ""))


@case
def the_largest_body_inside(keyspace: Keyspace) -> Step:
    """A body of 8 kB travels in the entry."""
    seed_failed_run(keyspace, body=LARGEST_INLINE)
    return _rerun(keyspace, ("queued", "new-1"), _queued(f"{_REPLAYED} 8192", LARGEST_INLINE))


@case
def a_trimmed_dead_letter(keyspace: Keyspace) -> Step:
    """A run whose dead letter is not kept any more can be run again while its record is."""
    seed_failed_run(keyspace)
    keyspace.seed("XDEL", "dead", "5-0")
    return _rerun(keyspace, ("queued", "new-1"), {k: v for k, v in _queued().items() if k != "dead 5-0"})


@case
def a_rung_bell(keyspace: Keyspace) -> Step:
    """A bell that was rung already has one element afterwards."""
    seed_failed_run(keyspace)
    keyspace.entry("wake-up:app", "1-0", {"r": ""})
    return _rerun(keyspace, ("queued", "new-1"), {**_queued(), "wake-up:app 1-0": None})


def _refused(keyspace: Keyspace, status: str) -> Step:
    line = run_line(status, "-", worker="w1", started=PAST)
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": line})
    return _rerun(keyspace, ("refused", status), {})


def _seed_open_run(keyspace: Keyspace, status: str, worker: str | None) -> None:
    """Seed an open run, whose entry is in its queue, pending under the worker or not."""
    seed_record(keyspace, "e1", runs="2", fields={"r:app/job": run_line(status, "5-0", state="2 1 0 0"), "o": 2})
    seed_entry(keyspace, "5-0", "e1", worker=worker)


@case
def a_queued_run(keyspace: Keyspace) -> Step:
    """A run that is queued, by an earlier call perhaps, is not queued again."""
    _seed_open_run(keyspace, "q", None)
    return _rerun(keyspace, ("refused", "q"), {})


@case
def an_executing_run(keyspace: Keyspace) -> Step:
    """A run that executes is not queued beside itself."""
    _seed_open_run(keyspace, "x", "w1")
    return _rerun(keyspace, ("refused", "x"), {})


@case
def an_executing_run_whose_entry_was_deleted(keyspace: Keyspace) -> Step:
    """Nor is a run whose deleted entry is still pending: it can still settle."""
    _seed_open_run(keyspace, "x", "w1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    return _rerun(keyspace, ("refused", "x"), {})


def _requeued(**fields: str) -> Changes:
    """What a run that is lost becomes: nothing else of its event changes, as it was open all the time."""
    return {
        "event:e1 r:app/job": run_line("q", "new-1", state=_REPLAYED),
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": f"{_REPLAYED} 8", "b": BODY, **fields},
        "wake-up:app new-1": {"r": ""},
    }


@case
def a_lost_run(keyspace: Keyspace) -> Step:
    """A run whose entry was deleted from its queue is queued; a dead letter that happens to have its number stays."""
    _seed_open_run(keyspace, "q", None)
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    keyspace.entry("dead", "5-0", {"run": "another", "reason": "failed", "error": ""})
    return _rerun(keyspace, ("queued", "new-1"), _requeued())


@case
def a_lost_run_of_a_dead_worker(keyspace: Keyspace) -> Step:
    """So is a run that executes by its record, but is not pending any more since its worker's death."""
    _seed_open_run(keyspace, "x", "w1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    keyspace.seed("XACK", "queue:app/default", "workers", "5-0")
    return _rerun(keyspace, ("queued", "new-1"), _requeued())


@case
def a_lost_run_whose_queue_was_deleted(keyspace: Keyspace) -> Step:
    """Where the whole queue is gone its entry makes it anew, without the group, which a worker makes when it asks."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0", queue="gone")})
    changes: Changes = {
        "event:e1 r:app/job": run_line("q", "new-1", state=_REPLAYED, queue="gone"),
        "queue:app/gone": "stream",
        "queue:app/gone new-1": _requeued()["queue:app/default new-1"],
        "wake-up:app new-1": {"r": ""},
    }
    return _rerun(keyspace, ("queued", "new-1"), changes, queue="gone")


@case
def a_waiting_run(keyspace: Keyspace) -> Step:
    """A run that waits for its next attempt goes on to wait."""
    return _refused(keyspace, "w")


@case
def a_run_that_succeeded(keyspace: Keyspace) -> Step:
    """A run that succeeded is not run again."""
    return _refused(keyspace, "s")


@case
def a_canceled_run(keyspace: Keyspace) -> Step:
    """A canceled run is not run again."""
    return _refused(keyspace, "c")


@case
def a_canceled_run_on_purpose(keyspace: Keyspace) -> Step:
    """Unless that is asked for; a dead letter that happens to have the number of its entry stays.

    Its end is no attempt's: it may have been canceled before its next one began.
    """
    seed_failed_run(keyspace, "c")
    call = rerunning.rerun(keyspace.keys, "e1", "app/job", "default", canceled=True)
    without = ("dead 5-0", "event:e1 a:app/job")
    return Step(call, ("queued", "new-1"), {k: v for k, v in _queued().items() if k not in without}, full="refused")


@case
def another_queue(keyspace: Keyspace) -> Step:
    """A run whose queue is another one than the caller read is left alone."""
    seed_failed_run(keyspace)
    return _rerun(keyspace, ("refused", "f"), {}, queue="other")


@case
def the_end_that_was_seen(keyspace: Keyspace) -> Step:
    """A run whose end is still the one that the caller read is queued."""
    seed_failed_run(keyspace)
    call = rerunning.rerun(keyspace.keys, "e1", "app/job", "default", ended_ms=PAST)
    return Step(call, ("queued", "new-1"), _queued(), full="refused")


@case
def the_error_of_the_end_that_was_seen(keyspace: Keyspace) -> Step:
    """The attempt that ended then has the note that the caller has made of it."""
    seed_failed_run(keyspace)
    call = rerunning.rerun(keyspace.keys, "e1", "app/job", "default", ended_ms=PAST, note=_NOTE)
    changes = {**_queued(), "event:e1 a:app/job": f"3 failed w1 {PAST} {PAST} {_NOTE}"}
    return Step(call, ("queued", "new-1"), changes, full="refused")


@case
def the_error_of_an_end_that_was_not_seen(keyspace: Keyspace) -> Step:
    """An end that the caller has not read gets no note: what the caller has may be another attempt's."""
    seed_failed_run(keyspace)
    call = rerunning.rerun(keyspace.keys, "e1", "app/job", "default", note=_NOTE)
    return Step(call, ("queued", "new-1"), _queued(), full="refused")


@case
def another_end(keyspace: Keyspace) -> Step:
    """A run that has been queued and failed again since the caller read it is left alone: a reply was lost, perhaps."""
    seed_failed_run(keyspace)
    return Step(rerunning.rerun(keyspace.keys, "e1", "app/job", "default", ended_ms=PAST - 1), ("refused", "f"), {})


@case
def a_dropped_payload(keyspace: Keyspace) -> Step:
    """A run whose event has no payload any more can't be run again."""
    seed_failed_run(keyspace, body=None)
    return _rerun(keyspace, ("gone", "f"), {})


@case
def an_unknown_run(keyspace: Keyspace) -> Step:
    """A run that its event does not have is reported."""
    seed_record(keyspace, "e1", runs="0")
    return _rerun(keyspace, ("missing", ""), {})


@case
def an_unknown_event(keyspace: Keyspace) -> Step:
    """A run of an event that is not known is reported, and gets no record."""
    return _rerun(keyspace, ("missing", ""), {})


@case
def a_damaged_record(keyspace: Keyspace) -> Step:
    """A run whose field can't be read is as good as unknown."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": "damaged"})
    return _rerun(keyspace, ("missing", ""), {})


def _rerun_in_order(keyspace: Keyspace, ordering_key: str, answer: tuple[str, str], changes: Changes) -> Step:
    call = rerunning.rerun(keyspace.keys, "e1", "app/job", "default", ordering_key)
    return Step(call, answer, changes, full="refused" if changes else "passes")


@case
def a_run_with_a_free_ordering_key(keyspace: Keyspace) -> Step:
    """Where no run of the key is open it has the turn, and is queued."""
    seed_failed_run(keyspace, fields={"k": "user:1"})
    entry = {"e": "e1", "j": "job", "s": f"{_REPLAYED} 8", "b": BODY, "k": "user:1"}
    changes = {**_queued(), "queue:app/default new-1": entry, f"{TURNS} 0": turn("e1")}
    return _rerun_in_order(keyspace, "user:1", ("queued", "new-1"), changes)


@case
def a_run_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """Where runs of the key are open it waits behind them."""
    seed_line(keyspace, TURNS, turn("e0"), turn("e2"))
    seed_failed_run(keyspace, fields={"k": "user:1"})
    changes: Changes = {
        "event:e1 r:app/job": run_line("w", "-", state=_REPLAYED),
        "event:e1 a:app/job": f"3 failed w1 {PAST} {PAST} -",
        "event:e1 ttl": None,
        f"{TURNS} 2": turn("e1"),
        "dead 5-0": None,
    }
    return _rerun_in_order(keyspace, "user:1", ("waits", ""), changes)


@case
def a_lost_run_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """A run that is lost has kept its turn, and is queued before all others of its key."""
    seed_line(keyspace, TURNS, turn("e1"), turn("e2"))
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0"), "k": "user:1"})
    return _rerun_in_order(keyspace, "user:1", ("queued", "new-1"), _requeued(k="user:1"))


@case
def another_ordering_key(keyspace: Keyspace) -> Step:
    """Where the key is not the one that was looked up, nothing happens."""
    seed_failed_run(keyspace, fields={"k": "user:1"})
    return _rerun_in_order(keyspace, "", ("refused", "f"), {})
