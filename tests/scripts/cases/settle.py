"""What `settle` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.model.retention import Retention
from headrace_worker.protocol import settling
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.settling import Recorded, Settled
from tests.scripts.cases.case import (
    FUTURE,
    NO_RETENTION,
    RETENTION,
    TURNS,
    Lines,
    Step,
    case,
    delivery,
    run_line,
    seed_line,
    seed_queue,
    seed_record,
    seed_run,
    turn,
)
from tests.scripts.state import NOW, Changes, World

_AGE_MS = 10_000


def _ends(run: Delivery, letter: str = "s", outcome: str = "output") -> Settled:
    reasons = {"s": "", "c": "", "f": "failed", "t": "timed_out", "i": "invalid_payload"}
    return Settled(run, letter, _AGE_MS, reasons[letter], outcome.encode())


def _line(letter: str, entry: str, *, state: str = "1 0 0 0", queue: str = "default", outcome: str = "output") -> str:
    return run_line(
        letter, entry, state=state, queue=queue, worker="w1", started="<now-10s>", finished=NOW, outcome=outcome
    )


def _settle(
    world: World,
    runs: Sequence[Settled],
    missed: list[int],
    changes: Changes,
    retention: Retention = RETENTION,
    *,
    in_turn: Sequence[str] = (),
    foreign: Sequence[int] = (),
) -> Step:
    recorded = Recorded(missed, list(in_turn), list(foreign))
    return Step(settling.settle(world.keys, "w1", runs, retention), recorded, changes)


def _gone(entry: str = "5-0", queue: str = "default") -> Lines:
    return {f"queue:app/{queue} {entry}": None, f"queue:app/{queue} workers w1": ""}


def _seed_only_run(world: World, kind: str = "s", *, waited: bool = False) -> Delivery:
    fields: dict[str, str | int] = {"r:app/job": run_line("q", "5-0")}
    seed_record(world, "e1", kind=kind, runs="1", fields=fields | ({"w": 1} if waited else {}))
    return seed_run(world, "5-0", "e1")


def _succeeded(ttl: str) -> Lines:
    return _gone() | {"event:e1 r:app/job": _line("s", "5-0"), "runs new-1": {"e1:app/job": "s"}, "event:e1 ttl": ttl}


_FADES: Lines = {"fading e1": "<now+1000s>"}
"""Its contents go after the retention, long before its id may be used again."""


def _dead(reason: str, run: str = "e1:app/job", error: str = "output") -> dict[str, str]:
    return {"run": run, "reason": reason, "error": error}


def _failed(letter: str, reason: str) -> Lines:
    return _gone() | {
        "event:e1 r:app/job": _line(letter, "new-1"),
        "runs new-1": {"e1:app/job": letter},
        "dead new-1": _dead(reason),
        "event:e1 ttl": "<now+5000s>",
    }


@case
def success(world: World) -> Step:
    """A run's entry is gone, its field has outcome and times, `runs` names it, and its event's record ends."""
    run = _seed_only_run(world, "c")
    return _settle(world, [_ends(run)], [], _succeeded("<now+1000s>"))


@case
def success_of_an_id_by_the_sender(world: World) -> Step:
    """The record of an event whose id the sender gave stays for its dedupe, if that is longer."""
    run = _seed_only_run(world, "s")
    return _settle(world, [_ends(run)], [], _succeeded("<now+2000s>") | _FADES)


@case
def success_of_a_derived_id(world: World) -> Step:
    """The record of an event whose id is derived is kept as long as failures are."""
    run = _seed_only_run(world, "d")
    return _settle(world, [_ends(run)], [], _succeeded("<now+5000s>") | _FADES)


@case
def success_without_output(world: World) -> Step:
    """A run without an output has a field of one line."""
    run = _seed_only_run(world, "c")
    changes = _succeeded("<now+1000s>") | {"event:e1 r:app/job": _line("s", "5-0", outcome="")}
    return _settle(world, [_ends(run, outcome="")], [], changes)


@case
def success_of_a_later_attempt(world: World) -> Step:
    """The field keeps the state that the run came with."""
    fields: dict[str, str | int] = {"r:app/job": run_line("x", "5-0", state="3 1 7 1")}
    seed_record(world, "e1", kind="c", runs="1", fields=fields)
    run = seed_run(world, "5-0", "e1", state="3 1 7 1 8")
    changes = _succeeded("<now+1000s>") | {"event:e1 r:app/job": _line("s", "5-0", state="3 1 7 1")}
    return _settle(world, [_ends(run)], [], changes)


@case
def failure(world: World) -> Step:
    """A run that failed is in `dead`, whose entry its field names, and its record is kept as long as failures are."""
    run = _seed_only_run(world, "c")
    return _settle(world, [_ends(run, "f")], [], _failed("f", "failed"))


@case
def timeout(world: World) -> Step:
    """A run that timed out is in `dead`."""
    run = _seed_only_run(world)
    return _settle(world, [_ends(run, "t")], [], _failed("t", "timed_out"))


@case
def an_invalid_payload(world: World) -> Step:
    """A run whose payload does not fit is in `dead`."""
    run = _seed_only_run(world)
    return _settle(world, [_ends(run, "i")], [], _failed("i", "invalid_payload"))


@case
def cancellation(world: World) -> Step:
    """A run that was canceled is not in `dead`, and its record ends as after success."""
    run = _seed_only_run(world, "c")
    changes = _succeeded("<now+1000s>") | {
        "event:e1 r:app/job": _line("c", "5-0", outcome=""),
        "runs new-1": {"e1:app/job": "c"},
    }
    return _settle(world, [_ends(run, "c", "")], [], changes)


@case
def someone_waits(world: World) -> Step:
    """Whoever waits for the event hears that its only run has ended."""
    run = _seed_only_run(world, "c", waited=True)
    return _settle(world, [_ends(run)], [], _succeeded("<now+1000s>") | {"published settled:e1": ""})


@case
def without_retention(world: World) -> Step:
    """With retention 0 the header alone stays, for dedupe."""
    run = _seed_only_run(world, "c", waited=True)
    changes = _succeeded("<now+100s>") | {
        "event:e1 r:app/job": None,
        "event:e1 e": None,
        "event:e1 w": None,
        "published settled:e1": "",
    }
    return _settle(world, [_ends(run)], [], changes, NO_RETENTION)


@case
def without_retention_and_dedupe(world: World) -> Step:
    """With retention 0 and dedupe 0 nothing of the event stays."""
    run = _seed_only_run(world, "d")
    changes = _gone() | {
        "event:e1 m": None,
        "event:e1 e": None,
        "event:e1 r:app/job": None,
        "runs new-1": {"e1:app/job": "s"},
    }
    return _settle(world, [_ends(run)], [], changes, NO_RETENTION)


@case
def a_failure_that_is_not_kept(world: World) -> Step:
    """With retention 0 for failures their contents go too; the dead letter stays until the next one."""
    run = _seed_only_run(world, "c")
    changes = _failed("f", "failed") | {"event:e1 r:app/job": None, "event:e1 e": None, "event:e1 ttl": "<now+100s>"}
    return _settle(world, [_ends(run, "f")], [], changes, NO_RETENTION)


def _seed_several(world: World, open_runs: int, *, failed: bool = False, waited: bool = False) -> Delivery:
    fields: dict[str, str | int] = {"o": open_runs, "r:app/job": run_line("q", "5-0")}
    extra: dict[str, str | int] = {**({"f": 1} if failed else {}), **({"w": 1} if waited else {})}
    seed_record(world, "e1", kind="c", runs="3", fields=fields | extra)
    return seed_run(world, "5-0", "e1")


@case
def one_of_several(world: World) -> Step:
    """While other runs of the event are open one less is, the record does not end, and nobody hears of it."""
    run = _seed_several(world, 3, waited=True)
    changes = _gone() | {
        "event:e1 r:app/job": _line("s", "5-0"),
        "event:e1 o": "2",
        "runs new-1": {"e1:app/job": "s"},
    }
    return _settle(world, [_ends(run)], [], changes)


@case
def one_of_several_fails(world: World) -> Step:
    """A failure among several runs is remembered until the last one has ended."""
    run = _seed_several(world, 2)
    changes = _gone() | {
        "event:e1 r:app/job": _line("f", "new-1"),
        "event:e1 o": "1",
        "event:e1 f": "1",
        "runs new-1": {"e1:app/job": "f"},
        "dead new-1": _dead("failed"),
    }
    return _settle(world, [_ends(run, "f")], [], changes)


@case
def retention_beyond_1970(world: World) -> Step:
    """A retention longer than the time since 1970 keeps every dead letter."""
    run = _seed_several(world, 2)
    changes = _gone() | {
        "event:e1 r:app/job": _line("f", "new-1"),
        "event:e1 o": "1",
        "event:e1 f": "1",
        "runs new-1": {"e1:app/job": "f"},
        "dead new-1": _dead("failed"),
    }
    return _settle(world, [_ends(run, "f")], [], changes, Retention(failure=100 * 366 * 86_400))


@case
def the_last_of_several(world: World) -> Step:
    """With its last run the record ends, and whoever waits hears of it."""
    run = _seed_several(world, 1, waited=True)
    changes = _succeeded("<now+1000s>") | {"event:e1 o": "0", "published settled:e1": ""}
    return _settle(world, [_ends(run)], [], changes)


@case
def the_last_of_several_fails(world: World) -> Step:
    """Where the last run fails the record is kept as long as failures are."""
    run = _seed_several(world, 1)
    return _settle(world, [_ends(run, "f")], [], _failed("f", "failed") | {"event:e1 o": "0"})


@case
def the_last_after_a_failure(world: World) -> Step:
    """Where an earlier run has failed the record is kept as long as failures are."""
    run = _seed_several(world, 1, failed=True)
    return _settle(world, [_ends(run)], [], _succeeded("<now+5000s>") | {"event:e1 o": "0"})


@case
def all_runs_of_an_event_at_once(world: World) -> Step:
    """The runs of an event that settle together count one after the other, with a failure among them."""
    fields: dict[str, str | int] = {
        "o": 2,
        "w": 1,
        "r:app/job": run_line("q", "5-0"),
        "r:app/two": run_line("q", "6-0"),
    }
    seed_record(world, "e1", kind="c", runs="2", fields=fields)
    runs = [seed_run(world, "5-0", "e1"), seed_run(world, "6-0", "e1", job="two")]
    changes = (
        _gone()
        | _gone("6-0")
        | {
            "event:e1 r:app/job": _line("f", "new-1"),
            "event:e1 r:app/two": _line("s", "6-0"),
            "event:e1 o": "0",
            "event:e1 f": "1",
            "event:e1 ttl": "<now+5000s>",
            "dead new-1": _dead("failed"),
            "runs new-1": {"e1:app/job": "f", "e1:app/two": "s"},
            "published settled:e1": "",
        }
    )
    return _settle(world, [_ends(runs[0], "f"), _ends(runs[1])], [], changes)


@case
def several_queues(world: World) -> Step:
    """Runs of several queues and events settle together; those that are not ours any more are told."""
    seed_queue(world, "mail")
    events = {"e1": ("5-0", "default"), "e2": ("6-0", "mail"), "e3": ("7-0", "default")}
    runs = []
    for event_id, (entry, name) in events.items():
        seed_record(world, event_id, kind="c", runs="1", fields={"r:app/job": run_line("q", entry, queue=name)})
        runs.append(seed_run(world, entry, event_id, name=name))
    world.seed("XACK", "queue:app/default", "workers", "7-0")
    world.seed("HSET", "event:e3", "r:app/job", run_line("q", "9-0"))  # another worker's by now
    gone = delivery(world, "4-0", "gone")
    changes = (
        _gone()
        | _gone("6-0", "mail")
        | {
            "event:e1 r:app/job": _line("s", "5-0"),
            "event:e2 r:app/job": _line("s", "6-0", queue="mail"),
            "event:e1 ttl": "<now+1000s>",
            "event:e2 ttl": "<now+1000s>",
            "runs new-1": {"e1:app/job": "s", "e2:app/job": "s"},
        }
    )
    return _settle(world, [_ends(run) for run in (runs[0], gone, *runs[1:])], [1, 3], changes, foreign=[3])


@case
def an_entry_that_is_not_ours(world: World) -> Step:
    """An outcome for an entry that is in nobody's hands any more changes nothing, not even a failure."""
    seed_record(world, "e1", runs="1", fields={"r:app/job": run_line("q", "6-0"), "w": 1})
    seed_run(world, "6-0", "e1", worker="w2")
    return _settle(world, [_ends(delivery(world, "5-0", "e1"), "f")], [0], {}, foreign=[0])


