"""Lists runs that wait: in `due`, for their next attempt or their turn; or behind others of their ordering key. Pure.

Which ordering keys have a line of runs is written nowhere. But the first run of each line stands in a queue or in
`due`, and is found there.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headrace.calls import queues, records
from headrace.calls.call import Call, as_text
from headrace.calls.checking import server_time
from headrace.calls.lines import place_in_line, read_line, read_line_length
from headrace.calls.queues import Queued
from headrace.calls.records import FoundRun
from headrace.formats.codec import MAX_MILLIS
from headrace.formats.due import DueName, split_member
from headrace.formats.keys import Keys, is_name
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.lists.arguments import bad_cursor
from headrace.lists.bounds import LEAST, READ, RECORDS, Bounds
from headrace.lists.due import DueRow, look_ahead
from headrace.lists.due_records import list_records
from headrace.lists.merge import entry_rank, next_id, read_place
from headrace.lists.run_filter import ChosenRuns
from headrace.model.event import RunRecord
from headrace.model.page import Page, Searched
from headrace.plans.plan import Plan

_QUEUES_AT_ONCE = 20
_OVERLAP = 100
_MOST_IN_A_LINE = 2**32


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
        phase: queues; then `due`; then queues again, by what was added meanwhile: a first run that was in `due` while
            the queues were looked through may be in a queue while `due` is.
        began_ms: when the first page was asked for, by the server's clock.
        queue, entry: in this queue of the partition, from this entry on.
        behind: in `due`, behind the member of this cursor; empty for its begin.
        member, nth: in the line of the first run that is found there, behind this member, which was at this place.
    """

    began_ms: int = 0
    phase: Literal["queues", "due", "again"] = "queues"
    partition: int = 0
    queue: str = ""
    entry: str = ""
    behind: str = ""
    member: bytes = b""
    nth: int = 0

    @property
    def cursor(self) -> str:
        return urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    def next(self) -> _Place | None:
        """Return the begin of the next phase; None if there is none."""
        following: dict[str, Literal["due", "again"]] = {"queues": "due", "due": "again"}
        phase = following.get(self.phase)
        return _Place(self.began_ms, phase) if phase else None


class _Head(msgspec.Struct, frozen=True):
    """The first run of a line, and the place from which on it is found.

    Attributes:
        skipped: 1, as it waits behind no other; 0 if it did at the time that is asked for.
    """

    keys: Keys
    job: str
    ordering_key: str
    place: _Place
    skipped: int = 1

    @property
    def line(self) -> str:
        return self.keys.line(self.job, self.ordering_key)


class _Part(msgspec.Struct, frozen=True):
    """A part of a line, from a place on; `is_last` if it goes to the line's end.

    Attributes:
        overlap: so many members before it are read, too, up to the one that was listed last: lines move.
    """

    head: _Head
    first: int
    count: int
    is_last: bool
    overlap: int = 0

    def behind(self, member: bytes, offset: int) -> _Place:
        """Return the place behind one of its members."""
        return msgspec.structs.replace(self.head.place, member=member, nth=self.first + offset)


class _Found(msgspec.Struct, frozen=True):
    """First runs of lines, how many entries were looked at for them, and where to go on behind these."""

    heads: list[_Head]
    looked_at: int
    following: _Place | None


class _Row(msgspec.Struct, frozen=True):
    """A member of a line, and the place behind it."""

    part: _Part
    member: bytes
    behind: _Place

    @property
    def is_first(self) -> bool:
        """Whether it is the first of its line."""
        return self.behind.nth == 0


