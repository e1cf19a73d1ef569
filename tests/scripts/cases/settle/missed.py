"""What `settle` must give and change where entries or records are other ones or gone."""

from __future__ import annotations

import msgspec

from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.settling import STOPPED, Trail
from tests.scripts.cases.case import FUTURE, NO_RETENTION, PAST, Step, case, delivery, run_line, seed_record, seed_run
from tests.scripts.cases.settle.runs import ends, gone, seed_only_run, settle, succeeded
from tests.scripts.state import Changes, Keyspace


@case
def an_entry_that_is_not_ours(keyspace: Keyspace) -> Step:
    """An outcome for an entry that is not pending any more changes nothing, not even a failure."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "6-0"), "w": 1})
    seed_run(keyspace, "6-0", "e1", worker="w2")
    return settle(keyspace, [ends(delivery(keyspace, "5-0", "e1"), "f")], [0], {}, foreign=[0])


@case
def an_entry_that_is_none_of_the_run(keyspace: Keyspace) -> Step:
    """An entry that names a run with another entry settles nothing, stays pending, and stops no other."""
    run = seed_only_run(keyspace, "c")
    forged = seed_run(keyspace, "6-0", "e1")
    changes = succeeded("<now+1000s>") | {"queue:app/default workers w1": "6-0"}
    return settle(keyspace, [ends(forged, "f"), ends(run)], [0], changes, foreign=[0])


@case
def an_entry_that_begins_as_the_runs(keyspace: Keyspace) -> Step:
    """Of an entry whose id is but the beginning of the run's nothing is settled."""
    seed_record(keyspace, "e1", kind="c", runs="1", fields={"r:app/job": run_line("q", "5-10")})
    return settle(keyspace, [ends(seed_run(keyspace, "5-1", "e1"))], [0], {}, foreign=[0])


@case
def an_entry_of_a_run_that_there_is_not(keyspace: Keyspace) -> Step:
    """Of an event whose record knows no such run nothing is settled."""
    seed_record(keyspace, "e1", kind="c", runs="1", fields={"r:app/other": run_line("q", "4-0")})
    return settle(keyspace, [ends(seed_run(keyspace, "5-0", "e1"))], [0], {}, foreign=[0])


@case
def an_entry_of_a_run_that_waits(keyspace: Keyspace) -> Step:
    """A run that waits has no entry, whatever stands in its queue."""
    seed_record(keyspace, "e1", kind="c", runs="1", fields={"r:app/job": run_line("w", "-", outcome="5-0 q 5-0")})
    return settle(keyspace, [ends(seed_run(keyspace, "5-0", "e1"))], [0], {}, foreign=[0])


@case
def another_state_than_the_records(keyspace: Keyspace) -> Step:
    """It is the entry that says whose it is, not the length of its state."""
    fields: dict[str, str | int] = {"r:app/job": run_line("q", "5-0", state="10 0 0 0")}
    seed_record(keyspace, "e1", kind="c", runs="1", fields=fields)
    return settle(keyspace, [ends(seed_run(keyspace, "5-0", "e1"))], [], succeeded("<now+1000s>"))


@case
def the_same_outcome_again(keyspace: Keyspace) -> Step:
    """An outcome that is recorded already, its reply having been lost, is not recorded twice."""
    line = run_line("s", "5-0", worker="w1", started=1_000_000_000_000, finished=1_000_000_000_000)
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": line})
    keyspace.seed("PEXPIREAT", "event:e1", FUTURE)
    return settle(keyspace, [ends(delivery(keyspace, "5-0", "e1"))], [0], {}, foreign=[0])


@case
def the_same_outcome_twice(keyspace: Keyspace) -> Step:
    """Of two outcomes for one entry in a batch the first is recorded."""
    run = seed_only_run(keyspace, "c")
    return settle(keyspace, [ends(run), ends(run, "f")], [1], succeeded("<now+1000s>"))


@case
def a_lost_record(keyspace: Keyspace) -> Step:
    """A run whose record is gone leaves its outcome, which ends."""
    run = seed_run(keyspace, "5-0", "e1")
    return settle(keyspace, [ends(run)], [], succeeded("<now+1000s>"))


@case
def a_lost_record_without_retention(keyspace: Keyspace) -> Step:
    """A run whose record is gone leaves nothing where nothing is kept."""
    run = seed_run(keyspace, "5-0", "e1")
    return settle(keyspace, [ends(run)], [], gone() | {"runs new-1": {"e1:app/job": "s"}}, NO_RETENTION)


