"""Cancels a delayed event, or a run. Pure."""

from __future__ import annotations

from typing import cast

import msgspec

from headrace.calls import canceling, records
from headrace.calls.records import FoundRun
from headrace.errors import EventNotFound, InvalidArgument, RunNotFound, RunNotQueued
from headrace.formats.outgoing import MAX_TEXT
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import CanceledRun, EventRecord, RunError, RunRecord
from headrace.model.retention import Retention
from headrace.plans.plan import Plan
from headrace.plans.read import find_partition, find_run, readable

_LOOKS = 5
"""How often a run is looked up whose queue or ordering key has changed since the last look; once is a rare event."""


def cancel_event(
    partitions: Partitions,
    event_id: str,
    retention: Retention,
    seal: Seal | None = None,
    *,
    runs: bool = False,
    reason: str | None = None,
) -> Plan[EventRecord]:
    """Cancel a delayed event; return its record, which says whether it is canceled or was delivered before.

    Args:
        runs: of an event that was delivered, cancel all open runs; one that has none yet is canceled itself.
        reason: why, for the runs.
    """
    said = check_reason(reason)
    record = yield from _cancel_delayed(partitions, event_id, retention, seal, pending=runs)
    if not runs or record.is_settled:
        return record
    ended: list[RunRecord] = []
    for run in record.runs:
        if not run.is_settled:
            canceled = yield from cancel_run(partitions, run.id, retention, said or None, seal)
            run = canceled.run  # noqa: PLW2901 - as it is now
        ended.append(run)
    return msgspec.structs.replace(record, status="settled", runs=ended)


def _cancel_delayed(
    partitions: Partitions, event_id: str, retention: Retention, seal: Seal | None, *, pending: bool
) -> Plan[EventRecord]:
    keys = yield from find_partition(partitions, event_id)
    before: EventRecord | None
    after: EventRecord | None
    look = records.read_record(keys, event_id, seal)
    answers = yield [look, canceling.cancel(keys, event_id, retention, pending=pending), look]
    before, canceled_at, after = (readable(keys, event_id, answer) for answer in answers)
    if after is not None:
        return after
    if before is None or canceled_at is None:
        raise EventNotFound(event_id)
    # Nothing is kept of the event (retention), so its record is what was read before, canceled.
    return msgspec.structs.replace(before, status="canceled", canceled_at=canceled_at)


def reschedule_event(partitions: Partitions, event_id: str, when: str, seal: Seal | None = None) -> Plan[EventRecord]:
    """Let a delayed event be due at another time; return its record, which says whether it is delayed.

    Args:
        when: as the `when` of `Terms`; empty for now.
    """
    keys = yield from find_partition(partitions, event_id)
    move = canceling.reschedule(keys, event_id, when or "+0")
    answers = yield [move, records.read_record(keys, event_id, seal)]
    _, record = (readable(keys, event_id, each) for each in answers)
    if record is None:
        raise EventNotFound(event_id)
    found: EventRecord = record
    return found


def cancel_run(
    partitions: Partitions,
    run: str,
    retention: Retention,
    reason: str | None = None,
    seal: Seal | None = None,
    *,
    queued: bool = False,
) -> Plan[CanceledRun]:
    """Cancel an open run for good; return what that has come to. To be run with `partial`.

    Args:
        queued: only while it is queued, and no worker has it.

    Raises:
        RunNotFound: no such run is known.
        RunNotQueued: it is to be queued, and is not.
        InvalidArgument: the reason breaks its rule.
    """
    said = check_reason(reason)
    for _ in range(_LOOKS):
        keys, found = yield from find_run(partitions, run, seal)
        known = found.run
        event_id, job = known.event_id, known.job
        cancel = canceling.cancel_run(
            keys, event_id, job, known.queue, found.ordering_key, retention, reason=said, queued=queued
        )
        answers = yield [cancel, records.read_run(keys, event_id, job, seal)]
        (answer, status), after = (readable(keys, event_id, each) for each in answers)
        if answer == "changed" and queued:
            raise RunNotQueued(run)
        if answer == "changed":
            continue
        if answer == "missing":
            raise RunNotFound(run)
        # Where nothing is kept of the run (retention), its record is what was read before, canceled.
        record = cast("FoundRun", after).run if after is not None else _canceled(known, said)
        if answer == "ended":
            return CanceledRun("canceled" if status == "c" else "already_finished", record)
        return CanceledRun("asked" if answer == "asked" else "canceled", record)
    raise RunNotFound(run)


def check_reason(reason: object) -> str:
    """Return the reason, empty if there is none; or raise InvalidArgument."""
    if reason is None:
        return ""
    if not isinstance(reason, str) or not 1 <= len(reason) <= MAX_TEXT:
        raise InvalidArgument("reason", f"must be a text of 1 to {MAX_TEXT} characters or None, not {reason!r:.80}")
    return reason


def _canceled(run: RunRecord, reason: str) -> RunRecord:
    error = RunError("Canceled", reason) if reason else None
    return msgspec.structs.replace(run, status="canceled", error=error)
