"""Lists runs that execute, and runs that wait for a worker, from the queues themselves, oldest entry first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from headrace.calls import queues, records
from headrace.calls.call import Call
from headrace.calls.checking import server_time
from headrace.calls.queues import Held, Progress, Queued
from headrace.calls.records import FoundRun
from headrace.errors import DamagedRecord
from headrace.formats.keys import Keys, is_name
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.lists.arguments import bad_cursor
from headrace.lists.bounds import LEAST, RECORDS, Bounds
from headrace.lists.merge import entry_rank, next_id, read_place, time_of
from headrace.lists.run_filter import ChosenRuns
from headrace.model.event import RunRecord
from headrace.model.page import Page, Searched
from headrace.plans.plan import Plan

_Rank = tuple[int, int, int, str]
_CLOCKS_MS = 60_000
"""So much may the clocks of a cluster's nodes differ."""


class _Queue(msgspec.Struct, frozen=True, eq=False):
    """A queue in one partition; `name` is `<app>/<queue>`."""

    keys: Keys
    name: str

    @property
    def key(self) -> str:
        return self.keys.queue(*self.name.split("/", 1))


class _Row(msgspec.Struct, frozen=True):
    """An entry of a queue, and the worker that has it, if one has; that with the lowest rank is listed first."""

    queue: _Queue
    entry: str
    rank: _Rank
    found: Queued | None = None
    worker: str | None = None

    @property
    def cursor(self) -> str:
        return f"{self.entry}~{self.queue.keys.partition}~{self.queue.name}"

    @property
    def event_id(self) -> str:
        return self.found.event_id if self.found else ""

    @property
    def job(self) -> str:
        return f"{self.queue.name.partition('/')[0]}/{self.found.job_id if self.found else ''}"


def list_executing(
    partitions: Partitions, chosen: ChosenRuns, cursor: str | None, limit: int, seal: Seal | None
) -> Plan[Page[RunRecord]]:
    """Return a page of the runs that workers have, as the queues know it: a run's record may say so a little later."""
    bounds = Bounds()
    start_in = _starts(partitions, chosen, cursor)
    progress, now_ms = yield from _progress(partitions, chosen, bounds)
    busy = [queue for queue, each in progress.items() if each.held]
    share = _share(busy, chosen, limit)
    ends = {queue: _end_of_old(chosen, progress[queue], now_ms) for queue in busy}
    sizes = {queue: min(share, progress[queue].held + LEAST) for queue in busy}
    worker, idle_ms = chosen.worker, chosen.older_than_ms
    # Entries are delivered in their order and deleted once they are settled, so workers have the first of a queue.
    answers = yield from _ask(
        bounds,
        [
            *(
                queues.read_held(each.key, start_in(each), ends[each], share, worker=worker, idle_ms=idle_ms)
                for each in busy
            ),
            *(queues.read_queued(each.key, start_in(each), ends[each], sizes[each]) for each in busy),
        ],
    )
    rows, is_complete = _oldest(busy, answers[: len(busy)], share, bounds)
    first = {queue: bounds.rows(queue.key, answer) for queue, answer in zip(busy, answers[len(busy) :], strict=True)}
    held = yield from _named(rows, first, sizes, bounds)
    return (yield from _page(rows, held, chosen, cursor, limit, bounds, seal, is_complete=is_complete))


def _named(
    rows: Sequence[_Row], first: Mapping[_Queue, list[Queued]], sizes: Mapping[_Queue, int], bounds: Bounds
) -> Plan[list[_Row]]:
    """Return the rows with what their entries name; those whose entry is gone are left out.

    Args:
        first: the first entries of each queue, as many as `sizes` says or all; others are read one by one.
    """
    known = {(queue, entry.entry): entry for queue, entries in first.items() for entry in entries}
    ends = {queue: entry_rank(each[-1].entry) for queue, each in first.items() if len(each) == sizes[queue]}
    behind = [row for row in rows if row.queue in ends and entry_rank(row.entry) > ends[row.queue]]
    answers = yield from _ask(bounds, [queues.read_queued(row.queue.key, row.entry, row.entry, 1) for row in behind])
    for row, answer in zip(behind, answers, strict=True):
        for entry in bounds.rows(row.queue.key, answer):
            known[row.queue, row.entry] = entry
    return [msgspec.structs.replace(row, found=found) for row in rows if (found := known.get((row.queue, row.entry)))]


