"""What `retry` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace_worker.protocol import settling
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.settling import Recorded, Retried, Trail
from tests.scripts.cases.case import (
    FUTURE,
    PAST,
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
from tests.scripts.state import Changes, Keyspace

_AGE_MS, _DELAY_MS = 10_000, 60_000


def _seed(keyspace: Keyspace, event_id: str = "e1", entry: str = "5-0", name: str = "default") -> Delivery:
    fields: dict[str, str | int] = {"r:app/job": run_line("x", entry, queue=name, worker="w1", started=PAST)}
    seed_record(keyspace, event_id, runs="1", fields=fields)
    return seed_run(keyspace, entry, event_id, name=name)


def _wait(run: Delivery, delay_ms: int = _DELAY_MS, outcome: str = "error") -> Retried:
    return Retried(run, "2 0 0 0", _AGE_MS, delay_ms, outcome.encode())


def _waits(event_id: str = "e1", entry: str = "5-0", name: str = "default", at: str = "<now+60s>") -> Lines:
    line = run_line("w", "-", state="2 0 0 0", queue=name, worker="w1", started="<now-10s>", outcome="error")
    return {
        f"queue:app/{name} {entry}": None,
        f"queue:app/{name} workers w1": "",
        f"event:{event_id} r:app/job": line,
        f"due r:{name}:{event_id}:app/job": at,
    }


def _retry(
    keyspace: Keyspace,
    runs: Sequence[Retried],
    missed: list[int],
    changes: Changes,
    foreign: Sequence[int] = (),
    canceled: Sequence[int] = (),
) -> Step:
    recorded = Recorded(missed, foreign=list(foreign), canceled=list(canceled))
    return Step(settling.retry(keyspace.keys, "w1", runs), recorded, changes)


@case
def a_failed_attempt(keyspace: Keyspace) -> Step:
    """A run's entry is gone, it waits in `due`, its field has error and next attempt, and the promoter is woken."""
    run = _seed(keyspace)
    return _retry(keyspace, [_wait(run)], [], _waits() | {"wake 0": "1"})


@case
def with_a_trail(keyspace: Keyspace) -> Step:
    """The attempt is the last of the run's attempts, and what it has sent is named."""
    run = _seed(keyspace)
    keyspace.seed("HSET", "event:e1", "a:app/job", "1 lost w0 1 2 -", "c:app/job", '["old"]')
    wait = msgspec.structs.replace(_wait(run), trail=Trail("failed", '["ValueError","x y"]', '["e2"]'))
    changes = _waits() | {
        "wake 0": "1",
        "event:e1 a:app/job": '1 lost w0 1 2 -\n1 failed w1 <now-10s> <now> ["ValueError","x y"]',
        "event:e1 c:app/job": '["e2"]',
    }
    return _retry(keyspace, [wait], [], changes)


@case
def without_an_error(keyspace: Keyspace) -> Step:
    """A wait without an error has a field of one line."""
    run = _seed(keyspace)
    line = run_line("w", "-", state="2 0 0 0", worker="w1", started="<now-10s>")
    return _retry(keyspace, [_wait(run, outcome="")], [], _waits() | {"wake 0": "1", "event:e1 r:app/job": line})


@case
def without_a_delay(keyspace: Keyspace) -> Step:
    """A wait of nothing is due now."""
    run = _seed(keyspace)
    return _retry(keyspace, [_wait(run, 0)], [], _waits(at="<now>") | {"wake 0": "1"})


@case
def behind_an_earlier_time(keyspace: Keyspace) -> Step:
    """A wait that is not the first in `due` wakes no promoter."""
    soon = keyspace.now_ms() + 30_000
    keyspace.seed("ZADD", "due", soon, "e:earlier")
    seed_record(keyspace, "earlier", due=soon, delivered=0)
    run = _seed(keyspace)
    return _retry(keyspace, [_wait(run)], [], _waits())


@case
def behind_what_is_due_already(keyspace: Keyspace) -> Step:
    """Where the first in `due` is due, perhaps added without a wake-up, any wait wakes the promoter."""
    keyspace.seed("ZADD", "due", PAST, "foreign")
    run = _seed(keyspace)
    return _retry(keyspace, [_wait(run)], [], _waits() | {"wake 0": "1"})


@case
def a_rung_wake(keyspace: Keyspace) -> Step:
    """A wake that was rung already gets no second element."""
    keyspace.seed("LPUSH", "wake", "1")
    run = _seed(keyspace)
    return _retry(keyspace, [_wait(run)], [], _waits())