@case
def an_entry_that_is_none_of_the_run(world: World) -> Step:
    """One that names a run with another entry settles nothing, stays in hands, and hinders no other."""
    run = _seed_only_run(world, "c")
    forged = seed_run(world, "6-0", "e1")
    changes = _succeeded("<now+1000s>") | {"queue:app/default workers w1": "6-0"}
    return _settle(world, [_ends(forged, "f"), _ends(run)], [0], changes, foreign=[0])


@case
def an_entry_that_begins_as_the_runs(world: World) -> Step:
    """Of an entry whose id is but the beginning of the run's nothing is settled."""
    seed_record(world, "e1", kind="c", runs="1", fields={"r:app/job": run_line("q", "5-10")})
    return _settle(world, [_ends(seed_run(world, "5-1", "e1"))], [0], {}, foreign=[0])


@case
def an_entry_of_a_run_that_there_is_not(world: World) -> Step:
    """Of an event whose record knows no such run nothing is settled."""
    seed_record(world, "e1", kind="c", runs="1", fields={"r:app/other": run_line("q", "4-0")})
    return _settle(world, [_ends(seed_run(world, "5-0", "e1"))], [0], {}, foreign=[0])


@case
def an_entry_of_a_run_that_waits(world: World) -> Step:
    """A run that waits has no entry, whatever stands in its queue."""
    seed_record(world, "e1", kind="c", runs="1", fields={"r:app/job": run_line("w", "-", outcome="5-0 q 5-0")})
    return _settle(world, [_ends(seed_run(world, "5-0", "e1"))], [0], {}, foreign=[0])


