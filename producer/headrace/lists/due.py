"""Looks through `due`, soonest first: by time, then by partition, then in the server's order of the members. Pure.

A cursor is the last listed member with its time. Where that member is gone, the page begins a little before its place
among those of the same time, and leaves out what was listed.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec

from headrace.calls.due import DueMember, count_due_before, place_in_due, read_due
from headrace.formats.codec import MAX_MILLIS, from_millis
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.lists.arguments import bad_cursor
from headrace.lists.bounds import LEAST, READ, Bounds
from headrace.model.page import Searched
from headrace.plans.plan import Plan

_OVERLAP = READ
_CURSOR = re.compile(r"([0-9]{1,16})~([0-9]{1,4})~([0-9]{1,15})~([A-Za-z0-9_=-]*)")


class DueRow(msgspec.Struct, frozen=True):
    """A member of `due` in one partition.

    Attributes:
        nth: its place among the members of the same time, about; from 0.
    """

    keys: Keys
    member: DueMember
    nth: int

    @property
    def rank(self) -> tuple[int, int, bytes]:
        """The member with the least rank is listed first."""
        return self.member.due_ms, self.keys.partition, self.member.name

    @property
    def cursor(self) -> str:
        """The cursor that goes on behind it."""
        name = urlsafe_b64encode(self.member.name).decode()
        return f"{self.member.due_ms}~{self.keys.partition}~{self.nth}~{name}"


class _Listed(msgspec.Struct, frozen=True):
    """The member that a page goes on behind."""

    due_ms: int
    partition: int
    nth: int
    name: bytes


class Looked(msgspec.Struct, frozen=True):
    """What a page looked at, in order, and whether there is no more."""

    rows: list[DueRow]
    is_complete: bool

    def searched(self, last: DueRow | None) -> Searched:
        """Return how far a page looked that ends with this row; None for all of them."""
        last = last or (self.rows[-1] if self.rows else None)
        if last is None:
            return Searched(0, None, complete=self.is_complete)
        is_complete = self.is_complete and last is self.rows[-1]
        return Searched(
            self.rows.index(last) + 1, from_millis(min(last.member.due_ms, MAX_MILLIS)), complete=is_complete
        )


def look_ahead(
    partitions: Partitions, cursor: str | None, since_ms: int | None, until_ms: int | None, count: int, bounds: Bounds
) -> Plan[Looked]:
    """Return the next members, about `count` of them, in two round trips; in one from the begin on."""
    starts = yield from _starts(partitions, cursor, since_ms, bounds)
    listed = None if cursor is None else _split_cursor(cursor, partitions)
    size = max(LEAST, min(-(-count // len(partitions)), READ * 4))
    sizes = {keys.partition: size + (_OVERLAP if start.is_before else 0) for keys, start in starts}
    answers = yield from bounds.ask([read_due(keys, start.first, sizes[keys.partition]) for keys, start in starts])
    rows: list[DueRow] = []
    ends: list[tuple[int, int, bytes]] = []
    for (keys, start), answer in zip(starts, answers, strict=True):
        members = bounds.rows(keys.due, answer)
        of_partition = _rows(keys, members, start)
        rows += of_partition
        ends += [of_partition[-1].rank] if len(members) == sizes[keys.partition] else []
    behind = (listed.due_ms, listed.partition, listed.name) if listed else (-1, 0, b"")
    rows = sorted(
        (row for row in rows if row.rank > behind and (not ends or row.rank <= min(ends))), key=lambda row: row.rank
    )
    within = [row for row in rows if until_ms is None or row.member.due_ms <= until_ms]
    return Looked(within, not ends or len(within) < len(rows))


class _Start(msgspec.Struct, frozen=True):
    """From which place on a partition is read; `ties` members before it have the time `due_ms`."""

    first: int
    due_ms: int = -1
    ties: int = 0
    is_before: bool = False


def _rows(keys: Keys, members: list[DueMember], start: _Start) -> list[DueRow]:
    rows: list[DueRow] = []
    due_ms, nth = start.due_ms, start.ties
    for member in members:
        nth = nth if member.due_ms == due_ms else 0
        rows.append(DueRow(keys, member, nth))
        due_ms, nth = member.due_ms, nth + 1
    return rows


def _starts(
    partitions: Partitions, cursor: str | None, since_ms: int | None, bounds: Bounds
) -> Plan[list[tuple[Keys, _Start]]]:
    """Return from which place on each partition is read."""
    if cursor is None and since_ms is None:
        return [(keys, _Start(0)) for keys in partitions.all]
    listed = None if cursor is None else _split_cursor(cursor, partitions)
    before_ms = listed.due_ms if listed else since_ms or 0
    calls: list[Any] = [
        count_due_before(keys, before_ms + 1 if listed and keys.partition < listed.partition else before_ms)
        for keys in partitions.all
    ]
    calls += [place_in_due(partitions.all[listed.partition], listed.name)] if listed else []
    answers = yield from bounds.ask(calls)
    place = answers.pop() if listed else None
    counts = [
        answer if isinstance(answer, int) else sum(bounds.rows(keys.due, answer))
        for keys, answer in zip(partitions.all, answers, strict=True)
    ]
    return [(keys, _start(keys, count, listed, place)) for keys, count in zip(partitions.all, counts, strict=True)]


def _start(keys: Keys, before: int, listed: _Listed | None, place: object) -> _Start:
    if listed is None or keys.partition != listed.partition:
        return _Start(before)
    if isinstance(place, int) and place >= before:
        return _Start(place + 1, listed.due_ms, place + 1 - before)
    ties = max(listed.nth - _OVERLAP, 0)
    return _Start(before + ties, listed.due_ms, ties, is_before=True)


def _split_cursor(cursor: str, partitions: Partitions) -> _Listed:
    given: object = cursor
    found = _CURSOR.fullmatch(given) if isinstance(given, str) else None
    if found is None or int(found[2]) >= len(partitions):
        raise bad_cursor(cursor)
    try:
        name = urlsafe_b64decode(found[4])
    except ValueError as exc:
        raise bad_cursor(cursor) from exc
    return _Listed(int(found[1]), int(found[2]), int(found[3]), name)
