"""What `cancel_run` must give and change."""

from __future__ import annotations

from headrace import Retention, RunError
from headrace.calls import canceling
from headrace.formats.codec import encode_outcome
from tests.scripts.cases.case import (
    FUTURE,
    NO_RETENTION,
    PAST,
    RETENTION,
    TURNS,
    Lines,
    Step,
    case,
    run_line,
    seed_entry,
    seed_line,
    seed_queue,
    seed_record,
    turn,
)
from tests.scripts.state import NOW, Changes, Keyspace


def _seed_run(
    keyspace: Keyspace,
    status: str = "q",
    *,
    worker: str | None = None,
    ordering_key: str = "",
    fields: dict[str, str | int] | None = None,
) -> None:
    """An open run of `e1` is there, with its entry 5-0; pending under the worker if one is named."""
    holder, started = (worker, PAST) if worker and status == "x" else ("-", 0)
    line = run_line(status, "-" if status == "w" else "5-0", state="2 1 0 0", worker=holder, started=started)
    own: dict[str, str | int] = {"r:app/job": line, **({"k": ordering_key} if ordering_key else {}), **(fields or {})}
    seed_record(keyspace, "e1", kind="c", runs="1", fields=own)
    if status != "w":
        seed_entry(keyspace, "5-0", "e1", worker=worker, ordering_key=ordering_key)


def _canceled(
    status: str = "q", *, worker: str | None = None, outcome: str = "", note: str = "-", ttl: str = "<now+1000s>"
) -> Lines:
    """What a worker has stays pending under its name, without contents, and has a line among the attempts."""
    holder, started = (worker, PAST) if worker and status == "x" else ("-", 0)
    entry = "5-0" if worker else "0-0"
    line = run_line("c", entry, state="2 1 0 0", worker=holder, started=started, finished=NOW, outcome=outcome)
    attempt = f"2 canceled {worker} {started} {NOW} {note}"
    held: Lines = {"event:e1 a:app/job": attempt, "published canceled": ""} if worker else {}
    return {
        "event:e1 r:app/job": line,
        "event:e1 ttl": ttl,
        "runs new-1": {"e1:app/job": "c"},
        **({} if status == "w" else {"queue:app/default 5-0": None}),
        **held,
    }


def _cancel(
    keyspace: Keyspace,
    answer: tuple[str, str],
    changes: Changes,
    *,
    retention: Retention = RETENTION,
    queue: str = "default",
    ordering_key: str = "",
    reason: str = "",
    queued: bool = False,
) -> Step:
    call = canceling.cancel_run(
        keyspace.keys, "e1", "app/job", queue, ordering_key, retention, reason=reason, queued=queued
    )
    return Step(call, answer, changes)


def seed_ordered_run(keyspace: Keyspace) -> None:
    """The run of the event `first` is the first of its ordering key; those of `ordered` and `last` wait behind it."""
    seed_line(keyspace, TURNS, turn("first"), turn("ordered"), turn("last"))
    waits = run_line("w", "-")
    for event_id, line in (("first", run_line("q", "6-0")), ("ordered", waits), ("last", waits)):
        seed_record(keyspace, event_id, runs="2", fields={"r:app/job": line, "k": "user:1", "o": 2})
    seed_entry(keyspace, "6-0", "first", worker=None, ordering_key="user:1")


@case
def a_queued_run(keyspace: Keyspace) -> Step:
    """A queued run's entry is gone, its record says canceled, and its event has settled."""
    _seed_run(keyspace)
    return _cancel(keyspace, ("canceled", ""), _canceled())


@case
def a_reason(keyspace: Keyspace) -> Step:
    """A reason is the message of the run's error."""
    _seed_run(keyspace)
    outcome = encode_outcome(RunError("Canceled", "why"), None).decode("utf-8", "backslashreplace")
    return _cancel(keyspace, ("canceled", ""), _canceled(outcome=outcome), reason="why")


@case
def a_run_that_executes(keyspace: Keyspace) -> Step:
    """The entry of a run that executes is gone and stays pending, its attempt is listed, and its worker is told."""
    _seed_run(keyspace, "x", worker="w1")
    return _cancel(keyspace, ("asked", "5-0"), _canceled("x", worker="w1"))