def list_behind(
    partitions: Partitions, chosen: ChosenRuns, cursor: str | None, limit: int, seal: Seal | None
) -> Plan[Page[RunRecord]]:
    """Return a page of runs that wait behind another one of their job and ordering key, line by line.

    Lines move on meanwhile, so a run may be on two pages.
    """
    bounds = Bounds()
    start = _Place() if cursor is None else _read_cursor(cursor, partitions)
    is_narrow = chosen.event_name is not None or chosen.queue is not None
    most = RECORDS if is_narrow else max(limit, LEAST)
    start, parts, following = yield from _next_parts(partitions, chosen, start, most, bounds)
    rows = yield from _rows(parts, start.member, bounds)
    if rows and not parts[-1].is_last:
        following = rows[-1].behind
    named = [(row, split_member(as_text(row.member))) for row in rows]
    calls = [records.read_run(row.part.head.keys, name.event_id, name.job, seal) for row, name in named if name]
    answers = iter((yield from bounds.ask([records.as_answer(each) for each in calls])) if calls else [])
    items: list[RunRecord] = []
    cursors: list[str | None] = []
    for row, name in named:
        run = name and _run(row, name, next(answers), chosen, bounds)
        if run:
            items.append(run)
            cursors.append(cursor)
        cursor = row.behind.cursor
        if len(items) == limit:
            following = following if row is rows[-1] else row.behind
            break
    searched = Searched(bounds.entries + len(rows), None, complete=following is None)
    behind = following.cursor if following else None
    return Page(items, behind, searched, list(bounds.damaged.values()), cursors)


def _run(row: _Row, name: DueName, answer: Any, chosen: ChosenRuns, bounds: Bounds) -> RunRecord | None:
    """Return the run that a member of a line names, if it is asked for; its time is when its event was delivered."""
    found: FoundRun | None = bounds.record(name.event_id, name.job, answer)
    if found is None or found.run.is_settled:
        return None
    if not (msgspec.structs.replace(chosen, statuses=None) if row.is_first else chosen).has(found.run):
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
    are_numbers = 0 <= place.nth < _MOST_IN_A_LINE and 0 <= place.began_ms <= MAX_MILLIS
    is_there = 0 <= place.partition < len(partitions) and read_place(place.entry or "0-0", partitions) is not None
    if not (are_numbers and is_there):
        raise bad_cursor(cursor)
    return place


def _next_parts(
    partitions: Partitions, chosen: ChosenRuns, start: _Place, most: int, bounds: Bounds
) -> Plan[tuple[_Place, list[_Part], _Place | None]]:
    """Return where a look found lines that go on, the parts that come next, and where to go on behind them."""
    *names, now_ms = yield from bounds.ask([*(queues.read_queue_names(keys) for keys in partitions.all), server_time()])
    every = [
        (keys, name)
        for keys, answer in zip(partitions.all, names, strict=True)
        for name in bounds.rows(keys.queues, answer)
        if name.count("/") == 1 and all(map(is_name, name.split("/"))) and chosen.app in (None, name.partition("/")[0])
    ]
    if not isinstance(now_ms, int):
        raise now_ms
    place = start if start.began_ms else msgspec.structs.replace(start, began_ms=max(now_ms, 1))
    while True:
        if place.phase == "due":
            found = yield from _look_in_due(partitions, chosen, place, bounds)
        else:
            found = yield from _look_in_queues(every, chosen, place, bounds)
        bounds.entries += found.looked_at
        parts, following = yield from _parts(found, place, most, bounds)
        if parts or following is None or bounds.round_trips <= 0:
            return place, parts, following
        place = following


