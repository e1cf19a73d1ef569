"""Lists runs: open ones from where they stand, those that ended from the index of what settled. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import msgspec

from headrace.calls import records
from headrace.calls.call import Call
from headrace.calls.indexing import IndexEntry
from headrace.calls.records import FoundRun
from headrace.errors import DamagedRecord, EventNotFound, HeadraceError, InvalidArgument
from headrace.formats.codec import STATUS_LETTER
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.lists import arguments, open_runs, waiting_runs
from headrace.lists.bounds import Bounds
from headrace.lists.index import Indexed, SentIndex, look_through
from headrace.lists.run_filter import ChosenRuns
from headrace.model.event import RunRecord, RunStatus
from headrace.model.ids import run_id, split_run_id
from headrace.model.page import DamagedEntry, Page, Searched
from headrace.plans.plan import Plan
from headrace.plans.read import as_id, find_partition, is_wrong_type


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are listed, as the caller has said it; what is None excludes nothing."""

    job: str | None = None
    status: RunStatus | Collection[RunStatus] | None = None
    event_id: str | None = None
    event_name: str | None = None
    queue: str | None = None
    worker: str | None = None
    older_than: float | timedelta | None = None
    behind: bool = False
    since: datetime | None = None
    until: datetime | None = None


def list_runs(
    partitions: Partitions, asked: RunFilter, cursor: str | None, limit: int, *, seal: Seal | None = None
) -> Plan[Page[RunRecord]]:
    """Return a page of runs: executing, queued or waiting ones in their order; others newest first."""
    chosen = _check(asked)
    arguments.check_limit(limit)
    if asked.event_id is not None:
        return (yield from _runs_of_event(partitions, asked, chosen, cursor, seal))
    match chosen.only:
        case "executing":
            return (yield from open_runs.list_executing(partitions, chosen, cursor, limit, seal))
        case "queued":
            return (yield from open_runs.list_queued(partitions, chosen, cursor, limit, seal))
        case "waiting":
            list_them = waiting_runs.list_behind if asked.behind else waiting_runs.list_waiting
            return (yield from list_them(partitions, chosen, cursor, limit, seal))
    return (yield from _indexed_runs(partitions, chosen, cursor, limit, seal))


def _indexed_runs(
    partitions: Partitions, chosen: ChosenRuns, cursor: str | None, limit: int, seal: Seal | None
) -> Plan[Page[RunRecord]]:
    """Return a page of runs by the index of what settled or, for events with all their runs, of what was sent."""
    bounds, listed = Bounds(), _Listed(chosen)
    index = _Settled(chosen) if chosen.is_final else _Sent(chosen)

    def read(indexed: Indexed) -> Call[Any]:
        return index.read(indexed, seal)

    behind, searched = yield from look_through(partitions, index, cursor, limit, read, listed, bounds)
    damaged = [*listed.damaged.values(), *bounds.damaged.values()]
    return Page(listed.runs, behind, searched, damaged, listed.cursors)


class _Sent(SentIndex):
    """The events whose runs may be asked for."""

    def __init__(self, chosen: ChosenRuns) -> None:
        super().__init__(chosen.since, chosen.until, chosen.event_name, is_narrow=chosen.is_narrow)

    def read(self, indexed: Indexed, seal: Seal | None) -> Call[Any]:
        """Read all runs of an event."""
        return records.read_runs(indexed.keys, indexed.id, seal)


class _Settled:
    """The index of what settled, which knows runs and the states in which they settled."""

    def __init__(self, chosen: ChosenRuns) -> None:
        self.is_narrow = chosen.is_narrow
        self.since, self.until = chosen.since, chosen.until
        self._chosen = chosen
        self._letters = {STATUS_LETTER[status] for status in chosen.statuses or ()}

    def index_of(self, keys: Keys) -> str:
        """Return the key of `runs`."""
        return keys.runs

    def names(self, entry: IndexEntry) -> list[str]:
        """Return the ids of runs of the job that is asked for, in one of the states."""
        runs = dict.fromkeys(run for run, letter in entry.pairs if letter in self._letters)
        return [run for run in runs if (parts := split_run_id(run)) and self._chosen.may_be_of(parts[1])]

    def read(self, indexed: Indexed, seal: Seal | None) -> Call[Any]:
        """Read one run."""
        event_id, job = split_run_id(indexed.id) or ("", "")
        return records.as_answer(records.read_run(indexed.keys, event_id, job, seal))