@case
def the_reason_of_an_attempt(keyspace: Keyspace) -> Step:
    """A reason is in the line of the attempt, too, behind those of the attempts before."""
    before = f"1 failed w0 {PAST} {PAST} -"
    _seed_run(keyspace, "x", worker="w1", fields={"a:app/job": before})
    outcome = encode_outcome(RunError("Canceled", "why"), None).decode("utf-8", "backslashreplace")
    changes = _canceled("x", worker="w1", outcome=outcome, note='["Canceled","why"]')
    changes["event:e1 a:app/job"] = f"{before}\n{changes['event:e1 a:app/job']}"
    return _cancel(keyspace, ("asked", "5-0"), changes, reason="why")


@case
def a_canceled_run_whose_function_goes_on(keyspace: Keyspace) -> Step:
    """To cancel it once more changes nothing, and says that a worker has it still."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("c", "5-0", worker="w1", started=PAST)})
    seed_entry(keyspace, "5-0", "e1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    return _cancel(keyspace, ("asked", "5-0"), {})


@case
def a_run_that_is_about_to_execute(keyspace: Keyspace) -> Step:
    """So is that of a run which a worker has, and whose record does not say so yet."""
    _seed_run(keyspace, worker="w1")
    return _cancel(keyspace, ("asked", "5-0"), _canceled(worker="w1"))


@case
def a_run_that_waits(keyspace: Keyspace) -> Step:
    """A run that waits for its next attempt is not due any more."""
    _seed_run(keyspace, "w")
    keyspace.seed("ZADD", "due", FUTURE, "r:default:e1:app/job")
    return _cancel(keyspace, ("canceled", ""), _canceled("w") | {"due r:default:e1:app/job": None})


@case
def a_run_whose_entry_was_deleted(keyspace: Keyspace) -> Step:
    """A run that is lost, as another program has deleted its entry, ends too."""
    _seed_run(keyspace)
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    lines = _canceled()
    del lines["queue:app/default 5-0"]
    return _cancel(keyspace, ("canceled", ""), lines)


@case
def a_queue_without_its_group(keyspace: Keyspace) -> Step:
    """A run whose queue no worker has ever read is canceled like any other."""
    seed_record(keyspace, "e1", kind="c", runs="1", fields={"r:app/job": run_line("q", "5-0", queue="new")})
    keyspace.entry("queue:app/new", "5-0", {"e": "e1", "j": "job", "s": "", "b": "an event"})
    changes: Changes = {
        "event:e1 r:app/job": run_line("c", "0-0", queue="new", finished=NOW),
        "event:e1 ttl": "<now+1000s>",
        "runs new-1": {"e1:app/job": "c"},
        "queue:app/new 5-0": None,
    }
    return _cancel(keyspace, ("canceled", ""), changes, queue="new")


@case
def the_first_of_its_key(keyspace: Keyspace) -> Step:
    """The next run of the key is due at once, and the leader is woken."""
    _seed_run(keyspace, ordering_key="user:1")
    seed_line(keyspace, TURNS, turn("e1"), turn("e2"))
    changes = _canceled() | {f"{TURNS} 0": turn("e2"), f"{TURNS} 1": None, f"due {turn('e2')}": NOW, "wake 0": "1"}
    return _cancel(keyspace, ("canceled", ""), changes, ordering_key="user:1")


@case
def the_last_of_its_key(keyspace: Keyspace) -> Step:
    """Nothing of the key is left, and nobody is woken."""
    _seed_run(keyspace, ordering_key="user:1")
    seed_line(keyspace, TURNS, turn("e1"))
    return _cancel(keyspace, ("canceled", ""), _canceled() | {f"{TURNS} 0": None}, ordering_key="user:1")


@case
def one_behind_the_first_of_its_key(keyspace: Keyspace) -> Step:
    """A run that waits behind another of its key leaves the line, and no other run is due."""
    _seed_run(keyspace, "w", ordering_key="user:1")
    seed_line(keyspace, TURNS, turn("e0"), turn("e1"), turn("e2"))
    changes = _canceled("w") | {f"{TURNS} 1": turn("e2"), f"{TURNS} 2": None}
    return _cancel(keyspace, ("canceled", ""), changes, ordering_key="user:1")


@case
def one_of_several(keyspace: Keyspace) -> Step:
    """Where the event has other open runs it does not settle."""
    _seed_run(keyspace, fields={"o": 2, "r:app/other": run_line("q", "1-0")})
    lines = _canceled() | {"event:e1 o": "1"}
    del lines["event:e1 ttl"]
    return _cancel(keyspace, ("canceled", ""), lines)


@case
def the_last_of_several_behind_a_failure(keyspace: Keyspace) -> Step:
    """Where another run has failed the record is kept as long as failures are, and who waits is told."""
    _seed_run(keyspace, fields={"o": 1, "f": 1, "w": 1, "r:app/other": run_line("f", "4-0")})
    changes = _canceled(ttl="<now+5000s>") | {"event:e1 o": "0", "published settled:e1": ""}
    return _cancel(keyspace, ("canceled", ""), changes)


@case
def without_retention(keyspace: Keyspace) -> Step:
    """With retention 0 the header alone stays, for dedupe."""
    _seed_run(keyspace)
    changes = _canceled(ttl="<now+100s>") | {"event:e1 r:app/job": None, "event:e1 e": None}
    return _cancel(keyspace, ("canceled", ""), changes, retention=NO_RETENTION)


def _ended(keyspace: Keyspace, status: str) -> Step:
    line = run_line(status, "5-0", worker="w1", started=PAST, finished=PAST)
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": line})
    return _cancel(keyspace, ("ended", status), {})


@case
def a_run_that_succeeded(keyspace: Keyspace) -> Step:
    """A run that has ended stays as it is."""
    return _ended(keyspace, "s")


@case
def a_run_that_failed(keyspace: Keyspace) -> Step:
    """So does one that has failed for good, whose field names its dead letter."""
    return _ended(keyspace, "f")


@case
def a_canceled_run(keyspace: Keyspace) -> Step:
    """And one that is canceled already."""
    return _ended(keyspace, "c")


@case
def another_queue(keyspace: Keyspace) -> Step:
    """A run whose queue is another one than the caller read is left alone."""
    _seed_run(keyspace)
    seed_queue(keyspace, "other")
    return _cancel(keyspace, ("changed", "q"), {}, queue="other")


@case
def another_ordering_key(keyspace: Keyspace) -> Step:
    """And one whose ordering key is."""
    _seed_run(keyspace)
    return _cancel(keyspace, ("changed", "q"), {}, ordering_key="user:1")


@case
def a_run_that_is_queued_as_is_asked(keyspace: Keyspace) -> Step:
    """A run that is to be canceled only while it is queued is, where it is."""
    _seed_run(keyspace)
    return _cancel(keyspace, ("canceled", ""), _canceled(), queued=True)


@case
def a_run_that_a_worker_has_by_now(keyspace: Keyspace) -> Step:
    """It stays where a worker has it by now."""
    _seed_run(keyspace, worker="w1")
    return _cancel(keyspace, ("changed", "q"), {}, queued=True)


@case
def a_run_that_waits_by_now(keyspace: Keyspace) -> Step:
    """It stays where it waits for another attempt by now."""
    _seed_run(keyspace, "w")
    return _cancel(keyspace, ("changed", "w"), {}, queued=True)


@case
def one_behind_another_as_is_asked(keyspace: Keyspace) -> Step:
    """So does one that has not had its turn yet: it waits for no other attempt."""
    _seed_run(keyspace, "w", ordering_key="user:1")
    seed_line(keyspace, TURNS, turn("e0"), turn("e1"))
    return _cancel(
        keyspace, ("canceled", ""), _canceled("w") | {f"{TURNS} 1": None}, ordering_key="user:1", queued=True
    )


@case
def the_first_of_its_key_that_waits_by_now(keyspace: Keyspace) -> Step:
    """The first of a line stays where it waits for another attempt by now."""
    _seed_run(keyspace, "w", ordering_key="user:1")
    seed_line(keyspace, TURNS, turn("e1"), turn("e2"))
    return _cancel(keyspace, ("changed", "w"), {}, ordering_key="user:1", queued=True)


@case
def an_unknown_run(keyspace: Keyspace) -> Step:
    """A run that its event does not have is reported."""
    seed_record(keyspace, "e1", runs="0")
    return _cancel(keyspace, ("missing", ""), {})


@case
def an_unknown_event(keyspace: Keyspace) -> Step:
    """A run of an event that is not known is reported, and gets no record."""
    return _cancel(keyspace, ("missing", ""), {})


@case
def a_damaged_record(keyspace: Keyspace) -> Step:
    """A run whose field can't be read is as good as unknown."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": "damaged"})
    return _cancel(keyspace, ("missing", ""), {})
