"""What `settle` must give and change for each outcome, of one run or of several."""

from __future__ import annotations

import msgspec

from headrace.formats.codec import RunState
from headrace.model.retention import Retention
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.settling import Trail
from tests.scripts.cases.case import (
    NO_RETENTION,
    Step,
    case,
    delivery,
    header,
    run_line,
    seed_queue,
    seed_record,
    seed_run,
)
from tests.scripts.cases.settle.runs import (
    FADES,
    dead,
    ended_line,
    ends,
    failed,
    gone,
    seed_only_run,
    settle,
    succeeded,
)
from tests.scripts.state import Keyspace


@case
def success(keyspace: Keyspace) -> Step:
    """A run's entry is gone, its field has outcome and times, `runs` names it, and its event's record ends."""
    run = seed_only_run(keyspace, "c")
    return settle(keyspace, [ends(run)], [], succeeded("<now+1000s>"))


@case
def success_of_an_id_by_the_sender(keyspace: Keyspace) -> Step:
    """The record of an event whose id the sender gave stays for its dedupe, if that is longer."""
    run = seed_only_run(keyspace, "s")
    return settle(keyspace, [ends(run)], [], succeeded("<now+2000s>") | FADES)


@case
def success_of_a_derived_id(keyspace: Keyspace) -> Step:
    """The record of an event whose id is derived is kept as long as failures are."""
    run = seed_only_run(keyspace, "d")
    return settle(keyspace, [ends(run)], [], succeeded("<now+5000s>") | FADES)


def _seed_longer(keyspace: Keyspace, dedupe_ms: int | str) -> Delivery:
    """The sender has asked for a longer dedupe."""
    run = seed_only_run(keyspace)
    keyspace.seed("HSET", "event:e1", "m", header("+t.1", runs="1"), "d", dedupe_ms)
    return run


@case
def success_of_an_id_that_is_remembered_longer(keyspace: Keyspace) -> Step:
    """The record stays for as long as the send has asked."""
    run = _seed_longer(keyspace, 9_000_000)
    return settle(keyspace, [ends(run)], [], succeeded("<now+9000s>") | FADES)


@case
def success_of_an_id_that_was_to_be_remembered_shorter(keyspace: Keyspace) -> Step:
    """No send makes it less than the sender's dedupe."""
    run = _seed_longer(keyspace, 1)
    return settle(keyspace, [ends(run)], [], succeeded("<now+2000s>") | FADES)


@case
def success_of_an_id_whose_time_is_damaged(keyspace: Keyspace) -> Step:
    """What is no time counts as none."""
    run = _seed_longer(keyspace, "1e300")
    return settle(keyspace, [ends(run)], [], succeeded("<now+2000s>") | FADES)


@case
def failure_of_an_id_that_is_remembered_longer(keyspace: Keyspace) -> Step:
    """The contents stay for the retention of failures, the id for longer."""
    run = _seed_longer(keyspace, 9_000_000)
    changes = failed("f", "failed") | {"event:e1 ttl": "<now+9000s>", "fading e1": "<now+5000s>"}
    return settle(keyspace, [ends(run, "f")], [], changes)


@case
def success_without_output(keyspace: Keyspace) -> Step:
    """A run without an output has a field of one line."""
    run = seed_only_run(keyspace, "c")
    changes = succeeded("<now+1000s>") | {"event:e1 r:app/job": ended_line("s", "5-0", outcome="")}
    return settle(keyspace, [ends(run, outcome="")], [], changes)


@case
def success_of_a_later_attempt(keyspace: Keyspace) -> Step:
    """The field keeps the state that the run came with."""
    fields: dict[str, str | int] = {"r:app/job": run_line("x", "5-0", state="3 1 7 1")}
    seed_record(keyspace, "e1", kind="c", runs="1", fields=fields)
    run = seed_run(keyspace, "5-0", "e1", state="3 1 7 1 8")
    changes = succeeded("<now+1000s>") | {"event:e1 r:app/job": ended_line("s", "5-0", state="3 1 7 1")}
    return settle(keyspace, [ends(run)], [], changes)


@case
def failure(keyspace: Keyspace) -> Step:
    """A run that failed is in `dead`, whose entry its field names, and its record is kept as long as failures are."""
    run = seed_only_run(keyspace, "c")
    return settle(keyspace, [ends(run, "f")], [], failed("f", "failed"))


