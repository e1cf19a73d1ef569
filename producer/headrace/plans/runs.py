"""Lists runs, from the indexes of what was sent and of what settled. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

import msgspec

from headrace.calls import records
from headrace.calls.call import Call
from headrace.calls.listing import IndexEntry, read_index
from headrace.errors import EventNotFound, HeadraceError, InvalidArgument
from headrace.formats.codec import STATUS_LETTER, to_micros
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import FINAL_STATUSES, DamagedEntry, RunPage, RunRecord, RunStatus
from headrace.model.ids import run_id, split_run_id
from headrace.model.moments import aware_moment
from headrace.plans.listing import Merge, Place, check_limit, next_id, read_place
from headrace.plans.plan import Plan
from headrace.plans.read import as_id, find_partition, is_wrong_type

_PAGE_READS = 20


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are listed, as the caller has said it; what is None excludes nothing."""

    job: str | None = None
    status: RunStatus | Collection[RunStatus] | None = None
    event_id: str | None = None
    event_name: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class _Chosen(msgspec.Struct, frozen=True):
    """A filter that was checked.

    Attributes:
        statuses: None for any.
        since, until: the ids of the oldest entry of an index that counts, and of one after the newest; empty for none.
    """

    job: str | None
    statuses: frozenset[str] | None
    event_name: str | None
    since: str
    until: str

    @property
    def is_final(self) -> bool:
        """The index of settled runs has all that is asked for; it does not know the names of their events."""
        return self.statuses is not None and self.statuses <= FINAL_STATUSES and self.event_name is None

    def index_of(self, keys: Keys) -> str:
        """Return the index that the listing goes through."""
        return keys.runs if self.is_final else keys.recent

    def has(self, run: RunRecord) -> bool:
        """Return whether a run is asked for, as far as its record says."""
        return self.job in (None, run.job) and (self.statuses is None or run.status in self.statuses)


def list_runs(
    partitions: Partitions, asked: RunFilter, cursor: str | None, limit: int, *, seal: Seal | None = None
) -> Plan[RunPage]:
    """Return a page of runs, newest first: by when they settled for final statuses, else by when they were sent."""
    chosen = _check(asked)
    check_limit(limit)
    if asked.event_id is not None:
        return (yield from _runs_of_event(partitions, asked, chosen, cursor, seal))
    start, skip = (None, 0) if cursor is None else _split_cursor(cursor, partitions)

    def read(keys: Keys, end: str | None) -> Call[list[IndexEntry]]:
        return read_index(chosen.index_of(keys), end, _PAGE_READS, chosen.since or "-")

    def end_in(number: int) -> str | None:
        return start.end_from(number) if start else chosen.until or None

    merge = Merge(partitions, read, _PAGE_READS, end_in)
    listed = _Listed(chosen)
    while True:
        entries = yield from merge.entries(_PAGE_READS)
        indexed = [event for place, entry in entries for event in _events_of(place, entry, chosen)][skip:]
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


def _runs_of_event(
    partitions: Partitions, asked: RunFilter, chosen: _Chosen, cursor: str | None, seal: Seal | None
) -> Plan[RunPage]:
    """Return the runs of one event, which are one page."""
    for field, given in (("event_name", asked.event_name), ("since", asked.since), ("until", asked.until)):
        if given is not None:
            raise InvalidArgument(field, "was given together with event_id, which names one event; leave it out")
    if cursor is not None:
        raise InvalidArgument("cursor", "was given together with event_id, whose runs are one page; leave it out")
    event_id = as_id(asked.event_id)
    keys = yield from find_partition(partitions, event_id)
    is_known, answer = yield [records.is_known(keys, event_id), records.read_runs(keys, event_id, seal)]
    if is_known is False:
        raise EventNotFound(event_id)
    listed = _Listed(chosen)
    listed.add(event_id, answer)
    return RunPage(listed.runs, None, listed.damaged)


