"""Holds what came of a fault against the promise: the worker works or ends, and every run settles. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatch

from headrace import EventRecord, RunRecord
from tests.faults.calls import Call
from tests.faults.inside.app import APP, EXPECTED
from tests.faults.inside.fault import Kind

LATE_S = 12.0
"""How late a delayed event may come; a leader that stands still is bounded by few leases."""
_REASONS = (
    "does not work, and ends", "can't stop in order, and ends", "the worker has ended", "Traceback", "Timeout (",
)  # fmt: skip
"""One of these stands in the output; the last is faulthandler's, where no thread of Python's turns any more."""
ALLOWED = {
    "tasks.guard:Guard.thread": (
        "alone, ",
        "plain functions wait for a thread, as limits of threads pass; the rest goes on",
    ),
    "logs.*:*": ("does not say why", "what fails is how it says so; the exit code tells"),
    "logs.logger:*": ("does not say why", "as in the modules of logs"),
}
"""What places may do to the promise, by a pattern of theirs: what is part of the finding then, and why."""
_FAULTS = {
    "error": ("RuntimeError", "NotSealed", "UnencodableOutput", "Undescribed"),
    "memory": ("MemoryError", "NotSealed", "UnencodableOutput", "Undescribed"),
    "base": ("tests.faults.inside.fault.Injected", "NotSealed", "UnencodableOutput", "Undescribed"),
    "never": ("TimeoutError",),
    "late": ("RuntimeError", "NotSealed", "UnencodableOutput", "Undescribed"),
}
"""How the error of a run says that its attempts have failed by the fault."""
_EXPECTED_OF = {f"{APP}/{job}": status for jobs in EXPECTED.values() for job, status in jobs.items()}


def is_allowed(place: str, finding: str) -> bool:
    """Whether the promise leaves this finding open for the place."""
    return any(fnmatch(place, pattern) and found in finding for pattern, (found, _) in ALLOWED.items())


def wrong_runs(records: Mapping[str, EventRecord], sent: Mapping[str, str], kind: Kind) -> list[str]:
    """Return what is wrong about the runs of all events."""
    wrong: list[str] = []
    for event_id, record in records.items():
        name = sent.get(event_id, record.name)
        expected = EXPECTED.get(name, {})
        runs = {run.job.partition("/")[2]: run for run in record.runs}
        if runs.keys() != expected.keys():
            wrong.append(f"{name}: has runs of {sorted(runs)}, not of {sorted(expected)}")
        wrong += [
            f"{name}: {job} is {run.status}, not {expected.get(job)}{_error(run)}"
            for job, run in runs.items()
            if run.status != expected.get(job) and not _is_failed_by(run, kind)
        ]
    return wrong


def failed_runs(records: Mapping[str, EventRecord], kind: Kind) -> int:
    """Return how many runs have failed by the fault, as their records say."""
    runs = [run for record in records.values() for run in record.runs if run.status != _EXPECTED_OF.get(run.job)]
    return sum(_is_failed_by(run, kind) for run in runs)


def _is_failed_by(run: RunRecord, kind: Kind) -> bool:
    failed = run.status in {"failed", "timed_out"}
    return failed and run.error is not None and run.error.type in _FAULTS[kind.effect]


def late_events(records: Mapping[str, EventRecord], joined_at: datetime | None) -> list[str]:
    """Return which delayed events came too early, or too late.

    Args:
        joined_at: when the whole worker came: what was due before is to come soon after it, at the latest.
    """
    wrong: list[str] = []
    for record in records.values():
        if record.deliver_at is None or record.delivered_at is None:
            continue
        due = record.deliver_at
        if record.delivered_at < due:
            wrong.append(f"a delayed event came early, by {due - record.delivered_at}")
        if joined_at is not None and due < joined_at < record.delivered_at:
            due = joined_at
        if record.delivered_at - due > timedelta(seconds=LATE_S):
            wrong.append(f"a delayed event came {(record.delivered_at - due).total_seconds():.1f} s late")
    return wrong


def repeated(calls: Sequence[Call]) -> list[str]:
    """Return which attempts were called more than once."""
    counts = Counter((call.event, call.job, call.attempt) for call in calls)
    return [f"{job} was called {count} times for one attempt" for (_, job, _), count in counts.items() if count > 1]


def silent_end(code: int, output: str) -> list[str]:
    """Return what is wrong about the end of a worker that no test had requested."""
    if code == 0:
        return ["the worker ended by itself, with exit code 0"]
    if not any(reason in output for reason in _REASONS):
        return [f"the worker ended with {code}, and does not say why"]
    return []


def _error(run: RunRecord) -> str:
    return "" if run.error is None else f" ({run.error.type}: {run.error.message[:80]})"
