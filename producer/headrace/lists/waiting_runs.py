"""Lists runs that wait in `due`: for their next attempt, or as the next of their ordering key. Pure."""

from __future__ import annotations

from typing import Any

from headrace.calls import records
from headrace.formats.due import DueName
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.lists.bounds import ENTRIES, LEAST, RECORDS, Bounds
from headrace.lists.delayed import name_of
from headrace.lists.due import look_ahead
from headrace.lists.run_filter import ChosenRuns
from headrace.model.event import RunRecord
from headrace.model.page import Page
from headrace.plans.plan import Plan


def list_waiting(
    partitions: Partitions, chosen: ChosenRuns, cursor: str | None, limit: int, seal: Seal | None
) -> Plan[Page[RunRecord]]:
    """Return a page of runs that wait, soonest first."""
    bounds = Bounds()
    looked = yield from look_ahead(partitions, cursor, _millis(chosen.since), _until(chosen.until), ENTRIES, bounds)
    wanted = [(row, name) for row in looked.rows if (name := name_of(row, bounds)) and _may_have(chosen, name)]
    is_whole = chosen.event_name is not None or chosen.worker is not None  # only its record knows
    read = wanted[: RECORDS if is_whole else min(max(limit, LEAST), RECORDS)]
    calls = [records.as_answer(records.read_run(row.keys, name.event_id, name.job, seal)) for row, name in read]
    answers = (yield from bounds.ask(calls)) if calls else []
    runs: list[RunRecord] = []
    cursors: list[str | None] = []
    last = read[-1][0] if len(read) < len(wanted) else None
    for (row, name), answer in zip(read, answers, strict=True):
        run = _run(name, answer, bounds)
        if run and chosen.has(run):
            runs.append(run)
            cursors.append(cursor)
        cursor = row.cursor
        if len(runs) == limit:
            last = row
            break
    searched = looked.searched(last)
    end = last or (looked.rows[-1] if looked.rows else None)
    behind = None if searched.complete or not end else end.cursor
    return Page(runs, behind, searched, list(bounds.damaged.values()), cursors)


def _may_have(chosen: ChosenRuns, name: DueName) -> bool:
    return bool(name.job) and chosen.may_be_of(name.job) and chosen.is_of_queue(name.app, name.queue)


def _run(name: DueName, answer: Any, bounds: Bounds) -> RunRecord | None:
    found = bounds.record(name.event_id, name.job, answer)
    return None if found is None else found.run


def _millis(entry_id: str) -> int | None:
    return int(entry_id.partition("-")[0]) if entry_id else None


def _until(entry_id: str) -> int | None:
    return int(entry_id.partition("-")[0]) - 1 if entry_id else None