def seed_canceled(keyspace: Keyspace, field: str) -> Delivery:
    """The run was canceled while the worker had it; its record says this now."""
    seed_record(keyspace, "e1", kind="c", runs="1", fields={"r:app/job": field})
    run = seed_run(keyspace, "5-0", "e1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    return run


@case
def a_canceled_run(keyspace: Keyspace) -> Step:
    """Whatever a canceled run comes to, its entry is not pending any more, and what it has sent is among its run's."""
    run = seed_canceled(keyspace, run_line("c", "5-0", worker="w1", started=PAST, finished=PAST))
    changes: Changes = {"queue:app/default workers w1": "", "event:e1 c:app/job": '["e2"]'}
    record = msgspec.structs.replace(ends(run, "f"), trail=Trail("failed", "-", '["e2"]'))
    return settle(keyspace, [record], [], changes, canceled=[0])


@case
def a_canceled_run_beside_others(keyspace: Keyspace) -> Step:
    """It stops no other outcome of its batch."""
    other = seed_only_run(keyspace, "c")
    seed_record(keyspace, "e2", runs="1", fields={"r:app/job": run_line("c", "6-0", worker="w1")})
    run = seed_run(keyspace, "6-0", "e2")
    keyspace.seed("XDEL", "queue:app/default", "6-0")
    return settle(keyspace, [ends(run), ends(other)], [], succeeded("<now+1000s>"), canceled=[0])


@case
def a_stopped_run(keyspace: Keyspace) -> Step:
    """Of a canceled run whose function was ended for that the entry is acknowledged, and what it has sent is kept."""
    run = seed_canceled(keyspace, run_line("c", "5-0", worker="w1", started=PAST, finished=PAST))
    changes: Changes = {"queue:app/default workers w1": "", "event:e1 c:app/job": '["e2"]'}
    record = msgspec.structs.replace(ends(run, STOPPED), trail=Trail("", "-", '["e2"]'))
    return settle(keyspace, [record], [], changes, canceled=[0])


@case
def a_stopped_run_that_is_open(keyspace: Keyspace) -> Step:
    """Whoever took an open run for canceled has ended its function in vain: it is called again, by whom has it then."""
    other = seed_only_run(keyspace, "c")
    seed_record(keyspace, "e2", kind="c", runs="1", fields={"r:app/job": run_line("q", "6-0")})
    stopped = seed_run(keyspace, "6-0", "e2")
    changes = succeeded("<now+1000s>") | {"queue:app/default workers w1": "6-0"}
    return settle(keyspace, [ends(stopped, STOPPED), ends(other)], [0], changes)


@case
def a_canceled_run_that_was_retried(keyspace: Keyspace) -> Step:
    """What it has sent is not among the events of the run that has begun anew."""
    run = seed_canceled(keyspace, run_line("q", "6-0"))
    record = msgspec.structs.replace(ends(run, "c"), trail=Trail("", "-", '["e2"]'))
    return settle(keyspace, [record], [], {"queue:app/default workers w1": ""}, canceled=[0])


@case
def a_canceled_run_of_which_nothing_is_kept(keyspace: Keyspace) -> Step:
    """Where only the header of its record is left, its entry alone is settled."""
    seed_record(keyspace, "e1", kind="c", runs="1", body=None)
    run = seed_run(keyspace, "5-0", "e1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    return settle(keyspace, [ends(run, "c")], [], {"queue:app/default workers w1": ""}, canceled=[0])


@case
def a_canceled_run_whose_record_is_gone(keyspace: Keyspace) -> Step:
    """A function that goes on for longer than its run's record is kept leaves none."""
    run = seed_run(keyspace, "5-0", "e1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    return settle(keyspace, [ends(run)], [], {"queue:app/default workers w1": ""}, canceled=[0])


@case
def a_damaged_count(keyspace: Keyspace) -> Step:
    """A count of open runs that is no number stops no batch: the record ends with this run."""
    seed_record(keyspace, "e1", kind="c", runs="2", fields={"o": "damaged", "r:app/job": run_line("q", "5-0")})
    run = seed_run(keyspace, "5-0", "e1")
    return settle(keyspace, [ends(run)], [], succeeded("<now+1000s>"))


@case
def a_lost_entry(keyspace: Keyspace) -> Step:
    """An entry that was deleted while it was pending settles like any other."""
    run = seed_only_run(keyspace, "c")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    changes = succeeded("<now+1000s>")
    del changes["queue:app/default 5-0"]
    return settle(keyspace, [ends(run)], [], changes)
