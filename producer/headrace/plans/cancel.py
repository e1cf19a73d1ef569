"""Cancels a delayed event. Pure."""

from __future__ import annotations

import msgspec

from headrace.calls import canceling, records
from headrace.errors import EventNotFound
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import EventRecord
from headrace.model.retention import Retention
from headrace.plans.plan import Plan
from headrace.plans.read import find_partition, readable


def cancel_event(
    partitions: Partitions, event_id: str, retention: Retention, seal: Seal | None = None
) -> Plan[EventRecord]:
    """Cancel a delayed event; return its record, which says whether it is canceled or was delivered before."""
    keys = yield from find_partition(partitions, event_id)
    before: EventRecord | None
    after: EventRecord | None
    look = records.read_record(keys, event_id, seal)
    answers = yield [look, canceling.cancel(keys, event_id, retention), look]
    before, canceled_at, after = (readable(keys, event_id, answer) for answer in answers)
    if after is not None:
        return after
    if before is None or canceled_at is None:
        raise EventNotFound(event_id)
    # Nothing is kept of the event (retention), so its record is what was read before, canceled.
    return msgspec.structs.replace(before, status="canceled", canceled_at=canceled_at)
