"""Lists what is delayed: events before their time, and runs that wait for their next attempt. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace.calls import records
from headrace.calls.call import Call
from headrace.formats.codec import MAX_MILLIS, from_millis
from headrace.formats.due import DueName
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.lists.arguments import check_limit, millis_of
from headrace.lists.bounds import RECORDS, Bounds
from headrace.lists.due import DueRow, look_ahead
from headrace.lists.due_records import name_of
from headrace.model.event import DelayedEntry
from headrace.model.ids import run_id
from headrace.model.page import Page
from headrace.plans.plan import Plan


def list_delayed(
    partitions: Partitions,
    since: datetime | None,
    until: datetime | None,
    cursor: str | None,
    limit: int,
    seal: Seal | None = None,
) -> Plan[Page[DelayedEntry]]:
    """Return a page of what is delayed, soonest first."""
    check_limit(limit)
    bounds = Bounds()
    bounds_ms = millis_of("since", since), millis_of("until", until)
    looked = yield from look_ahead(partitions, cursor, *bounds_ms, min(limit, RECORDS), bounds)
    rows = looked.rows[: min(limit, RECORDS)]
    named = [(row, name) for row in rows if (name := name_of(row, bounds))]
    answers = (yield from bounds.ask([_read(row, name, seal) for row, name in named])) if named else []
    items = [
        entry
        for (row, name), answer in zip(named, answers, strict=True)
        if (entry := _entry(row, name, answer, bounds))
    ]
    searched = looked.searched(rows[-1] if rows else None)
    cursor = None if searched.complete or not rows else rows[-1].cursor
    return Page(items, cursor, searched, list(bounds.damaged.values()))


def _read(row: DueRow, name: DueName, seal: Seal | None) -> Call[Any]:
    if name.job:
        return records.as_answer(records.read_run(row.keys, name.event_id, name.job, seal))
    return records.as_answer(records.read_outline(row.keys, name.event_id))


def _entry(row: DueRow, name: DueName, answer: Any, bounds: Bounds) -> DelayedEntry | None:
    """Return the entry, as its record says; None if the record is gone, or says that it is not delayed any more."""
    own_id = run_id(name.event_id, name.job) if name.job else name.event_id
    found = bounds.record(name.event_id, name.job, answer)
    due_at = from_millis(min(row.member.due_ms, MAX_MILLIS))
    if found is None:
        return None
    if not name.job:
        if found.status != "delayed":
            return None
        return DelayedEntry(
            kind="event", id=own_id, due_at=due_at, event_id=own_id, event_name=found.name,
            ordering_key=found.ordering_key,
        )  # fmt: skip
    run = found.run
    if run.status != "waiting":
        return None
    return DelayedEntry(
        kind="run", id=own_id, due_at=due_at, event_id=name.event_id, event_name=run.event_name, job=run.job,
        queue=run.queue, attempt=run.attempt, ordering_key=name.ordering_key or None,
    )  # fmt: skip