class _Listed:
    """The runs of a page so far, each event's once, and what of them can't be read."""

    def __init__(self, chosen: _Chosen) -> None:
        self.runs: list[RunRecord] = []
        self.damaged: list[DamagedEntry] = []
        self._chosen = chosen
        self._seen: set[str] = set()

    @property
    def count(self) -> int:
        return len(self.runs) + len(self.damaged)

    def add(self, event_id: str, answer: list[RunRecord | DamagedEntry] | HeadraceError) -> None:
        """Add the runs that are asked for; of a damaged one only the job is known."""
        if event_id in self._seen:
            return
        self._seen.add(event_id)
        job = self._chosen.job
        asked_for = (event_id, run_id(event_id, job or ""))
        for run in _readable(event_id, answer):
            if isinstance(run, DamagedEntry):
                self.damaged += [run] if job is None or run.id in asked_for else []
            elif self._chosen.has(run):
                self.runs.append(run)


def _readable(event_id: str, answer: list[RunRecord | DamagedEntry] | HeadraceError) -> list[RunRecord | DamagedEntry]:
    """Return the runs of an event; name a record that is no hash as damaged, and raise any other failure."""
    if not isinstance(answer, HeadraceError):
        return answer
    if is_wrong_type(answer):
        return [DamagedEntry(event_id, str(answer))]
    raise answer


class _Indexed(msgspec.Struct, frozen=True):
    """An event that a listing names, its partition, and the cursor that goes on behind it."""

    id: str
    partition: int
    cursor: str


def _events_of(place: Place, entry: IndexEntry, chosen: _Chosen) -> list[_Indexed]:
    if chosen.is_final:  # the index names runs, with the letters of their states
        letters = {STATUS_LETTER[status] for status in chosen.statuses or ()}
        runs = [split_run_id(run) for run, letter in entry.pairs if letter in letters]
        ids = [parts[0] for parts in runs if parts and chosen.job in (None, parts[1])]
    else:
        ids = [event_id for event_id, name in entry.pairs if chosen.event_name in (None, name)]
    partition = place.partition
    suffix = f"~{partition}" if partition else ""
    return [
        _Indexed(event_id, partition, f"{next_id(entry.id)}~{nth}{suffix}")
        for nth, event_id in enumerate(dict.fromkeys(ids), 1)
    ]


def _split_cursor(cursor: str, partitions: Partitions) -> tuple[Place, int]:
    """Return the place of the entry that the page begins in, and how many of its events are listed already."""
    given: object = cursor
    entry_id, _, rest = given.partition("~") if isinstance(given, str) else ("", "", "")
    skip, _, partition = rest.partition("~")
    place = read_place(f"{entry_id}~{partition}" if partition else entry_id, partitions)
    if place is None or not re.fullmatch("[0-9]{1,9}", skip):
        raise InvalidArgument("cursor", f"{cursor!r} is none that a listing has returned")
    return place, int(skip)


def _check(asked: RunFilter) -> _Chosen:
    """Return the filter as it is used, or raise InvalidArgument that names the argument at fault."""
    job: object = asked.job
    if job is not None and not (isinstance(job, str) and "/" in job):
        raise InvalidArgument("job", f"must be <app>/<job id> or None, not {job!r}")
    name: object = asked.event_name
    if name is not None and not isinstance(name, str):
        raise InvalidArgument("event_name", f"must be a string or None, not {name!r}")
    since, until = _millis("since", asked.since), _millis("until", asked.until)
    return _Chosen(
        asked.job,
        _check_statuses(asked.status),
        asked.event_name,
        "" if since is None else f"{since}-0",
        "" if until is None else f"{until + 1}-0",
    )


def _check_statuses(given: object) -> frozenset[str] | None:
    if given is None:
        return None
    statuses = (given,) if isinstance(given, str) else given
    known = ", ".join(STATUS_LETTER)
    if not isinstance(statuses, Collection) or not statuses:
        raise InvalidArgument("status", f"must be one of {known}, or several of them, not {given!r}")
    for status in statuses:
        if not (isinstance(status, str) and status in STATUS_LETTER):
            raise InvalidArgument("status", f"{status!r} is none of {known}")
    return frozenset(statuses)


def _millis(field: str, given: object) -> int | None:
    if given is None:
        return None
    try:
        return max(to_micros(aware_moment(given)) // 1000, 0)
    except ValueError as exc:
        raise InvalidArgument(field, str(exc)) from exc
