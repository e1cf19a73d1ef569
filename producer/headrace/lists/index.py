"""Looks through `recent` and `runs`, the indexes of what was sent and what settled, and reads what they name. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final, Protocol

import msgspec

from headrace.calls.call import Call
from headrace.calls.indexing import IndexEntry, read_index, read_is_full, read_oldest
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.lists.arguments import bad_cursor
from headrace.lists.bounds import READ, Bounds
from headrace.lists.merge import Merge, Place, entry_rank, next_id, read_place, time_of
from headrace.model.page import Searched
from headrace.plans.plan import Plan

_ALL: Final = 999_999_999
"""More names than an entry has."""


class Indexed(msgspec.Struct, frozen=True):
    """An event or a run that an index names.

    Attributes:
        keys: those of its partition.
        entry: the entry of the index that names it.
        nth: its place in that entry, from 1.
        looked_at: how many entries a page has looked at once it has come to this one.
    """

    id: str
    keys: Keys
    entry: str
    nth: int
    looked_at: int

    @property
    def cursor(self) -> str:
        """The cursor that goes on behind it."""
        return _cursor(Place(self.entry, self.keys.partition), self.nth)

    @property
    def own_cursor(self) -> str:
        """The cursor that goes on with it."""
        return _cursor(Place(self.entry, self.keys.partition), self.nth - 1)


class Asked(Protocol):
    """What a list wants of an index.

    Attributes:
        is_narrow: most entries may be of no use, so it is worth reading many at once.
        since, until: the ids of the oldest entry that counts, and of one behind the newest; empty for none.
    """

    is_narrow: bool
    since: str
    until: str

    def index_of(self, keys: Keys) -> str:
        """Return the key of the index."""

    def names(self, entry: IndexEntry) -> list[str]:
        """Return the ids that an entry of the index names and that may be asked for."""


class SentIndex:
    """The index of what was sent, which knows events and their names."""

    def __init__(self, since: str, until: str, event_name: str | None, *, is_narrow: bool) -> None:
        """Ask for events of one name, or of any; see `Asked`."""
        self.since, self.until, self.is_narrow = since, until, is_narrow
        self._event_name = event_name

    def index_of(self, keys: Keys) -> str:
        """Return the key of `recent`."""
        return keys.recent

    def names(self, entry: IndexEntry) -> list[str]:
        """Return the ids of events with the name that is asked for."""
        return list(dict.fromkeys(each for each, name in entry.pairs if self._event_name in (None, name)))


class Listed(Protocol):
    """What a page has so far."""

    @property
    def count(self) -> int:
        """How many items it has, and how many that can't be read."""

    def add(self, indexed: Indexed, answer: Any) -> None:
        """Add what was read, if it is asked for."""


def look_through(  # noqa: PLR0913, PLR0917 - where, what, and what of it
    partitions: Partitions,
    asked: Asked,
    cursor: str | None,
    limit: int,
    read: Callable[[Indexed], Call[Any]],
    listed: Listed,
    bounds: Bounds,
) -> Plan[tuple[str | None, Searched]]:
    """Add to a page what an index names, newest first; return the cursor behind it, and how far it looked."""
    indexes = [asked.index_of(keys) for keys in partitions.all]
    bounds.beside = [*map(read_is_full, indexes), *map(read_oldest, indexes)]
    behind, searched = yield from _look_through(partitions, asked, cursor, limit, read, listed, bounds)
    since = _remembered_since(asked, bounds.answers_beside)
    return behind, msgspec.structs.replace(searched, remembered_since=since)


def _remembered_since(asked: Asked, answers: Sequence[Any]) -> datetime | None:
    """Return since when every index is whole, by its answers; None if it has dropped nothing that is asked for."""
    half = len(answers) // 2
    pairs = zip(answers[:half], answers[half:], strict=True)
    full = [found for is_full, found in pairs if is_full is True and isinstance(found, list)]
    oldest = max(chain.from_iterable(full), key=entry_rank, default=None)
    if oldest is None or entry_rank(asked.since or "0-0") >= entry_rank(oldest):
        return None
    return time_of(oldest)


def _look_through(  # noqa: PLR0913, PLR0917 - as above
    partitions: Partitions,
    asked: Asked,
    cursor: str | None,
    limit: int,
    read: Callable[[Indexed], Call[Any]],
    listed: Listed,
    bounds: Bounds,
) -> Plan[tuple[str | None, Searched]]:
    start, passed = (None, 0) if cursor is None else _split_cursor(cursor, partitions)
    merge = _merge(partitions, asked, start, bounds)

    def named(place: Place, entry: IndexEntry, looked_at: int) -> list[Indexed]:
        keys = partitions.all[place.partition]
        first = passed if start == Place(next_id(entry.id), place.partition) else 0
        ids = asked.names(entry)[first:]
        return [Indexed(each, keys, entry.id, nth, looked_at) for nth, each in enumerate(ids, first + 1)]

    while bounds.round_trips and not merge.is_done():
        before = bounds.entries
        entries = yield from merge.entries(READ if asked.is_narrow else limit - listed.count)
        left = [each for nth, row in enumerate(entries, before + 1) for each in named(*row, nth)]
        while left:
            chunk = left[: bounds.records_for(limit - listed.count)]
            if not chunk:
                return _stop_before(left[0])
            left = left[len(chunk) :]
            bounds.records -= len(chunk)
            answers = yield from bounds.ask([read(each) for each in chunk])
            for each, answer in zip(chunk, answers, strict=True):
                listed.add(each, answer)
                is_last = merge.is_done() and not left and each is chunk[-1]
                if listed.count >= limit and not is_last:
                    return _stop_behind(each)
    if merge.is_done() or merge.last is None:
        return None, merge.searched
    return _cursor(merge.last, _ALL), merge.searched


def _merge(partitions: Partitions, asked: Asked, start: Place | None, bounds: Bounds) -> Merge[IndexEntry]:
    def read(keys: Keys, end: str | None, count: int) -> Call[list[IndexEntry]]:
        return read_index(asked.index_of(keys), end, count, asked.since or "-")

    def end_in(number: int) -> str | None:
        return start.end_from(number) if start else asked.until or None

    return Merge(partitions.all, asked.index_of, read, end_in, bounds)


def _stop_behind(last: Indexed) -> tuple[str, Searched]:
    return last.cursor, Searched(last.looked_at, time_of(last.entry), complete=False)


def _stop_before(first: Indexed) -> tuple[str, Searched]:
    return _stop_behind(msgspec.structs.replace(first, nth=first.nth - 1))


def _cursor(place: Place, nth: int) -> str:
    suffix = f"~{place.partition}" if place.partition else ""
    return f"{next_id(place.entry)}~{nth}{suffix}"


def _split_cursor(cursor: str, partitions: Partitions) -> tuple[Place, int]:
    """Return the place of the entry that the page begins in, and how many of its names are listed already."""
    given: object = cursor
    entry_id, _, rest = given.partition("~") if isinstance(given, str) else ("", "", "")
    passed, _, partition = rest.partition("~")
    place = read_place(f"{entry_id}~{partition}" if partition else entry_id, partitions)
    if place is None or not re.fullmatch("[0-9]{1,9}", passed):
        raise bad_cursor(cursor)
    return place, int(passed)