@case
def another_state_than_the_records(world: World) -> Step:
    """It is the entry that says whose it is, not the length of its state."""
    fields: dict[str, str | int] = {"r:app/job": run_line("q", "5-0", state="10 0 0 0")}
    seed_record(world, "e1", kind="c", runs="1", fields=fields)
    return _settle(world, [_ends(seed_run(world, "5-0", "e1"))], [], _succeeded("<now+1000s>"))


@case
def the_same_outcome_again(world: World) -> Step:
    """An outcome that is recorded already, its reply having been lost, is not recorded twice."""
    line = run_line("s", "5-0", worker="w1", started=1_000_000_000_000, finished=1_000_000_000_000)
    seed_record(world, "e1", runs="1", fields={"r:app/job": line})
    world.seed("PEXPIREAT", "event:e1", FUTURE)
    return _settle(world, [_ends(delivery(world, "5-0", "e1"))], [0], {}, foreign=[0])


@case
def the_same_outcome_twice(world: World) -> Step:
    """Of two outcomes for one entry in a batch the first is recorded."""
    run = _seed_only_run(world, "c")
    return _settle(world, [_ends(run), _ends(run, "f")], [1], _succeeded("<now+1000s>"))


@case
def a_lost_record(world: World) -> Step:
    """A run whose record is gone leaves its outcome, which ends."""
    run = seed_run(world, "5-0", "e1")
    return _settle(world, [_ends(run)], [], _succeeded("<now+1000s>"))


