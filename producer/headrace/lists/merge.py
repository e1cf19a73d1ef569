"""Merges a list's streams, one of each partition, newest first. Pure.

Entries of several partitions with the same id are listed by the partitions' numbers. A cursor is the last listed
position, so pages are stateless: an entry id and, where there are several partitions, the number of the entry's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import msgspec

from headrace.calls.call import Call
from headrace.calls.indexing import read_oldest
from headrace.formats.codec import MAX_MILLIS, from_millis
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.lists.bounds import LEAST, READ, Bounds
from headrace.model.page import Searched
from headrace.plans.plan import Plan

_ENTRY_ID = re.compile(r"([0-9]{1,20}-[0-9]{1,20})(?:~([1-9][0-9]{0,3}))?")


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=_HasId)


class Place(msgspec.Struct, frozen=True):
    """The position of an entry in a listing."""

    entry: str
    partition: int = 0

    @property
    def text(self) -> str:
        """The entry id and, but for partition 0, `~` and the partition."""
        return f"{self.entry}~{self.partition}" if self.partition else self.entry

    @property
    def rank(self) -> tuple[int, int, int]:
        """The entry with the greatest rank is listed first."""
        return *entry_rank(self.entry), -self.partition

    def before(self, partitions: int) -> Place:
        """Return the place just before this one: a listing that goes on from there begins with this entry."""
        if self.partition:
            return Place(self.entry, self.partition - 1)
        return Place(next_id(self.entry), partitions - 1)

    def end_behind(self, partition: int) -> str:
        """Return the entry id below which a partition's entries are listed behind the entry of this place."""
        return self.entry if partition <= self.partition else next_id(self.entry)

    def end_from(self, partition: int) -> str:
        """Return what `end_behind` does, for a cursor that holds the id behind its entry's; that entry is included."""
        return self.entry if partition >= self.partition else _id_before(self.entry)


def read_place(text: object, partitions: Partitions) -> Place | None:
    """Return the place that an id or a cursor names; None for a text that names none in this namespace."""
    found = _ENTRY_ID.fullmatch(text) if isinstance(text, str) else None
    if found is None or any(int(part) >= 2**64 for part in found[1].split("-")):
        return None
    place = Place(found[1], int(found[2] or 0))
    return place if place.partition < len(partitions) else None


def entry_rank(entry_id: str) -> tuple[int, int]:
    """Return the numbers by which a stream has its entries in order."""
    millis, _, number = entry_id.partition("-")
    return int(millis), int(number)


def rank_of_cursor(cursor: str) -> tuple[int, int, int, int]:
    """Return the rank of a cursor: the greater, the further back it goes on in a list that has the newest first."""
    entry, *rest = cursor.split("~")
    number, partition, *_ = [*map(int, rest), 0, 0]
    millis, count = entry_rank(entry)
    return -millis, -count, partition, number


def time_of(entry_id: str) -> datetime:
    """Return when an entry was added."""
    return from_millis(min(entry_rank(entry_id)[0], MAX_MILLIS))


def next_id(entry_id: str) -> str:
    """Return the smallest entry id behind this one: a read of what is before it begins with this one."""
    millis, _, number = entry_id.partition("-")
    return f"{millis}-{int(number) + 1}"


def _id_before(entry_id: str) -> str:
    millis, _, number = entry_id.partition("-")
    return f"{millis}-{max(int(number) - 1, 0)}"


class Merge(Generic[E]):
    """Reads a stream of each partition, page by page, and returns their entries in the order of a listing.

    Attributes:
        last: the place of the last entry that was returned.
    """

    def __init__(
        self,
        partitions: Sequence[Keys],
        key_of: Callable[[Keys], str],
        read: Callable[[Keys, str | None, int], Call[list[E]]],
        end_in: Callable[[int], str | None],
        bounds: Bounds,
    ) -> None:
        """Begin at the given places; read nothing yet.

        Args:
            key_of: returns the key of a partition's stream.
            read: makes the call that reads so many entries of a partition, from the entry before an id on; from the
                newest on for None. Fewer are the partition's last.
            end_in: returns the entry id before which to begin in a partition; None to begin with the newest.
            bounds: is asked for the round trips.
        """
        self._key_of = key_of
        self._read = read
        self._bounds = bounds
        self._partitions = partitions
        self._ends = {keys.partition: end_in(keys.partition) for keys in partitions}
        self._oldest: dict[int, str] = {}
        self._has_begun = False
        self._read_in: dict[int, list[E]] = {}
        self.last: Place | None = None

    def is_done(self) -> bool:
        """Return whether every entry was returned."""
        return not (self._ends or self._read_in)

    @property
    def searched(self) -> Searched:
        """How far the entries that were returned go back."""
        back_to = time_of(self.last.entry) if self.last else None
        return Searched(self._bounds.entries, back_to, self.is_done())

    def entries(self, count: int) -> Plan[list[tuple[Place, E]]]:
        """Return the next entries; fewer than `count` when there are no more, or no round trip is left."""
        found: list[tuple[Place, E]] = []
        if not self._has_begun:
            self._has_begun = True
            yield from self._begin()
        while len(found) < count:
            dry = [keys for keys in self._partitions if keys.partition in self._ends and not self._has(keys)]
            if dry:
                if not self._bounds.round_trips:
                    break
                yield from self._read_on(dry, count - len(found))
            if not self._read_in:
                break
            found.append(self._newest())
        self._bounds.entries += len(found)
        return found

    def _begin(self) -> Plan[None]:
        """Look where the streams begin, but for those that are read from the newest on.

        Where a stream begins behind the end of a read, a server goes backwards through all of it: several ms for an
        index of 10,000 long entries, 0.1 s for a million dead letters. One that is read from the newest on can end in
        no more entries than the page has read.
        """
        ends = {keys: end for keys in self._partitions if (end := self._ends[keys.partition]) is not None}
        if not ends:
            return
        answers = yield from self._bounds.ask([read_oldest(self._key_of(keys)) for keys in ends])
        for (keys, end), answer in zip(ends.items(), answers, strict=True):
            # Without an entry there is none before the end.
            self._oldest[keys.partition] = next(iter(self._bounds.rows(self._key_of(keys), answer)), end)
            self._go_on_before(end, keys.partition)

    def _go_on_before(self, end: str, partition: int) -> None:
        oldest = self._oldest.get(partition)
        if oldest is None or entry_rank(oldest) < entry_rank(end):
            self._ends[partition] = end
        else:
            del self._ends[partition]

    def _read_on(self, dry: list[Keys], wanted: int) -> Plan[None]:
        """Read on in partitions of which nothing is left; each has about its share of what is wanted."""
        share = wanted if len(self._ends) == 1 else 2 * wanted // len(self._ends)
        size = min(max(share, LEAST), READ)
        pages = yield from self._bounds.ask([self._read(keys, self._ends[keys.partition], size) for keys in dry])
        for keys, page in zip(dry, pages, strict=True):
            rows: list[E] = self._bounds.rows(self._key_of(keys), page)
            if rows:
                self._read_in[keys.partition] = rows[::-1]
            if len(rows) == size:
                self._go_on_before(rows[-1].id, keys.partition)
            else:
                del self._ends[keys.partition]

    def _has(self, keys: Keys) -> bool:
        return keys.partition in self._read_in

    def _newest(self) -> tuple[Place, E]:
        places = [Place(rows[-1].id, partition) for partition, rows in self._read_in.items()]
        place = max(places, key=lambda each: each.rank)
        rows = self._read_in[place.partition]
        entry = rows.pop()
        if not rows:
            del self._read_in[place.partition]
        self.last = place
        return place, entry
