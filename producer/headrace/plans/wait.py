"""Waits for the settling of an event or of a run. Pure."""

from __future__ import annotations

from datetime import timedelta

from headrace.calls import records
from headrace.errors import EventNotFound, InvalidArgument, RunNotFound
from headrace.formats.keys import Keys
from headrace.formats.seal import Seal
from headrace.model.event import EventRecord, RunRecord
from headrace.model.ids import split_run_id
from headrace.model.moments import seconds_of
from headrace.plans.plan import Plan
from headrace.plans.read import as_id, readable


def watch(keys: Keys, event_id: str, seal: Seal | None = None) -> Plan[EventRecord]:
    """Ask that the settling of the event be published, and return its record as it is now."""
    _, record = yield [records.watch(keys, as_id(event_id)), records.read_record(keys, event_id, seal)]
    if record is None:
        raise EventNotFound(event_id)
    found: EventRecord = readable(keys, event_id, record)
    return found


def watch_run(keys: Keys, run: str, seal: Seal | None = None) -> Plan[RunRecord]:
    """Ask that the settling of the run's event be published, and return the run's record as it is now."""
    event_id, job = split_run_id(run) or ("", "")
    _, found = yield [records.watch(keys, event_id), records.read_run(keys, event_id, job, seal)]
    if found is None:
        raise RunNotFound(run)
    record: RunRecord = readable(keys, event_id, found).run
    return record


def event_of(run: str) -> str:
    """Return the event's id of a run's, or raise RunNotFound."""
    parts = split_run_id(as_id(run))
    if parts is None:
        raise RunNotFound(run)
    return parts[0]


def seconds(timeout: float | timedelta, name: str = "timeout") -> float:
    """Return how long to wait, in seconds, or raise InvalidArgument with the argument's name."""
    given = seconds_of(timeout)
    if given is None or not given >= 0:  # as NaN is not
        raise InvalidArgument(name, f"must be seconds >= 0 or a timedelta, not {timeout!r}")
    return given
