"""Lists runs, from the indexes of what was sent and of what settled. Pure."""

from __future__ import annotations

import re

import msgspec

from headrace.calls import records
from headrace.calls.call import Call
from headrace.calls.listing import IndexEntry, read_index
from headrace.errors import HeadraceError, InvalidArgument, ServerError
from headrace.formats.codec import STATUS_LETTER
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import FINAL_STATUSES, DamagedEntry, RunPage, RunRecord
from headrace.model.ids import run_id, split_run_id
from headrace.plans.listing import Merge, Place, check_limit, next_id, read_place
from headrace.plans.plan import Plan

_PAGE_READS = 20


def list_runs(
    partitions: Partitions,
    job: str | None,
    status: str | None,
    cursor: str | None,
    limit: int,
    *,
    seal: Seal | None = None,
) -> Plan[RunPage]:
    """Return a page of runs, newest first: by when they settled for a final status, else by when they were sent."""
    _check_job(job)
    _check_status(status)
    check_limit(limit)
    start, skip = (None, 0) if cursor is None else _split_cursor(cursor, partitions)

    def read(keys: Keys, end: str | None) -> Call[list[IndexEntry]]:
        return read_index(keys.runs if status in FINAL_STATUSES else keys.recent, end, _PAGE_READS)

    merge = Merge(partitions, read, _PAGE_READS, lambda number: start.end_from(number) if start else None)
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
        """Add the runs that are asked for; of a damaged one only the job is known."""
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
    """Return the runs of an event; name a record that is no hash as damaged, and raise any other failure."""
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
    """Return the place of the entry that the page begins in, and how many of its events are listed already."""
    given: object = cursor
    entry_id, _, rest = given.partition("~") if isinstance(given, str) else ("", "", "")
    skip, _, partition = rest.partition("~")
    place = read_place(f"{entry_id}~{partition}" if partition else entry_id, partitions)
    if place is None or not re.fullmatch("[0-9]{1,9}", skip):
        raise InvalidArgument("cursor", f"{cursor!r} is none that a listing has returned")
    return place, int(skip)


def _check_status(status: object) -> None:
    if status is not None and not (isinstance(status, str) and status in STATUS_LETTER):
        raise InvalidArgument("status", f"{status!r} is none of {', '.join(STATUS_LETTER)}")


def _check_job(job: object) -> None:
    if job is not None and not (isinstance(job, str) and "/" in job):
        raise InvalidArgument("job", f"must be <app>/<job id> or None, not {job!r}")
