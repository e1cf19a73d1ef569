"""The pages of a listing, newest first over all partitions, as plans. Pure.

What has the same entry id in several partitions is listed by the partitions' numbers. A cursor names the place behind
which the next page begins in that order, so that it needs no memory of the pages before: an entry id, then, where
there are several partitions, the number of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from headrace.calls import records
from headrace.calls.call import Call
from headrace.calls.listing import IndexEntry, read_dead, read_index
from headrace.errors import HeadraceError, InvalidArgument, ServerError
from headrace.formats.codec import STATUS_LETTER
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import FINAL_STATUSES, DamagedEntry, DeadEntry, DeadPage, RunPage, RunRecord
from headrace.model.ids import run_id, split_run_id

T = TypeVar("T")
Plan = Generator[Sequence[Call[Any]], list[Any], T]

_PAGE_READS = 20
_ENTRY_ID = re.compile(r"([0-9]{1,20}-[0-9]{1,20})(?:~([1-9][0-9]{0,3}))?")


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=_HasId)


class Place(msgspec.Struct, frozen=True):
    """An entry's place in the order of a listing."""

    entry: str
    partition: int = 0

    @property
    def text(self) -> str:
        """The id and, but for partition 0, `~` and the partition."""
        return f"{self.entry}~{self.partition}" if self.partition else self.entry

    @property
    def rank(self) -> tuple[int, int, int]:
        """The greater, the sooner it is listed."""
        millis, _, number = self.entry.partition("-")
        return int(millis), int(number), -self.partition

    def end_behind(self, partition: int) -> str:
        """Returns the entry id before which all is in a partition that is listed behind the entry of this place."""
        return self.entry if partition <= self.partition else next_id(self.entry)

    def end_from(self, partition: int) -> str:
        """As `end_behind`, for a place that is named by the id behind its entry's, and with that entry itself."""
        return self.entry if partition >= self.partition else _id_before(self.entry)


def read_place(text: object, partitions: Partitions) -> Place | None:
    """Returns the place that an id or a cursor names; None for a text that is none of this namespace."""
    found = _ENTRY_ID.fullmatch(text) if isinstance(text, str) else None
    if found is None or any(int(part) >= 2**64 for part in found[1].split("-")):
        return None
    place = Place(found[1], int(found[2] or 0))
    return place if place.partition < len(partitions) else None


def next_id(entry_id: str) -> str:
    """The smallest entry id behind this one, so that a read of what is before it begins with this one."""
    millis, _, number = entry_id.partition("-")
    return f"{millis}-{int(number) + 1}"


def _id_before(entry_id: str) -> str:
    millis, _, number = entry_id.partition("-")
    return f"{millis}-{max(int(number) - 1, 0)}"


class _Merge(Generic[E]):
    """Reads a stream of each partition, page by page, and gives their entries in the order of a listing."""

    def __init__(
        self,
        partitions: Partitions,
        read: Callable[[Keys, str | None], Call[list[E]]],
        page: int,
        end_in: Callable[[int], str | None],
    ) -> None:
        """Nothing is read yet.

        Args:
            read: what reads a page of a partition, from the entry before an id on; from the newest on for None.
            page: how many entries that gives, if there are as many.
            end_in: the entry id before which to begin in a partition; None: with the newest.
        """
        self._read = read
        self._page = page
        self._partitions = partitions.all
        self._ends = {keys.partition: end_in(keys.partition) for keys in partitions.all}
        self._read_in: dict[int, list[E]] = {}

    def entries(self, count: int) -> Plan[list[tuple[Place, E]]]:
        """Returns the next entries; fewer than `count` when there are no more."""
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


def list_runs(
    partitions: Partitions,
    job: str | None,
    status: str | None,
    cursor: str | None,
    limit: int,
    *,
    seal: Seal | None = None,
) -> Plan[RunPage]:
    """Returns a page of runs, newest first: by when they settled for a final status, else by when they were sent."""
    _check_job(job)
    _check_status(status)
    _check_limit(limit)
    start, skip = (None, 0) if cursor is None else _split_cursor(cursor, partitions)

    def read(keys: Keys, end: str | None) -> Call[list[IndexEntry]]:
        return read_index(keys.runs if status in FINAL_STATUSES else keys.recent, end, _PAGE_READS)

    merge = _Merge(partitions, read, _PAGE_READS, lambda number: start.end_from(number) if start else None)
    listed = _Listed(job, status)
    while True:
        entries = yield from merge.entries(_PAGE_READS)
        indexed = [event for place, entry in entries for event in _events_of(place, entry, job, status)][skip:]
        for first in range(0, len(indexed), _PAGE_READS):
            chunk = indexed[first : first + _PAGE_READS]
            answers = yield [records.read_runs(partitions.all[event.partition], event.id, seal) for event in chunk]
            for event, runs in zip(chunk, answers, strict=True):
                listed.add(event.id, runs)
                if listed.count >= limit:
                    return RunPage(listed.runs, event.cursor, listed.damaged)
        if len(entries) < _PAGE_READS:
            return RunPage(listed.runs, None, listed.damaged)
        skip = 0


