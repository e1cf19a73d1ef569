"""Lists runs that wait in `due`: for their next attempt, or as the next of their ordering key. Pure."""

from __future__ import annotations

from headrace.calls import records
from headrace.calls.call import Call
from headrace.calls.records import FoundRun
from headrace.formats.due import DueName
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.lists.due import DueRow
from headrace.lists.due_records import list_records
from headrace.lists.run_filter import ChosenRuns
from headrace.model.event import RunRecord
from headrace.model.page import Page
from headrace.plans.plan import Plan


def list_waiting(
    partitions: Partitions, chosen: ChosenRuns, cursor: str | None, limit: int, seal: Seal | None
) -> Plan[Page[RunRecord]]:
    """Return a page of runs that wait, soonest first."""
    return list_records(partitions, _Waiting(chosen, seal), cursor, limit)


class _Waiting:
    """The runs in `due` that are asked for."""

    def __init__(self, chosen: ChosenRuns, seal: Seal | None) -> None:
        self.since_ms, self.until_ms = _millis(chosen.since), _until(chosen.until)
        self._chosen, self._seal = chosen, seal

    def may_have(self, name: DueName) -> bool:
        """Return whether it is a run, of a job and in a queue that may be asked for."""
        return bool(name.job) and self._chosen.may_be_of(name.job) and self._chosen.is_of_queue(name.app, name.queue)

    def read(self, row: DueRow, name: DueName) -> Call[FoundRun | None]:
        """Read a run."""
        return records.read_run(row.keys, name.event_id, name.job, self._seal)

    def item(self, record: FoundRun) -> RunRecord | None:
        """Return the run, if it is asked for."""
        return record.run if self._chosen.has(record.run) else None


def _millis(entry_id: str) -> int | None:
    return int(entry_id.partition("-")[0]) if entry_id else None


def _until(entry_id: str) -> int | None:
    return int(entry_id.partition("-")[0]) - 1 if entry_id else None
