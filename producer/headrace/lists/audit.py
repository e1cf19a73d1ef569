"""Notes and lists what operators have done. Pure."""

from __future__ import annotations

from datetime import datetime

from headrace.calls.auditing import Note, note, read_audit
from headrace.errors import HeadraceError
from headrace.formats.partitions import Partitions
from headrace.lists import arguments
from headrace.lists.merge import read_place
from headrace.model.audit import AuditEntry
from headrace.model.page import Page, Searched
from headrace.plans.plan import Plan


def list_audit(
    partitions: Partitions, since: datetime | None, until: datetime | None, cursor: str | None, limit: int
) -> Plan[Page[AuditEntry]]:
    """Return a page of what operators have done, newest first."""
    arguments.check_limit(limit)
    behind = None if cursor is None else read_place(cursor, partitions)
    if cursor is not None and behind is None:
        raise arguments.bad_cursor(cursor)
    oldest, newest = arguments.since_id(since), arguments.until_id(until)
    (entries,) = yield [read_audit(partitions.first, behind.entry if behind else newest or None, limit, oldest)]
    if isinstance(entries, HeadraceError):
        raise entries
    is_last = len(entries) < limit
    searched = Searched(len(entries), entries[-1].at if entries else None, complete=is_last)
    return Page(entries, None if is_last else entries[-1].id, searched)


def record(partitions: Partitions, what: Note) -> Plan[None]:
    """Note what was done, in partition 0."""
    yield [note(partitions.first, what)]
