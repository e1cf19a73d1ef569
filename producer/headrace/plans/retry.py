"""Queues runs again by hand. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from headrace.calls import records, rerunning
from headrace.calls.records import FoundRun
from headrace.errors import HeadraceError, RunNotFound, RunNotRetryable
from headrace.formats.codec import to_micros
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.formats.trails import note_of_outcome
from headrace.model.event import FAILED_STATUSES, RunRecord, RunStatus
from headrace.plans.plan import Plan
from headrace.plans.read import find_run, readable
from headrace.plans.side_by_side import CHEAP_AT_ONCE, side_by_side


def retry_run(partitions: Partitions, run: str, seal: Seal | None = None, *, canceled: bool = False) -> Plan[RunRecord]:
    """Queue a run that ended without success, or whose entry was deleted, again from its first attempt.

    Args:
        canceled: also one that was canceled.
    """
    found = yield from find_run(partitions, run, seal)
    return (yield from _retry(run, *found, seal, canceled=canceled))


def retry_runs(
    partitions: Partitions, runs: Sequence[str], seal: Seal | None = None, *, canceled: bool = False
) -> Plan[list[RunRecord | HeadraceError]]:
    """Retry each run; return its record, or the error. Those of one ordering key are queued in the given order."""
    looks = yield from side_by_side((find_run(partitions, run, seal) for run in runs), at_once=CHEAP_AT_ONCE)
    found = {place: look for place, look in enumerate(looks) if not isinstance(look, HeadraceError)}
    retried = yield from side_by_side(
        _retry(runs[place], *look, seal, canceled=canceled) for place, look in found.items()
    )
    results = dict(zip(found, retried, strict=True))
    return [look if isinstance(look, HeadraceError) else results[place] for place, look in enumerate(looks)]


def _retry(run: str, keys: Keys, found: FoundRun, seal: Seal | None, *, canceled: bool) -> Plan[RunRecord]:
    known = found.run
    is_open = known.status in ("queued", "executing")
    may_run = known.status in FAILED_STATUSES or (canceled and known.status == "canceled")
    if not (is_open or may_run):
        if known.status == "canceled":
            raise RunNotRetryable(run, known.status, "give canceled=True to retry it all the same")
        raise RunNotRetryable(run, known.status, "only a run that ended without success can be")
    ended_ms = to_micros(known.finished_at) // 1000 if known.finished_at else 0
    note = note_of_outcome(found.outcome, known.id, seal)
    again = rerunning.rerun(
        keys, known.event_id, known.job, known.queue, found.ordering_key, ended_ms, note=note, canceled=canceled
    )
    answers = yield [again, records.read_run(keys, known.event_id, known.job, seal)]
    (answer, _), following = (readable(keys, known.event_id, each) for each in answers)
    if answer == "missing":
        raise RunNotFound(run)
    if answer == "gone":
        raise RunNotRetryable(run, known.status, "the event's payload is not kept any more (retention)")
    if is_open and answer == "refused":
        raise RunNotRetryable(
            run, known.status, "only a run that ended without success, or whose entry is gone, can be"
        )
    # A refusal says that the run was queued since the read: by this call, whose reply was lost, or by another client.
    if following is not None:
        return cast("FoundRun", following).run
    return _queued_again(known, "waiting" if answer == "waits" else "queued")


def _queued_again(run: RunRecord, status: RunStatus) -> RunRecord:
    """Return the record that a run had once it was queued again, where nothing of it is kept any more (retention)."""
    return RunRecord(
        id=run.id, event_id=run.event_id, event_name=run.event_name, job=run.job, status=status, attempt=1,
        queue=run.queue,
    )  # fmt: skip
