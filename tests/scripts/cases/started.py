"""What `started` must give and change."""

from __future__ import annotations

from headrace_worker.protocol import settling
from tests.scripts.cases.case import Step, case, delivery, run_line, seed_record, seed_run
from tests.scripts.state import Keyspace

_AGE_MS = 10_000


@case
def a_run(keyspace: Keyspace) -> Step:
    """A run whose record says that this entry is queued says that it executes, since when and where."""
    run = seed_run(keyspace, "5-0", "e1", state="2 1 0 0 8")
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0", state="2 1 0 0", worker="w9")})
    line = run_line("x", "5-0", state="2 1 0 0", worker="w1", started="<now-10s>")
    call = settling.started(keyspace.keys, "w1", [(run, _AGE_MS)])
    return Step(call, 1, {"event:e1 r:app/job": line}, full="refused")


@case
def several_runs(keyspace: Keyspace) -> Step:
    """Several runs say so, two of one event among them."""
    runs = [
        seed_run(keyspace, "5-0", "e1"),
        seed_run(keyspace, "6-0", "e1", job="two"),
        seed_run(keyspace, "7-0", "e2"),
    ]
    seed_record(keyspace, "e1", fields={"r:app/job": run_line("q", "5-0"), "r:app/two": run_line("q", "6-0")})
    seed_record(keyspace, "e2", fields={"r:app/job": run_line("q", "7-0")})
    changes = {
        "event:e1 r:app/job": run_line("x", "5-0", worker="w1", started="<now-10s>"),
        "event:e1 r:app/two": run_line("x", "6-0", worker="w1", started="<now-10s>"),
        "event:e2 r:app/job": run_line("x", "7-0", worker="w1", started="<now-10s>"),
    }
    return Step(settling.started(keyspace.keys, "w1", [(run, _AGE_MS) for run in runs]), 3, changes, full="refused")


@case
def another_entry(keyspace: Keyspace) -> Step:
    """A run that was given to another worker since, under a new entry, stays as it is."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "6-0")})
    return Step(settling.started(keyspace.keys, "w1", [(delivery(keyspace, "5-0", "e1"), 0)]), 0, {})


@case
def a_run_that_has_settled(keyspace: Keyspace) -> Step:
    """A run that has settled meanwhile stays settled."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("s", "5-0", worker="w1")})
    return Step(settling.started(keyspace.keys, "w1", [(delivery(keyspace, "5-0", "e1"), 0)]), 0, {})


@case
def an_executing_run(keyspace: Keyspace) -> Step:
    """A run that says so already stays as it is."""
    line = run_line("x", "5-0", worker="w1", started=1_000_000_000_000)
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": line})
    return Step(settling.started(keyspace.keys, "w1", [(delivery(keyspace, "5-0", "e1"), 0)]), 0, {})


@case
def no_record(keyspace: Keyspace) -> Step:
    """A run whose record is gone gets none."""
    return Step(settling.started(keyspace.keys, "w1", [(delivery(keyspace, "5-0", "e1"), 0)]), 0, {})


@case
def no_field(keyspace: Keyspace) -> Step:
    """A run that its record does not know, or not in a way that can be read, stays as it is."""
    seed_record(keyspace, "e1", fields={"r:app/two": "damaged"})
    runs = [delivery(keyspace, "5-0", "e1"), delivery(keyspace, "6-0", "e1", job="two")]
    return Step(settling.started(keyspace.keys, "w1", [(run, 0) for run in runs]), 0, {})


@case
def one_among_others(keyspace: Keyspace) -> Step:
    """Run that are not this worker's any more keep none of the others from saying so."""
    seed_record(keyspace, "e1", fields={"r:app/job": run_line("q", "6-0"), "r:app/two": run_line("q", "7-0")})
    runs = [
        delivery(keyspace, "5-0", "e1"),
        delivery(keyspace, "8-0", "gone"),
        delivery(keyspace, "7-0", "e1", job="two"),
    ]
    line = run_line("x", "7-0", worker="w1", started="<now-10s>")
    call = settling.started(keyspace.keys, "w1", [(run, _AGE_MS) for run in runs])
    return Step(call, 1, {"event:e1 r:app/two": line}, full="refused")
