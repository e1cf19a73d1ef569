"""Merges a listing's streams, one of each partition, newest first. Pure.

Entries of several partitions with the same id are listed by the partitions' numbers. A cursor is the last listed
position, so pages are stateless: an entry id and, where there are several partitions, the number of the entry's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from headrace.calls.call import Call
from headrace.errors import HeadraceError, InvalidArgument
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
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
        millis, _, number = self.entry.partition("-")
        return int(millis), int(number), -self.partition

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


def next_id(entry_id: str) -> str:
    """Return the smallest entry id behind this one: a read of what is before it begins with this one."""
    millis, _, number = entry_id.partition("-")
    return f"{millis}-{int(number) + 1}"


def _id_before(entry_id: str) -> str:
    millis, _, number = entry_id.partition("-")
    return f"{millis}-{max(int(number) - 1, 0)}"


class Merge(Generic[E]):
    """Reads a stream of each partition, page by page, and returns their entries in the order of a listing."""

    def __init__(
        self,
        partitions: Partitions,
        read: Callable[[Keys, str | None], Call[list[E]]],
        page: int,
        end_in: Callable[[int], str | None],
    ) -> None:
        """Begin at the given places; read nothing yet.

        Args:
            read: makes the call that reads a page of a partition, from the entry before an id on; from the newest on
                for None.
            page: the length of a full page; a shorter one is the partition's last.
            end_in: returns the entry id before which to begin in a partition; None to begin with the newest.
        """
        self._read = read
        self._page = page
        self._partitions = partitions.all
        self._ends = {keys.partition: end_in(keys.partition) for keys in partitions.all}
        self._read_in: dict[int, list[E]] = {}

    def entries(self, count: int) -> Plan[list[tuple[Place, E]]]:
        """Return the next entries; fewer than `count` when there are no more."""
        found: list[tuple[Place, E]] = []
        while len(found) < count:
            dry = [keys for keys in self._partitions if keys.partition in self._ends and not self._has(keys)]
            if dry:
                pages = yield [self._read(keys, self._ends[keys.partition]) for keys in dry]
                for keys, page in zip(dry, pages, strict=True):
                    if isinstance(page, HeadraceError):
                        raise page
                    self._take_in(keys.partition, page)
            if not self._read_in:
                break
            found.append(self._newest())
        return found

    def _has(self, keys: Keys) -> bool:
        return keys.partition in self._read_in

    def _take_in(self, partition: int, page: list[E]) -> None:
        if page:
            self._read_in[partition] = page[::-1]
            self._ends[partition] = page[-1].id
        if len(page) < self._page:
            del self._ends[partition]

    def _newest(self) -> tuple[Place, E]:
        places = [Place(rows[-1].id, partition) for partition, rows in self._read_in.items()]
        place = max(places, key=lambda each: each.rank)
        rows = self._read_in[place.partition]
        entry = rows.pop()
        if not rows:
            del self._read_in[place.partition]
        return place, entry


def check_limit(limit: object) -> None:
    """Raise InvalidArgument for what can be no length of a page."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1000:
        raise InvalidArgument("limit", f"must be 1 to 1000, not {limit!r}")