def _look_in_queues(
    every: Sequence[tuple[Keys, str]], chosen: ChosenRuns, start: _Place, bounds: Bounds
) -> Plan[_Found]:
    """Look through the next entries of the queues; of one alone once a page has ended within it."""
    left = [(keys, name) for keys, name in every if (keys.partition, name) >= (start.partition, start.queue)]
    count = 1 if start.entry else _QUEUES_AT_ONCE
    now, later = left[:count], left[count:]
    following = _within(start, later[0][0].partition, later[0][1]) if later else start.next()
    share = READ // max(len(now), 1)
    first = f"{start.began_ms + 1}-0" if start.phase == "again" else "-"

    def read(keys: Keys, name: str) -> Call[list[Queued]]:
        is_start = (keys.partition, name) == (start.partition, start.queue)
        return queues.read_queued(keys.queue(*name.split("/")), (is_start and start.entry) or first, "+", share)

    answers = (yield from bounds.ask([read(*each) for each in now])) if now else []
    heads: list[_Head] = []
    looked_at = 0
    for (keys, name), answer in zip(now, answers, strict=True):
        entries: list[Queued] = bounds.rows(keys.queue(*name.split("/")), answer)
        looked_at += len(entries)
        for each in entries:
            job = f"{name.partition('/')[0]}/{each.job_id}"
            if each.ordering_key and is_name(each.job_id) and chosen.may_be_of(job):
                has_come_later = bool(chosen.until) and entry_rank(each.entry) >= entry_rank(chosen.until)
                place = _within(start, keys.partition, name, each.entry)
                heads.append(_Head(keys, job, each.ordering_key, place, int(not has_come_later)))
        if len(entries) == share:  # the next queues come behind what else this one has
            following = _within(start, keys.partition, name, next_id(entries[-1].entry))
            break
    return _Found(heads, looked_at, following)


def _within(place: _Place, partition: int, queue: str, entry: str = "") -> _Place:
    """Return the place in a queue, in the same phase."""
    return _Place(place.began_ms, place.phase, partition, queue, entry)


def _look_in_due(partitions: Partitions, chosen: ChosenRuns, start: _Place, bounds: Bounds) -> Plan[_Found]:
    """Look through the next members of `due`."""
    looked = yield from look_ahead(partitions, start.behind or None, None, None, READ, bounds)
    heads: list[_Head] = []
    place = _Place(start.began_ms, "due", behind=start.behind)
    for row in looked.rows:
        name = split_member(as_text(row.member.name))
        if name and name.ordering_key and chosen.may_be_of(name.job):
            heads.append(_Head(row.keys, name.job, name.ordering_key, place))
        place = _Place(start.began_ms, "due", behind=row.cursor)
    return _Found(heads, len(looked.rows), start.next() if looked.is_complete else place)


def _parts(found: _Found, start: _Place, most: int, bounds: Bounds) -> Plan[tuple[list[_Part], _Place | None]]:
    """Return the next parts of lines, so many members together, and where to go on behind them."""
    if not found.heads:
        return [], found.following
    calls: list[Call[Any]] = [read_line_length(head.line) for head in found.heads]
    if start.member:  # runs leave a line at its begin, so it has not gone back
        calls.append(place_in_line(found.heads[0].line, start.member, start.nth + 1))
    answers = yield from bounds.ask(calls)
    listed = answers.pop() if start.member else None
    parts: list[_Part] = []
    for head, length in zip(found.heads, answers, strict=True):
        if not isinstance(length, int):
            bounds.rows(head.line, length)  # raises it, but for a key of another type
            continue
        first, overlap = head.skipped, 0
        if isinstance(listed, int) and head is found.heads[0]:
            first, overlap = listed + 1, min(listed + 1 - head.skipped, _OVERLAP)
        left = length - first
        if left > 0 and most <= 0:
            return parts, head.place
        if left > 0:
            parts.append(_Part(head, first, min(left, most), left <= most, overlap))
            most -= left
    return parts, found.following


def _rows(parts: Sequence[_Part], listed: bytes, bounds: Bounds) -> Plan[list[_Row]]:
    """Return the members of parts of lines, behind the one that was listed last."""
    calls = [read_line(part.head.line, part.first - part.overlap, part.count + part.overlap) for part in parts]
    answers = (yield from bounds.ask(calls)) if calls else []
    rows: list[_Row] = []
    for part, answer in zip(parts, answers, strict=True):
        members: list[bytes] = bounds.rows(part.head.line, answer)
        known = members.index(listed) + 1 if part.overlap and listed in members else 0
        rows += [
            _Row(part, member, part.behind(member, offset - part.overlap))
            for offset, member in enumerate(members)
            if offset >= known
        ]
    return rows
