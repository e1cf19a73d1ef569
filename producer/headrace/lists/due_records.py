"""Lists the records of what stands in `due`, soonest first: those that are asked for. Pure."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from headrace.calls import records
from headrace.calls.call import Call, as_text
from headrace.formats.due import DueName, split_member
from headrace.formats.partitions import Partitions
from headrace.lists.bounds import ENTRIES, LEAST, RECORDS, Bounds
from headrace.lists.due import DueRow, look_ahead
from headrace.model.page import Page
from headrace.plans.plan import Plan

T_co = TypeVar("T_co", covariant=True)


class AskedOfDue(Protocol[T_co]):
    """What a list wants of `due`.

    Attributes:
        since_ms, until_ms: only what is due then or later, and then or before; None for any.
    """

    since_ms: int | None
    until_ms: int | None

    def may_have(self, name: DueName) -> bool:
        """Return whether a member may be asked for, so that its record is worth reading."""

    def read(self, row: DueRow, name: DueName) -> Call[Any]:
        """Read its record."""

    def item(self, record: Any) -> T_co | None:
        """Return the item that a record makes; None if it is not asked for."""


def list_records(partitions: Partitions, asked: AskedOfDue[T_co], cursor: str | None, limit: int) -> Plan[Page[T_co]]:
    """Return a page of what is asked for, soonest first; it reads 500 records at most."""
    bounds = Bounds()
    looked = yield from look_ahead(partitions, cursor, asked.since_ms, asked.until_ms, ENTRIES, bounds)
    left = [(row, name) for row in looked.rows if (name := name_of(row, bounds)) and asked.may_have(name)]
    items: list[T_co] = []
    cursors: list[str | None] = []
    last = None
    while left and len(items) < limit and bounds.records and bounds.round_trips:
        size = min(max(limit, LEAST) if bounds.records == RECORDS else RECORDS, bounds.records)
        chunk, left = left[:size], left[size:]
        bounds.records -= len(chunk)
        answers = yield from bounds.ask([records.as_answer(asked.read(*each)) for each in chunk])
        for (row, name), answer in zip(chunk, answers, strict=True):
            record = bounds.record(name.event_id, name.job, answer)
            if record is not None and (item := asked.item(record)) is not None:
                items.append(item)
                cursors.append(cursor)
            cursor, last = row.cursor, row
            if len(items) == limit:
                break
    is_cut = bool(left) or len(items) == limit
    searched = looked.searched(last if is_cut else None)
    end = last if is_cut else looked.rows[-1] if looked.rows else None
    behind = None if searched.complete or end is None else end.cursor
    return Page(items, behind, searched, list(bounds.damaged.values()), cursors)


def name_of(row: DueRow, bounds: Bounds) -> DueName | None:
    """Return what a member names; None, and a note in the page, if Headrace did not write it."""
    found = split_member(as_text(row.member.name))
    if found is None:
        bounds.note(as_text(row.member.name), f"is a member of {row.keys.due} that Headrace did not write")
    return found
