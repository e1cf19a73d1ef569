"""Lists runs that wait: in `due`, for their next attempt or their turn; or behind others of their ordering key. Pure.

Which ordering keys have a line of runs is written nowhere. But the first run of each line stands in a queue or in
`due`, and is found there.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls import queues, records
from headrace.calls.call import Call, as_text
from headrace.calls.lines import place_in_line, read_line, read_line_length
from headrace.calls.queues import Queued
from headrace.calls.records import FoundRun
from headrace.formats.due import DueName, split_member
from headrace.formats.keys import Keys, is_name
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.lists.arguments import bad_cursor
from headrace.lists.bounds import LEAST, READ, RECORDS, Bounds
from headrace.lists.due import DueRow, look_ahead
from headrace.lists.due_records import list_records
from headrace.lists.merge import next_id, read_place
from headrace.lists.run_filter import ChosenRuns
from headrace.model.event import RunRecord
from headrace.model.page import Page, Searched
from headrace.plans.plan import Plan

_QUEUES_AT_ONCE = 20


def list_waiting(
    partitions: Partitions, chosen: ChosenRuns, cursor: str | None, limit: int, seal: Seal | None
) -> Plan[Page[RunRecord]]:
    """Return a page of runs that wait in `due`, soonest first."""
    return list_records(partitions, _Waiting(chosen, seal), cursor, limit)


class _Waiting:
    """The runs in `due` that are asked for."""

    def __init__(self, chosen: ChosenRuns, seal: Seal | None) -> None:
        self.since_ms, self.until_ms = _millis(chosen.since), _until(chosen.until)
        self._chosen, self._seal = chosen, seal

    def may_have(self, name: DueName) -> bool:
        """Return whether it is a run, of a job and in a queue that may be asked for."""
        return bool(name.job) and self._chosen.may_be_of(name.job) and self._chosen.is_of_queue(name.app, name.queue)

    def read(self, row: DueRow, name: DueName) -> Call[FoundRun | None]:
        """Read a run."""
        return records.read_run(row.keys, name.event_id, name.job, self._seal)

    def item(self, record: FoundRun) -> RunRecord | None:
        """Return the run, if it is asked for."""
        return record.run if self._chosen.has(record.run) else None


def _millis(entry_id: str) -> int | None:
    return int(entry_id.partition("-")[0]) if entry_id else None


def _until(entry_id: str) -> int | None:
    return int(entry_id.partition("-")[0]) - 1 if entry_id else None


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """A place in the list of what waits behind others; as text, the cursor that goes on there.

    Attributes:
        queue, entry: in this queue of the partition, from this entry on; no queue: in `due`.
        behind: in `due`, behind the member of this cursor; empty for its begin.
        member: in the line of the first run that is found there, behind this member.
    """

    partition: int = 0
    queue: str | None = ""
    entry: str = "0-0"
    behind: str = ""
    member: bytes = b""

    @property
    def cursor(self) -> str:
        return urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


class _Head(msgspec.Struct, frozen=True):
    """The first run of a line, and the place from which on it is found."""

    keys: Keys
    job: str
    ordering_key: str
    place: _Place

    @property
    def line(self) -> str:
        return self.keys.line(self.job, self.ordering_key)


class _Part(msgspec.Struct, frozen=True):
    """A part of a line, from a place on; `is_last` if it goes to the line's end."""

    head: _Head
    first: int
    count: int
    is_last: bool


class _Heads(msgspec.Struct, frozen=True):
    """First runs of lines, how many entries were looked at for them, and where to go on behind these."""

    heads: list[_Head]
    looked_at: int
    following: _Place | None


def list_behind(
    partitions: Partitions, chosen: ChosenRuns, cursor: str | None, limit: int, seal: Seal | None
) -> Plan[Page[RunRecord]]:
    """Return a page of runs that wait behind another one of their job and ordering key, line by line."""
    bounds = Bounds()
    start = _Place() if cursor is None else _read_cursor(cursor, partitions)
    look = _heads_in_due if start.queue is None else _heads_in_queues
    found = yield from look(partitions, chosen, start, bounds)
    most = RECORDS if chosen.is_narrow else max(limit, LEAST)
    parts, following = yield from _parts(found, start.member, most, bounds)
    members = yield from _members(parts, bounds)
    if members and not parts[-1].is_last:
        following = _behind(*members[-1])
    named = [(part, member, split_member(as_text(member))) for part, member in members]
    calls = [records.read_run(part.head.keys, name.event_id, name.job, seal) for part, _, name in named if name]
    answers = iter((yield from bounds.ask([records.as_answer(each) for each in calls])) if calls else [])
    items: list[RunRecord] = []
    cursors: list[str | None] = []
    for nth, (part, member, name) in enumerate(named, 1):
        run = name and _run(name, next(answers), chosen, bounds)
        if run:
            items.append(run)
            cursors.append(cursor)
        cursor = _behind(part, member).cursor
        if len(items) == limit:
            following = following if nth == len(named) else _behind(part, member)
            break
    searched = Searched(found.looked_at + len(members), None, complete=following is None)
    behind = following.cursor if following else None
    return Page(items, behind, searched, list(bounds.damaged.values()), cursors)