@case
def a_lost_record_without_retention(world: World) -> Step:
    """A run whose record is gone leaves nothing where nothing is kept."""
    run = seed_run(world, "5-0", "e1")
    return _settle(world, [_ends(run)], [], _gone() | {"runs new-1": {"e1:app/job": "s"}}, NO_RETENTION)


@case
def a_damaged_count(world: World) -> Step:
    """A count of open runs that is no number stops no batch: the record ends with this run."""
    seed_record(world, "e1", kind="c", runs="2", fields={"o": "damaged", "r:app/job": run_line("q", "5-0")})
    run = seed_run(world, "5-0", "e1")
    return _settle(world, [_ends(run)], [], _succeeded("<now+1000s>"))


@case
def a_lost_entry(world: World) -> Step:
    """An entry that was deleted while it was in hand settles like any other."""
    run = _seed_only_run(world, "c")
    world.seed("XDEL", "queue:app/default", "5-0")
    changes = _succeeded("<now+1000s>")
    del changes["queue:app/default 5-0"]
    return _settle(world, [_ends(run)], [], changes)


# ordering keys


def _seed_turn(world: World, *behind: str) -> Delivery:
    """A run has the turn of its key; those of other events wait behind it."""
    seed_line(world, TURNS, turn("e1"), *(turn(each) for each in behind))
    seed_record(world, "e1", kind="c", runs="1", fields={"r:app/job": run_line("q", "5-0"), "k": "user:1"})
    return seed_run(world, "5-0", "e1", ordering_key="user:1")


