"""What `settle` must give and change for runs with an ordering key."""

from __future__ import annotations

from headrace_worker.protocol.delivery import Delivery
from tests.scripts.cases.case import TURNS, Step, case, delivery, run_line, seed_line, seed_record, seed_run, turn
from tests.scripts.cases.settle.runs import ended_line, ends, failed, settle, succeeded
from tests.scripts.state import NOW, Keyspace


def _seed_turn(keyspace: Keyspace, *behind: str) -> Delivery:
    """A run has the turn of its key; those of other events wait behind it."""
    seed_line(keyspace, TURNS, turn("e1"), *(turn(each) for each in behind))
    seed_record(keyspace, "e1", kind="c", runs="1", fields={"r:app/job": run_line("q", "5-0"), "k": "user:1"})
    return seed_run(keyspace, "5-0", "e1", ordering_key="user:1")


@case
def the_last_of_an_ordering_key(keyspace: Keyspace) -> Step:
    """When the last run of a key has settled nothing of the key is left."""
    run = _seed_turn(keyspace)
    return settle(keyspace, [ends(run)], [], succeeded("<now+1000s>") | {f"{TURNS} 0": None})


@case
def the_next_of_an_ordering_key(keyspace: Keyspace) -> Step:
    """When a run of a key has ended, the next one is due at once and in the answer, and the leader is woken."""
    run = _seed_turn(keyspace, "e2", "e3")
    changes = failed("t", "timed_out") | {
        f"{TURNS} 0": turn("e2"),
        f"{TURNS} 1": turn("e3"),
        f"{TURNS} 2": None,
        f"due {turn('e2')}": NOW,
        "wake 0": "1",
    }
    return settle(keyspace, [ends(run, "t")], [], changes, in_turn=[turn("e2")])


@case
def a_foreign_turn(keyspace: Keyspace) -> Step:
    """A foreign member behind a run of a key is due as it is, for the leader to dead-letter, and not in the answer."""
    run = _seed_turn(keyspace)
    keyspace.seed("RPUSH", TURNS, "foreign")
    changes = succeeded("<now+1000s>") | {
        f"{TURNS} 0": "foreign", f"{TURNS} 1": None, "due foreign": NOW, "wake 0": "1",
    }  # fmt: skip
    return settle(keyspace, [ends(run)], [], changes)


@case
def several_of_several_ordering_keys(keyspace: Keyspace) -> Step:
    """Each key's next run is due, that of the same key only once its own turn has come; others have no turns."""
    runs = [
        _seed_turn(keyspace, "e2"),
        seed_run(keyspace, "6-0", "e4"),
        seed_run(keyspace, "7-0", "e5", ordering_key="b"),
    ]
    following = "o:1:b:default:e6:app/job"
    seed_line(keyspace, "line:app/job:b", "o:1:b:default:e5:app/job", following)
    for event_id, entry in (("e4", "6-0"), ("e5", "7-0")):
        seed_record(keyspace, event_id, kind="c", runs="1", fields={"r:app/job": run_line("q", entry)})
    changes = succeeded("<now+1000s>") | {
        "queue:app/default 6-0": None,
        "queue:app/default 7-0": None,
        "event:e4 r:app/job": ended_line("s", "6-0"),
        "event:e4 ttl": "<now+1000s>",
        "event:e5 r:app/job": ended_line("s", "7-0"),
        "event:e5 ttl": "<now+1000s>",
        "runs new-1": {"e1:app/job": "s", "e4:app/job": "s", "e5:app/job": "s"},
        f"{TURNS} 0": turn("e2"),
        f"{TURNS} 1": None,
        f"due {turn('e2')}": NOW,
        "line:app/job:b 0": following,
        "line:app/job:b 1": None,
        f"due {following}": NOW,
        "wake 0": "1",
    }
    return settle(keyspace, [ends(run) for run in runs], [], changes, in_turn=[turn("e2"), following])


@case
def a_turn_that_is_not_ours(keyspace: Keyspace) -> Step:
    """A run that another worker has meanwhile keeps its place in the key's line."""
    seed_line(keyspace, TURNS, turn("e1"), turn("e2"))
    seed_record(keyspace, "e1", kind="c", runs="1", fields={"r:app/job": run_line("q", "6-0"), "k": "user:1"})
    seed_run(keyspace, "6-0", "e1", worker="w2", ordering_key="user:1")
    run = delivery(keyspace, "5-0", "e1", ordering_key="user:1")
    return settle(keyspace, [ends(run)], [0], {}, foreign=[0])


@case
def turns_that_are_lost(keyspace: Keyspace) -> Step:
    """A run that is not first in the turns of its key, as something else has written there, passes none on."""
    seed_line(keyspace, TURNS, turn("e9"), turn("e1"))
    seed_record(keyspace, "e1", kind="c", runs="1", fields={"r:app/job": run_line("q", "5-0"), "k": "user:1"})
    run = seed_run(keyspace, "5-0", "e1", ordering_key="user:1")
    return settle(keyspace, [ends(run)], [], succeeded("<now+1000s>"))