def list_queued(
    partitions: Partitions, chosen: ChosenRuns, cursor: str | None, limit: int, seal: Seal | None
) -> Plan[Page[RunRecord]]:
    """Return a page of the runs that wait for a worker, first those that are next in their queues."""
    bounds = Bounds()
    start_in = _starts(partitions, chosen, cursor)
    found, _ = yield from _progress(partitions, chosen, bounds)
    found = {queue: Progress() if each.is_closed and not each.held else each for queue, each in found.items()}
    closed = [queue for queue, progress in found.items() if progress.is_closed]
    answers = yield from _ask(bounds, [queues.read_last_held(queue.key) for queue in closed])
    for queue, answer in zip(closed, answers, strict=True):
        for last in bounds.rows(queue.key, answer):
            found[queue] = Progress(last, found[queue].held)

    def read(queue: _Queue, count: int) -> Call[list[Queued]]:
        behind = next_id(found[queue].last_delivered)
        start = start_in(queue)
        is_later = start != "-" and entry_rank(start.removeprefix("(")) >= entry_rank(behind)
        return queues.read_queued(queue.key, start if is_later else behind, _end(chosen), count)

    share = _share(found, chosen, limit)
    answers = yield from _ask(bounds, [read(queue, share) for queue in found])
    rows, is_complete = _oldest(list(found), answers, share, bounds)
    return (yield from _page(rows, rows, chosen, cursor, limit, bounds, seal, is_complete=is_complete))


def _ask(bounds: Bounds, calls: Sequence[Call[Any]]) -> Plan[list[Any]]:
    return (yield from bounds.ask(calls)) if calls else []


def _end(chosen: ChosenRuns) -> str:
    return f"({chosen.until}" if chosen.until else "+"


def _end_of_old(chosen: ChosenRuns, progress: Progress, now_ms: int) -> str:
    """Return the entry before which those end that may have been delivered as long ago as is asked for.

    To find them the server goes through all that workers have, so it is not asked about those added since then. Where
    its clock has gone back, or the queue is closed, the ids don't tell.
    """
    if chosen.older_than_ms is None or entry_rank(progress.last_delivered)[0] > now_ms:
        return _end(chosen)
    added_before = f"{max(now_ms - chosen.older_than_ms, 0) + _CLOCKS_MS}-0"
    return f"({min(added_before, chosen.until or added_before, key=entry_rank)}"


def _progress(partitions: Partitions, chosen: ChosenRuns, bounds: Bounds) -> Plan[tuple[dict[_Queue, Progress], int]]:
    """Return the queues in which the runs may be, how far workers have come in each, and the server's time in ms.

    The time is 0 where no age is asked for, or it can't be read.
    """
    found = yield from _queues(partitions, chosen, bounds)
    time = [] if chosen.older_than_ms is None else [server_time()]
    answers = yield from _ask(bounds, [*(queues.read_progress(queue.key) for queue in found), *time])
    progress = {
        queue: each for queue, answer in zip(found, answers, strict=False) for each in bounds.rows(queue.key, answer)
    }
    return progress, next((each for each in answers[len(found) :] if isinstance(each, int)), 0)


def _queues(partitions: Partitions, chosen: ChosenRuns, bounds: Bounds) -> Plan[list[_Queue]]:
    """Return the queues in which the runs may be; nothing is asked if one is named."""
    if chosen.queue is not None:
        return [_Queue(keys, chosen.queue) for keys in partitions.all]
    answers = yield from bounds.ask([queues.read_queue_names(keys) for keys in partitions.all])
    return [
        _Queue(keys, name)
        for keys, answer in zip(partitions.all, answers, strict=True)
        for name in bounds.rows(keys.queues, answer)
        if name.count("/") == 1 and all(map(is_name, name.split("/"))) and chosen.is_of_queue(*name.split("/"))
    ]


def _starts(partitions: Partitions, chosen: ChosenRuns, cursor: str | None) -> Callable[[_Queue], str]:
    """Return what tells from which entry on a queue is read."""
    if cursor is None:
        return lambda _: chosen.since or "-"
    given: object = cursor
    entry, _, rest = given.partition("~") if isinstance(given, str) else ("", "", "")
    number, _, name = rest.partition("~")
    place = read_place(entry if number == "0" else f"{entry}~{number}", partitions)
    if place is None or not number or not name:
        raise bad_cursor(cursor)
    listed = (place.partition, name)
    return lambda queue: f"({entry}" if (queue.keys.partition, queue.name) <= listed else entry