@case
def the_last_of_an_ordering_key(world: World) -> Step:
    """When the last run of a key has settled nothing of the key is left."""
    run = _seed_turn(world)
    return _settle(world, [_ends(run)], [], _succeeded("<now+1000s>") | {f"{TURNS} 0": None})


@case
def the_next_of_an_ordering_key(world: World) -> Step:
    """When a run of a key has ended, however, the one behind it is due at once and told, and the leader is woken."""
    run = _seed_turn(world, "e2", "e3")
    changes = _failed("t", "timed_out") | {
        f"{TURNS} 0": turn("e2"),
        f"{TURNS} 1": turn("e3"),
        f"{TURNS} 2": None,
        f"due {turn('e2')}": NOW,
        "wake 0": "1",
    }
    return _settle(world, [_ends(run, "t")], [], changes, in_turn=[turn("e2")])


@case
def a_foreign_turn(world: World) -> Step:
    """What another program wrote behind a run of a key is due as it is, for the leader to set aside, and not told."""
    run = _seed_turn(world)
    world.seed("RPUSH", TURNS, "foreign")
    changes = _succeeded("<now+1000s>") | {
        f"{TURNS} 0": "foreign", f"{TURNS} 1": None, "due foreign": NOW, "wake 0": "1",
    }  # fmt: skip
    return _settle(world, [_ends(run)], [], changes)


@case
def several_of_several_ordering_keys(world: World) -> Step:
    """Each key's next run is due, that of the same key only once its own turn has come; others have no turns."""
    runs = [_seed_turn(world, "e2"), seed_run(world, "6-0", "e4"), seed_run(world, "7-0", "e5", ordering_key="b")]
    following = "o:1:b:default:e6:app/job"
    seed_line(world, "line:app/job:b", "o:1:b:default:e5:app/job", following)
    for event_id, entry in (("e4", "6-0"), ("e5", "7-0")):
        seed_record(world, event_id, kind="c", runs="1", fields={"r:app/job": run_line("q", entry)})
    changes = _succeeded("<now+1000s>") | {
        "queue:app/default 6-0": None,
        "queue:app/default 7-0": None,
        "event:e4 r:app/job": _line("s", "6-0"),
        "event:e4 ttl": "<now+1000s>",
        "event:e5 r:app/job": _line("s", "7-0"),
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
    return _settle(world, [_ends(run) for run in runs], [], changes, in_turn=[turn("e2"), following])


@case
def a_turn_that_is_not_ours(world: World) -> Step:
    """A run that is in other hands meanwhile keeps the turn of its key."""
    seed_line(world, TURNS, turn("e1"), turn("e2"))
    seed_record(world, "e1", kind="c", runs="1", fields={"r:app/job": run_line("q", "6-0"), "k": "user:1"})
    seed_run(world, "6-0", "e1", worker="w2", ordering_key="user:1")
    run = delivery(world, "5-0", "e1", ordering_key="user:1")
    return _settle(world, [_ends(run)], [0], {}, foreign=[0])


@case
def turns_that_are_lost(world: World) -> Step:
    """A run that is not first in the turns of its key, as something else has written there, passes none on."""
    seed_line(world, TURNS, turn("e9"), turn("e1"))
    seed_record(world, "e1", kind="c", runs="1", fields={"r:app/job": run_line("q", "5-0"), "k": "user:1"})
    run = seed_run(world, "5-0", "e1", ordering_key="user:1")
    return _settle(world, [_ends(run)], [], _succeeded("<now+1000s>"))