def _behind(part: _Part, member: bytes) -> _Place:
    return msgspec.structs.replace(part.head.place, member=member)


def _run(name: DueName, answer: Any, chosen: ChosenRuns, bounds: Bounds) -> RunRecord | None:
    """Return the run that a member of a line names, if it is asked for; its time is when its event was delivered."""
    found: FoundRun | None = bounds.record(name.event_id, name.job, answer)
    if found is None or not chosen.has(found.run):
        return None
    since_ms, until_ms = _millis(chosen.since) or 0, _until(chosen.until)
    is_within = since_ms <= found.delivered_ms and (until_ms is None or found.delivered_ms <= until_ms)
    return found.run if is_within else None


def _read_cursor(cursor: object, partitions: Partitions) -> _Place:
    try:
        text = cursor if isinstance(cursor, str) else ""
        place = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Place)
    except (ValueError, msgspec.MsgspecError):
        raise bad_cursor(cursor) from None
    if not 0 <= place.partition < len(partitions) or read_place(place.entry, partitions) is None:
        raise bad_cursor(cursor)
    return place


def _heads_in_queues(partitions: Partitions, chosen: ChosenRuns, start: _Place, bounds: Bounds) -> Plan[_Heads]:
    """Look through the next entries of the queues."""
    answers = yield from bounds.ask([queues.read_queue_names(keys) for keys in partitions.all])
    left = [
        (keys, name)
        for keys, answer in zip(partitions.all, answers, strict=True)
        for name in bounds.rows(keys.queues, answer)
        if (keys.partition, name) >= (start.partition, start.queue or "")
        and name.count("/") == 1 and all(map(is_name, name.split("/"))) and chosen.app in (None, name.partition("/")[0])
    ]  # fmt: skip
    now, later = left[:_QUEUES_AT_ONCE], left[_QUEUES_AT_ONCE:]
    following = _Place(later[0][0].partition, later[0][1]) if later else _Place(queue=None)
    share = READ // max(len(now), 1)

    def read(keys: Keys, name: str) -> Call[list[Queued]]:
        is_first = (keys.partition, name) == (start.partition, start.queue)
        return queues.read_queued(keys.queue(*name.split("/")), start.entry if is_first else "-", "+", share)

    answers = (yield from bounds.ask([read(*each) for each in now])) if now else []
    heads: list[_Head] = []
    looked_at = 0
    for (keys, name), answer in zip(now, answers, strict=True):
        entries: list[Queued] = bounds.rows(keys.queue(*name.split("/")), answer)
        looked_at += len(entries)
        for each in entries:
            job = f"{name.partition('/')[0]}/{each.job_id}"
            if each.ordering_key and is_name(each.job_id) and chosen.may_be_of(job):
                heads.append(_Head(keys, job, each.ordering_key, _Place(keys.partition, name, each.entry)))
        if len(entries) == share:  # the next queues come behind what else this one has
            following = _Place(keys.partition, name, next_id(entries[-1].entry))
            break
    return _Heads(heads, looked_at, following)


def _heads_in_due(partitions: Partitions, chosen: ChosenRuns, start: _Place, bounds: Bounds) -> Plan[_Heads]:
    """Look through the next members of `due`."""
    looked = yield from look_ahead(partitions, start.behind or None, None, None, READ, bounds)
    heads: list[_Head] = []
    place = _Place(queue=None, behind=start.behind)
    for row in looked.rows:
        name = split_member(as_text(row.member.name))
        if name and name.ordering_key and chosen.may_be_of(name.job):
            heads.append(_Head(row.keys, name.job, name.ordering_key, place))
        place = _Place(queue=None, behind=row.cursor)
    return _Heads(heads, len(looked.rows), None if looked.is_complete else place)


def _parts(found: _Heads, listed: bytes, most: int, bounds: Bounds) -> Plan[tuple[list[_Part], _Place | None]]:
    """Return the next parts of lines, so many members together, and where to go on behind them.

    Args:
        listed: the member of the first line that was listed last; empty for none.
    """
    if not found.heads:
        return [], found.following
    lengths = [read_line_length(head.line) for head in found.heads]
    answers = yield from bounds.ask([*lengths, *([place_in_line(found.heads[0].line, listed)] if listed else [])])
    place = answers.pop() if listed else None
    parts: list[_Part] = []
    for nth, (head, length) in enumerate(zip(found.heads, answers, strict=True)):
        # What was listed and is there no more has left the line, together with all that was before it, or was canceled.
        first = place + 1 if nth == 0 and isinstance(place, int) else 1
        left = (length if isinstance(length, int) else 0) - first
        if left > 0 and most <= 0:
            return parts, head.place
        if left > 0:
            parts.append(_Part(head, first, min(left, most), left <= most))
            most -= left
    return parts, found.following


def _members(parts: Sequence[_Part], bounds: Bounds) -> Plan[list[tuple[_Part, bytes]]]:
    """Return the members of parts of lines."""
    calls = [read_line(part.head.line, part.first, part.count) for part in parts]
    answers = (yield from bounds.ask(calls)) if calls else []
    rows = zip(parts, answers, strict=True)
    return [(part, member) for part, answer in rows for member in bounds.rows(part.head.line, answer)]
