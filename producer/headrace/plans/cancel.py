"""Cancels a delayed event, or a run, and looks whether the functions of canceled runs go on. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import cast

import msgspec

from headrace.calls import canceling, records
from headrace.calls.records import FoundRun
from headrace.errors import EventNotFound, HeadraceError, InvalidArgument, RunNotFound, RunNotQueued, StillExecuting
from headrace.formats.outgoing import MAX_TEXT
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import CanceledRun, EventRecord, RunError, RunRecord
from headrace.model.retention import Retention
from headrace.plans.plan import Plan
from headrace.plans.read import find_partition, find_run, readable
from headrace.plans.side_by_side import side_by_side
from headrace.plans.wait import seconds

FIRST_PAUSE_S = 0.05
"""So long a wait for functions pauses after its first look; each further pause is twice as long, up to a bound."""
_LOOKS = 5
"""How often a run is looked up whose queue or ordering key has changed since the last look; once is a rare event."""


class CanceledEvent(msgspec.Struct, frozen=True):
    """An event after its cancellation, and its runs that were canceled with it."""

    record: EventRecord
    runs: list[CanceledRun] = []


def cancel_event(
    partitions: Partitions,
    event_id: str,
    retention: Retention,
    seal: Seal | None = None,
    *,
    runs: bool = False,
    reason: str | None = None,
) -> Plan[CanceledEvent]:
    """Cancel a delayed event; return its record, which says whether it is canceled or was delivered before.

    Args:
        runs: of an event that was delivered, cancel all open runs; one that has none yet is canceled itself.
        reason: why, for the runs.
    """
    said = check_reason(reason)
    record = yield from _cancel_delayed(partitions, event_id, retention, seal, pending=runs)
    if not runs or record.is_settled:
        return CanceledEvent(record)
    canceled: list[CanceledRun] = []
    ended: list[RunRecord] = []
    for run in record.runs:
        if not run.is_settled:
            canceled.append((yield from cancel_run(partitions, run.id, retention, said or None, seal)))
            run = canceled[-1].run  # noqa: PLW2901 - as it is now
        ended.append(run)
    return CanceledEvent(msgspec.structs.replace(record, status="settled", runs=ended), canceled)


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
        queued: only while it is queued, and no worker has it, or waits behind another one of its ordering key.

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
        return CanceledRun("asked", record, status) if answer == "asked" else CanceledRun("canceled", record)
    raise RunNotFound(run)


def seconds_of_wait(wait: float | timedelta | None) -> float | None:
    """Return how long to wait for functions to end, in seconds; None for no wait. Raise InvalidArgument."""
    return None if wait is None else seconds(wait, "wait")


def asked(canceled: Iterable[CanceledRun | HeadraceError]) -> list[CanceledRun]:
    """Return those that a worker had."""
    return [each for each in canceled if isinstance(each, CanceledRun) and each.answer == "asked"]


def still_executing(partitions: Partitions, canceled: Sequence[CanceledRun]) -> Plan[list[CanceledRun]]:
    """Return those whose functions have not ended yet, as far as their workers are alive. To be run with `partial`."""
    answers = yield from side_by_side([_is_executing(partitions, each) for each in canceled])
    for answer in answers:
        if isinstance(answer, HeadraceError):
            raise answer
    return [each for each, is_executing in zip(canceled, answers, strict=True) if is_executing]


def _is_executing(partitions: Partitions, canceled: CanceledRun) -> Plan[bool]:
    run = canceled.run
    keys = yield from find_partition(partitions, run.event_id)
    (answer,) = yield [canceling.is_pending(keys, run.job, run.queue, canceled.entry)]
    return bool(readable(keys, run.event_id, answer))


def run_after_wait(
    found: CanceledRun | HeadraceError, going: Collection[CanceledRun], wait_s: float | None
) -> CanceledRun | HeadraceError:
    """Return what a cancellation has come to after a wait for the functions, of which some go on."""
    if wait_s is None or not isinstance(found, CanceledRun) or found.answer != "asked":
        return found
    if found in going:
        return StillExecuting(found.run.id, wait_s)
    return msgspec.structs.replace(found, answer="stopped")


def event_after_wait(
    found: CanceledEvent | HeadraceError, going: Collection[CanceledRun], wait_s: float | None
) -> EventRecord | HeadraceError:
    """Return the record of a canceled event after such a wait, or the error of the first run that goes on."""
    if not isinstance(found, CanceledEvent):
        return found
    ends = (run_after_wait(each, going, wait_s) for each in found.runs)
    return next((each for each in ends if isinstance(each, StillExecuting)), found.record)


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
