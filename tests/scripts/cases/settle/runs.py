"""Runs that a worker executes, and the call that settles them."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.model.retention import Retention
from headrace_worker.protocol import settling
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.settling import Recorded, Settled
from tests.scripts.cases.case import RETENTION, Lines, Step, run_line, seed_record, seed_run
from tests.scripts.state import NOW, Changes, Keyspace

AGE_MS = 10_000


def ends(run: Delivery, letter: str = "s", outcome: str = "output") -> Settled:
    reasons = {"s": "", "c": "", "f": "failed", "t": "timed_out", "i": "invalid_payload"}
    return Settled(run, letter, AGE_MS, reasons.get(letter, ""), outcome.encode())


def ended_line(
    letter: str, entry: str, *, state: str = "1 0 0 0", queue: str = "default", outcome: str = "output"
) -> str:
    return run_line(
        letter, entry, state=state, queue=queue, worker="w1", started="<now-10s>", finished=NOW, outcome=outcome
    )


def settle(
    keyspace: Keyspace,
    runs: Sequence[Settled],
    missed: list[int],
    changes: Changes,
    retention: Retention = RETENTION,
    *,
    in_turn: Sequence[str] = (),
    foreign: Sequence[int] = (),
    canceled: Sequence[int] = (),
) -> Step:
    recorded = Recorded(missed, list(in_turn), list(foreign), list(canceled))
    return Step(settling.settle(keyspace.keys, "w1", runs, retention), recorded, changes)


def gone(entry: str = "5-0", queue: str = "default") -> Lines:
    return {f"queue:app/{queue} {entry}": None, f"queue:app/{queue} workers w1": ""}


def seed_only_run(keyspace: Keyspace, kind: str = "s", *, waited: bool = False) -> Delivery:
    fields: dict[str, str | int] = {"r:app/job": run_line("q", "5-0")}
    seed_record(keyspace, "e1", kind=kind, runs="1", fields=fields | ({"w": 1} if waited else {}))
    return seed_run(keyspace, "5-0", "e1")


def succeeded(ttl: str) -> Lines:
    return gone() | {
        "event:e1 r:app/job": ended_line("s", "5-0"),
        "runs new-1": {"e1:app/job": "s"},
        "event:e1 ttl": ttl,
    }


FADES: Lines = {"fading e1": "<now+1000s>"}
"""Its contents go after the retention, long before its id may be used again."""


def dead(reason: str, run: str = "e1:app/job", error: str = "output") -> dict[str, str]:
    return {"run": run, "reason": reason, "error": error}


def failed(letter: str, reason: str) -> Lines:
    return gone() | {
        "event:e1 r:app/job": ended_line(letter, "new-1"),
        "runs new-1": {"e1:app/job": letter},
        "dead new-1": dead(reason),
        "event:e1 ttl": "<now+5000s>",
    }