@case
def timeout(keyspace: Keyspace) -> Step:
    """A run that timed out is in `dead`."""
    run = seed_only_run(keyspace)
    return settle(keyspace, [ends(run, "t")], [], failed("t", "timed_out"))


@case
def an_invalid_payload(keyspace: Keyspace) -> Step:
    """A run whose payload does not fit is in `dead`."""
    run = seed_only_run(keyspace)
    return settle(keyspace, [ends(run, "i")], [], failed("i", "invalid_payload"))


@case
def cancellation(keyspace: Keyspace) -> Step:
    """A run that was canceled is not in `dead`, and its record ends as after success."""
    run = seed_only_run(keyspace, "c")
    changes = succeeded("<now+1000s>") | {
        "event:e1 r:app/job": ended_line("c", "5-0", outcome=""),
        "runs new-1": {"e1:app/job": "c"},
    }
    return settle(keyspace, [ends(run, "c", "")], [], changes)


@case
def someone_waits(keyspace: Keyspace) -> Step:
    """A client that waits for the event receives that its only run has ended."""
    run = seed_only_run(keyspace, "c", waited=True)
    return settle(keyspace, [ends(run)], [], succeeded("<now+1000s>") | {"published settled:e1": ""})


@case
def without_retention(keyspace: Keyspace) -> Step:
    """With retention 0 the header alone stays, for dedupe."""
    run = seed_only_run(keyspace, "c", waited=True)
    changes = succeeded("<now+100s>") | {
        "event:e1 r:app/job": None,
        "event:e1 e": None,
        "event:e1 w": None,
        "published settled:e1": "",
    }
    return settle(keyspace, [ends(run)], [], changes, NO_RETENTION)


@case
def without_retention_and_dedupe(keyspace: Keyspace) -> Step:
    """With retention 0 and dedupe 0 nothing of the event stays."""
    run = seed_only_run(keyspace, "d")
    changes = gone() | {
        "event:e1 m": None,
        "event:e1 e": None,
        "event:e1 r:app/job": None,
        "runs new-1": {"e1:app/job": "s"},
    }
    return settle(keyspace, [ends(run)], [], changes, NO_RETENTION)


@case
def a_failure_that_is_not_kept(keyspace: Keyspace) -> Step:
    """With retention 0 for failures their contents go too; the dead letter stays until the next one."""
    run = seed_only_run(keyspace, "c")
    changes = failed("f", "failed") | {"event:e1 r:app/job": None, "event:e1 e": None, "event:e1 ttl": "<now+100s>"}
    return settle(keyspace, [ends(run, "f")], [], changes, NO_RETENTION)


def _seed_several(keyspace: Keyspace, open_runs: int, *, failed: bool = False, waited: bool = False) -> Delivery:
    fields: dict[str, str | int] = {"o": open_runs, "r:app/job": run_line("q", "5-0")}
    extra: dict[str, str | int] = {**({"f": 1} if failed else {}), **({"w": 1} if waited else {})}
    seed_record(keyspace, "e1", kind="c", runs="3", fields=fields | extra)
    return seed_run(keyspace, "5-0", "e1")


@case
def one_of_several(keyspace: Keyspace) -> Step:
    """While other runs of the event are open, the record does not end, and no message is published."""
    run = _seed_several(keyspace, 3, waited=True)
    changes = gone() | {
        "event:e1 r:app/job": ended_line("s", "5-0"),
        "event:e1 o": "2",
        "runs new-1": {"e1:app/job": "s"},
    }
    return settle(keyspace, [ends(run)], [], changes)


@case
def one_of_several_fails(keyspace: Keyspace) -> Step:
    """A failure among several runs is remembered until the last one has ended."""
    run = _seed_several(keyspace, 2)
    changes = gone() | {
        "event:e1 r:app/job": ended_line("f", "new-1"),
        "event:e1 o": "1",
        "event:e1 f": "1",
        "runs new-1": {"e1:app/job": "f"},
        "dead new-1": dead("failed"),
    }
    return settle(keyspace, [ends(run, "f")], [], changes)


@case
def retention_beyond_1970(keyspace: Keyspace) -> Step:
    """A retention longer than the time since 1970 keeps every dead letter."""
    run = _seed_several(keyspace, 2)
    changes = gone() | {
        "event:e1 r:app/job": ended_line("f", "new-1"),
        "event:e1 o": "1",
        "event:e1 f": "1",
        "runs new-1": {"e1:app/job": "f"},
        "dead new-1": dead("failed"),
    }
    return settle(keyspace, [ends(run, "f")], [], changes, Retention(failure=100 * 366 * 86_400))