def _share(found: Collection[_Queue], chosen: ChosenRuns, limit: int) -> int:
    """Return how many entries to read of each queue: no more than fit on the page, if each of them is asked for."""
    share = max(LEAST, RECORDS // max(len(found), 1))
    is_any = chosen.job is None and chosen.event_name is None
    return min(share, max(LEAST, limit + 1)) if is_any else share


def _oldest(found: Sequence[_Queue], answers: Sequence[Any], share: int, bounds: Bounds) -> tuple[list[_Row], bool]:
    """Return the oldest of the entries that were read, in order over all queues, and whether there are no more.

    A queue that has more entries than were read hides what is behind the last of them, in every queue.
    """
    rows: list[_Row] = []
    ends: list[_Rank] = []
    for queue, answer in zip(found, answers, strict=True):
        entries = [_row(queue, each) for each in bounds.rows(queue.key, answer)]
        rows += entries
        ends += [entries[-1].rank] if len(entries) == share else []
    end = min(ends, default=None)
    within = sorted((row for row in rows if end is None or row.rank <= end), key=lambda row: row.rank)[:RECORDS]
    return within, len(rows) == len(within) and end is None


def _row(queue: _Queue, entry: Held | Queued) -> _Row:
    rank = *entry_rank(entry.entry), queue.keys.partition, queue.name
    if isinstance(entry, Held):
        return _Row(queue, entry.entry, rank, worker=entry.worker)
    return _Row(queue, entry.entry, rank, found=entry)


def _page(  # noqa: PLR0913, PLR0917 - what was looked at, and what is asked for of it
    looked_at: list[_Row],
    rows: list[_Row],
    chosen: ChosenRuns,
    cursor: str | None,
    limit: int,
    bounds: Bounds,
    seal: Seal | None,
    *,
    is_complete: bool,
) -> Plan[Page[RunRecord]]:
    """Return the page of what is asked for among the rows, as the records of their events say."""
    wanted = (row for row in rows if _is_readable(row, bounds) and chosen.may_be_of(row.job))
    is_whole = chosen.event_name is not None  # only its record knows
    read = list(wanted if is_whole else islice(wanted, max(limit, LEAST)))
    is_more = next(wanted, None) is not None
    answers = yield from _ask(bounds, [_read_record(row, seal) for row in read])
    runs: list[RunRecord] = []
    cursors: list[str | None] = []
    last = looked_at[-1] if looked_at else None
    for row, answer in zip(read, answers, strict=True):
        run = _run(row, answer, bounds)
        if run and chosen.has(run):
            runs.append(run)
            cursors.append(cursor)
        cursor = row.cursor
        if len(runs) == limit or (row is read[-1] and is_more):
            last = row
            break
    entries = [row.rank for row in looked_at].index(last.rank) + 1 if last else 0
    is_complete = is_complete and entries == len(looked_at)
    searched = Searched(entries, time_of(last.entry) if last else None, complete=is_complete)
    behind = last.cursor if last and not is_complete else None
    return Page(runs, behind, searched, list(bounds.damaged.values()), cursors)


def _is_readable(row: _Row, bounds: Bounds) -> bool:
    if row.found and row.found.event_id and is_name(row.found.job_id):
        return True
    bounds.note(f"{row.queue.key} {row.entry}", "the entry names no event and job; it was not written by Headrace")
    return False


def _read_record(row: _Row, seal: Seal | None) -> Call[FoundRun | DamagedRecord | None]:
    return records.as_answer(records.read_run(row.queue.keys, row.event_id, row.job, seal))


def _run(row: _Row, answer: Any, bounds: Bounds) -> RunRecord | None:
    """Return the run of an entry, if its record agrees that it is open; the entry says which worker has it."""
    read = bounds.record(row.event_id, row.job, answer)
    if read is None or read.run.is_settled:
        return None
    found: RunRecord = read.run
    if row.worker is None:
        return found
    return msgspec.structs.replace(found, status="executing", worker=row.worker)