@case
def the_first_in_due(keyspace: Keyspace) -> Step:
    """With nothing in `due` any wait wakes the promoter."""
    keyspace.seed("DEL", "due")
    run = _seed(keyspace)
    return _retry(keyspace, [_wait(run)], [], _waits() | {"wake 0": "1"})


@case
def several_queues(keyspace: Keyspace) -> Step:
    """Runs of several queues wait together; the answer names runs that are not this worker's any more."""
    seed_queue(keyspace, "mail")
    runs = [_seed(keyspace), _seed(keyspace, "e2", "6-0", "mail"), _seed(keyspace, "a:b", "7-0")]
    taken = _seed(keyspace, "e4", "8-0")
    keyspace.seed("XACK", "queue:app/default", "workers", "8-0")
    changes = _waits() | _waits("e2", "6-0", "mail", "<now+20s>") | _waits("a:b", "7-0") | {"wake 0": "1"}
    waits = [
        _wait(runs[0]),
        _wait(taken),
        _wait(runs[1], 20_000),
        _wait(runs[2]),
        _wait(delivery(keyspace, "4-0", "gone")),
    ]
    return _retry(keyspace, waits, [1, 4], changes)


@case
def the_earliest_of_several_rings(keyspace: Keyspace) -> Step:
    """The promoter is woken if one wait of a batch ends before all others, wherever it stands."""
    keyspace.seed("ZADD", "due", keyspace.now_ms() + 90_000, "e:soon")
    seed_record(keyspace, "soon", due=PAST, delivered=0)
    runs = [_seed(keyspace), _seed(keyspace, "e2", "6-0"), _seed(keyspace, "e3", "7-0")]
    waits = [_wait(runs[0], 120_000), _wait(runs[1], 60_000), _wait(runs[2], 120_000)]
    changes = _waits(at="<now+120s>") | _waits("e2", "6-0") | _waits("e3", "7-0", at="<now+120s>") | {"wake 0": "1"}
    return _retry(keyspace, waits, [], changes)


@case
def an_entry_that_is_not_ours(keyspace: Keyspace) -> Step:
    """A wait for an entry that is not pending any more changes nothing and wakes no promoter."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("q", "6-0")})
    seed_run(keyspace, "6-0", "e1", worker="w2")
    return _retry(keyspace, [_wait(delivery(keyspace, "5-0", "e1"))], [0], {}, [0])


@case
def an_entry_that_is_none_of_the_run(keyspace: Keyspace) -> Step:
    """An entry that names a run with another entry lets nothing wait, stays pending, and stops no other."""
    run = _seed(keyspace)
    forged = seed_run(keyspace, "6-0", "e1")
    changes = _waits() | {"wake 0": "1", "queue:app/default workers w1": "6-0"}
    return _retry(keyspace, [_wait(forged), _wait(run)], [0], changes, [0])


@case
def the_same_wait_again(keyspace: Keyspace) -> Step:
    """A wait that is recorded already, its reply having been lost, is not begun anew."""
    fields: dict[str, str | int] = {"r:app/job": run_line("w", "-", state="2 0 0 0", worker="w1")}
    seed_record(keyspace, "e1", runs="1", fields=fields)
    keyspace.seed("ZADD", "due", FUTURE, "r:default:e1:app/job")
    return _retry(keyspace, [_wait(delivery(keyspace, "5-0", "e1"))], [0], {}, [0])


@case
def a_run_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """It keeps its turn while it waits, and its member names its key."""
    seed_line(keyspace, TURNS, turn("e1"), turn("e2"))
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("x", "5-0", worker="w1"), "k": "user:1"})
    run = seed_run(keyspace, "5-0", "e1", ordering_key="user:1")
    changes = _waits() | {"wake 0": "1", f"due {turn('e1')}": "<now+60s>"}
    del changes["due r:default:e1:app/job"]
    return _retry(keyspace, [_wait(run)], [], changes)


@case
def a_canceled_run(keyspace: Keyspace) -> Step:
    """A run that was canceled meanwhile waits for nothing; its entry is not pending any more, its events are kept."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("c", "5-0", worker="w1")})
    run = seed_run(keyspace, "5-0", "e1")
    keyspace.seed("XDEL", "queue:app/default", "5-0")
    wait = msgspec.structs.replace(_wait(run), trail=Trail("failed", "-", '["e2"]'))
    changes: Changes = {"queue:app/default workers w1": "", "event:e1 c:app/job": '["e2"]'}
    return _retry(keyspace, [wait], [], changes, canceled=[0])
