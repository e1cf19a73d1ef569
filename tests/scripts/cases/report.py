"""What `report` must give and change."""

from __future__ import annotations

from headrace_worker.protocol.reporting import report
from tests.scripts.cases.case import FUTURE, Step, case
from tests.scripts.state import Changes, Keyspace

_COUNTS = {"app/job:s": 3, "app/job:ms": 40}
_COUNTED: Changes = {"tally:7 app/job:s": "3", "tally:7 app/job:ms": "40", "tally:7 ttl": "<now+90000s>"}


def _report(keyspace: Keyspace, changes: Changes, *, counts: bool = True, facts: bool = True) -> Step:
    call = report(
        keyspace.keys, "w1", minute=7,
        counts=_COUNTS if counts else {}, facts={"host": "h", "slots": "10"} if facts else {}, age_ms=20_000,
    )  # fmt: skip
    return Step(call, 1, changes, full="refused" if changes else "passes")


def _seed_worker(keyspace: Keyspace) -> None:
    keyspace.seed("ZADD", "workers", FUTURE, "w1")
    keyspace.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default", "host", "old")


@case
def counts_and_facts(keyspace: Keyspace) -> Step:
    """The counts of the minute are made, and end; the worker's facts are as it says."""
    _seed_worker(keyspace)
    facts: Changes = {"worker:w1 host": "h", "worker:w1 slots": "10", "worker:w1 started": "<now-20s>"}
    return _report(keyspace, {**_COUNTED, **facts})


@case
def counts_alone(keyspace: Keyspace) -> Step:
    """Counts are added to those of the minute."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "tally:7", "app/job:s", 2, "app/other:f", 1)
    return _report(keyspace, {**_COUNTED, "tally:7 app/job:s": "5"}, facts=False)


@case
def facts_alone(keyspace: Keyspace) -> Step:
    """Without counts there is no minute."""
    _seed_worker(keyspace)
    facts: Changes = {"worker:w1 host": "h", "worker:w1 slots": "10", "worker:w1 started": "<now-20s>"}
    return _report(keyspace, facts, counts=False)


@case
def a_worker_that_has_reported_before(keyspace: Keyspace) -> Step:
    """It has started when it said so first, however long its reports take."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "worker:w1", "started", 1_000)
    return _report(keyspace, {"worker:w1 host": "h", "worker:w1 slots": "10"}, counts=False)


@case
def a_worker_that_is_forgotten(keyspace: Keyspace) -> Step:
    """Its counts count; a name that was forgotten does not come back."""
    return _report(keyspace, _COUNTED)
