"""Waits for the settling of an event. Pure."""

from __future__ import annotations

from datetime import timedelta

from headrace.calls import records
from headrace.errors import EventNotFound, InvalidArgument
from headrace.formats.keys import Keys
from headrace.formats.seal import Seal
from headrace.model.event import EventRecord
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


def seconds(timeout: float | timedelta) -> float:
    """Return how long to wait, in seconds, or raise InvalidArgument."""
    given = seconds_of(timeout)
    if given is None or not given >= 0:  # as NaN is not
        raise InvalidArgument("timeout", f"must be seconds >= 0 or a timedelta, not {timeout!r}")
    return given