@case
def the_last_of_several(keyspace: Keyspace) -> Step:
    """With its last run the record ends, and a waiting client receives the message."""
    run = _seed_several(keyspace, 1, waited=True)
    changes = succeeded("<now+1000s>") | {"event:e1 o": "0", "published settled:e1": ""}
    return settle(keyspace, [ends(run)], [], changes)


@case
def the_last_of_several_fails(keyspace: Keyspace) -> Step:
    """Where the last run fails the record is kept as long as failures are."""
    run = _seed_several(keyspace, 1)
    return settle(keyspace, [ends(run, "f")], [], failed("f", "failed") | {"event:e1 o": "0"})


@case
def the_last_after_a_failure(keyspace: Keyspace) -> Step:
    """Where an earlier run has failed the record is kept as long as failures are."""
    run = _seed_several(keyspace, 1, failed=True)
    return settle(keyspace, [ends(run)], [], succeeded("<now+5000s>") | {"event:e1 o": "0"})


@case
def all_runs_of_an_event_at_once(keyspace: Keyspace) -> Step:
    """The runs of an event that settle together count one after the other, with a failure among them."""
    fields: dict[str, str | int] = {
        "o": 2,
        "w": 1,
        "r:app/job": run_line("q", "5-0"),
        "r:app/two": run_line("q", "6-0"),
    }
    seed_record(keyspace, "e1", kind="c", runs="2", fields=fields)
    runs = [seed_run(keyspace, "5-0", "e1"), seed_run(keyspace, "6-0", "e1", job="two")]
    changes = (
        gone()
        | gone("6-0")
        | {
            "event:e1 r:app/job": ended_line("f", "new-1"),
            "event:e1 r:app/two": ended_line("s", "6-0"),
            "event:e1 o": "0",
            "event:e1 f": "1",
            "event:e1 ttl": "<now+5000s>",
            "dead new-1": dead("failed"),
            "runs new-1": {"e1:app/job": "f", "e1:app/two": "s"},
            "published settled:e1": "",
        }
    )
    return settle(keyspace, [ends(runs[0], "f"), ends(runs[1])], [], changes)


@case
def several_queues(keyspace: Keyspace) -> Step:
    """Runs of several queues and events settle together; the answer names runs that are not this worker's any more."""
    seed_queue(keyspace, "mail")
    events = {"e1": ("5-0", "default"), "e2": ("6-0", "mail"), "e3": ("7-0", "default")}
    runs = []
    for event_id, (entry, name) in events.items():
        seed_record(keyspace, event_id, kind="c", runs="1", fields={"r:app/job": run_line("q", entry, queue=name)})
        runs.append(seed_run(keyspace, entry, event_id, name=name))
    keyspace.seed("XACK", "queue:app/default", "workers", "7-0")
    keyspace.seed("HSET", "event:e3", "r:app/job", run_line("q", "9-0"))  # another worker's by now
    unknown = delivery(keyspace, "4-0", "gone")
    changes = (
        gone()
        | gone("6-0", "mail")
        | {
            "event:e1 r:app/job": ended_line("s", "5-0"),
            "event:e2 r:app/job": ended_line("s", "6-0", queue="mail"),
            "event:e1 ttl": "<now+1000s>",
            "event:e2 ttl": "<now+1000s>",
            "runs new-1": {"e1:app/job": "s", "e2:app/job": "s"},
        }
    )
    return settle(keyspace, [ends(run) for run in (runs[0], unknown, *runs[1:])], [1, 3], changes, foreign=[3])


@case
def with_a_trail(keyspace: Keyspace) -> Step:
    """A run that has not succeeded at once has its last attempt listed, and what it has sent."""
    run = seed_only_run(keyspace)
    keyspace.seed("HSET", "event:e1", "a:app/job", "1 failed w0 1 2 -")
    later = msgspec.structs.replace(run, state=RunState(attempt=2))
    settled = msgspec.structs.replace(ends(later), trail=Trail("succeeded", "-", '["e2"]'))
    changes = (
        succeeded("<now+2000s>")
        | FADES
        | {
            "event:e1 r:app/job": ended_line("s", "5-0", state="2 0 0 0"),
            "event:e1 a:app/job": "1 failed w0 1 2 -\n2 succeeded w1 <now-10s> <now> -",
            "event:e1 c:app/job": '["e2"]',
        }
    )
    return settle(keyspace, [settled], [], changes)