class _Listed:
    """The runs of a page so far, each event's once, and what of them can't be read."""

    def __init__(self, job: str | None, status: str | None) -> None:
        self.runs: list[RunRecord] = []
        self.damaged: list[DamagedEntry] = []
        self._job = job
        self._status = status
        self._seen: set[str] = set()

    @property
    def count(self) -> int:
        return len(self.runs) + len(self.damaged)

    def add(self, event_id: str, answer: list[RunRecord | DamagedEntry] | HeadraceError) -> None:
        """Those that are asked for are in the page; of what is damaged only the job is known."""
        if event_id in self._seen:
            return
        self._seen.add(event_id)
        asked_for = (event_id, run_id(event_id, self._job or ""))
        for run in _readable(event_id, answer):
            if isinstance(run, DamagedEntry):
                self.damaged += [run] if self._job is None or run.id in asked_for else []
            elif self._job in (None, run.job) and self._status in (None, run.status):
                self.runs.append(run)


def _readable(event_id: str, answer: list[RunRecord | DamagedEntry] | HeadraceError) -> list[RunRecord | DamagedEntry]:
    """Returns the runs of an event; a record that is no hash hides no other, and any other failure is raised."""
    if not isinstance(answer, HeadraceError):
        return answer
    if type(answer) is ServerError:
        return [DamagedEntry(event_id, str(answer))]
    raise answer


class _Indexed(msgspec.Struct, frozen=True):
    """An event that a listing names, its partition, and the cursor that goes on behind it."""

    id: str
    partition: int
    cursor: str


def _events_of(place: Place, entry: IndexEntry, job: str | None, status: str | None) -> list[_Indexed]:
    if status in FINAL_STATUSES:  # the index names runs, with the letters of their states
        runs = [split_run_id(run) for run, letter in entry.pairs if letter == STATUS_LETTER[status or ""]]
        ids = [parts[0] for parts in runs if parts and job in (None, parts[1])]
    else:
        ids = [event_id for event_id, _ in entry.pairs]
    partition = place.partition
    suffix = f"~{partition}" if partition else ""
    return [
        _Indexed(event_id, partition, f"{next_id(entry.id)}~{nth}{suffix}")
        for nth, event_id in enumerate(dict.fromkeys(ids), 1)
    ]


def _split_cursor(cursor: str, partitions: Partitions) -> tuple[Place, int]:
    """Returns the place of the entry that the page begins in, and how many of its events are listed already."""
    given: object = cursor
    entry_id, _, rest = given.partition("~") if isinstance(given, str) else ("", "", "")
    skip, _, partition = rest.partition("~")
    place = read_place(f"{entry_id}~{partition}" if partition else entry_id, partitions)
    if place is None or not re.fullmatch("[0-9]{1,9}", skip):
        raise InvalidArgument("cursor", f"{cursor!r} is none that a listing has returned")
    return place, int(skip)


def list_dead(partitions: Partitions, cursor: str | None, limit: int, seal: Seal | None = None) -> Plan[DeadPage]:
    """Returns a page of dead letters, newest first."""
    _check_limit(limit)
    behind = None if cursor is None else read_place(cursor, partitions)
    if cursor is not None and behind is None:
        raise InvalidArgument("cursor", f"{cursor!r} is none that a listing has returned")

    def read(keys: Keys, end: str | None) -> Call[list[DeadEntry]]:
        return read_dead(keys, end, limit, seal)

    merge = _Merge(partitions, read, limit, lambda number: behind.end_behind(number) if behind else None)
    entries = yield from merge.entries(limit)
    letters = [named(place, letter) for place, letter in entries]
    return DeadPage(letters, letters[-1].id if len(letters) == limit else None)


def named(place: Place, letter: DeadEntry) -> DeadEntry:
    """Returns the dead letter under the id by which the namespace knows it."""
    return letter if not place.partition else msgspec.structs.replace(letter, id=place.text)


def _check_status(status: object) -> None:
    if status is not None and not (isinstance(status, str) and status in STATUS_LETTER):
        raise InvalidArgument("status", f"{status!r} is none of {', '.join(STATUS_LETTER)}")


def _check_job(job: object) -> None:
    if job is not None and not (isinstance(job, str) and "/" in job):
        raise InvalidArgument("job", f"must be <app>/<job id> or None, not {job!r}")


def _check_limit(limit: object) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1000:
        raise InvalidArgument("limit", f"must be 1 to 1000, not {limit!r}")