def _runs_of_event(
    partitions: Partitions, asked: RunFilter, chosen: ChosenRuns, cursor: str | None, seal: Seal | None
) -> Plan[Page[RunRecord]]:
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
    listed.add(Indexed(event_id, keys, "0-0", 1, 1), answer)
    cursors: list[str | None] = [None] * len(listed.runs)
    return Page(listed.runs, None, Searched(1, None, complete=True), list(listed.damaged.values()), cursors)


class _Listed:
    """The runs of a page so far, each once, and what of them can't be read."""

    def __init__(self, chosen: ChosenRuns) -> None:
        self.runs: list[RunRecord] = []
        self.cursors: list[str | None] = []
        self.damaged: dict[str, DamagedEntry] = {}
        self._chosen = chosen
        self._seen: set[str] = set()

    @property
    def count(self) -> int:
        return len(self.runs) + len(self.damaged)

    def add(self, indexed: Indexed, answer: Any) -> None:
        """Add the runs that are asked for; of a damaged one only the job is known."""
        if indexed.id in self._seen:
            return
        self._seen.add(indexed.id)
        for run in _readable(indexed.id, answer):
            if isinstance(run, RunRecord):
                if self._chosen.has(run):
                    self.runs.append(run)
                    self.cursors.append(indexed.own_cursor)
            elif self._chosen.job is None or run.id in _names_of(indexed.id, self._chosen.job):
                self.damaged[run.id] = run


def _names_of(indexed_id: str, job: str) -> tuple[str, ...]:
    """Return by which ids a damaged run of a job is known: its own, or its event's where nothing can be read."""
    parts = split_run_id(indexed_id)
    return (indexed_id, run_id(indexed_id, job), *(parts or ())[:1])


def _readable(indexed_id: str, answer: Any) -> list[RunRecord | DamagedEntry]:
    """Return what was read of an event or a run; name what is damaged, and raise any other failure."""
    if isinstance(answer, DamagedRecord):
        return [DamagedEntry(indexed_id, str(answer))]
    if is_wrong_type(answer):
        parts = split_run_id(indexed_id)
        return [DamagedEntry(parts[0] if parts else indexed_id, str(answer))]
    if isinstance(answer, HeadraceError):
        raise answer
    if isinstance(answer, FoundRun):
        return [answer.run]
    found: list[RunRecord | DamagedEntry] = answer or []
    return found


def _check(asked: RunFilter) -> ChosenRuns:
    """Return the filter as it is used, or raise InvalidArgument that names the argument at fault."""
    arguments.check_job(asked.job)
    arguments.check_text("event_name", asked.event_name)
    arguments.check_queue(asked.queue)
    arguments.check_text("worker", asked.worker)
    chosen = ChosenRuns(
        job=asked.job,
        statuses=_check_statuses(asked.status),
        event_name=asked.event_name,
        queue=asked.queue,
        worker=asked.worker,
        older_than_ms=arguments.age_ms("older_than", asked.older_than),
        since=arguments.since_id(asked.since),
        until=arguments.until_id(asked.until),
    )
    if chosen.older_than_ms is not None and chosen.only != "executing":
        raise InvalidArgument("older_than", "is for runs that execute; give status='executing' as well")
    if asked.behind and (chosen.only != "waiting" or asked.event_id is not None or asked.worker is not None):
        raise InvalidArgument("behind", "is for runs that wait; give status='waiting' as well, and no event or worker")
    return chosen


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
