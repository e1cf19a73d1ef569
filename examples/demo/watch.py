"""Reads the records of events again and again, and returns what has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from examples.demo.expectations import REPORTING_JOB
from headrace import AsyncClient, EventRecord, RunRecord


class Change(msgspec.Struct, frozen=True):
    """A new status of a run or of a delayed event.

    Attributes:
        status: the new one.
        event: the event's name.
        job: the run's job; None for an event.
        text: an error, an attempt or a delay, where there is one.
    """

    status: str
    event: str
    job: str | None
    text: str


class Tally(msgspec.Struct):
    """How many runs of a job there are, and how many of them have which status."""

    runs: int = 0
    open: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0

    def count(self, run: RunRecord) -> None:
        """Count a run."""
        self.runs += 1
        self.open += not run.is_settled
        self.succeeded += run.status == "succeeded"
        self.failed += run.is_settled and run.status != "succeeded"
        self.retried += run.attempt > 1


class Watch:
    """Knows all events that were sent.

    Attributes:
        records: the events' records, by id, as of the last look.
    """

    def __init__(self, client: AsyncClient) -> None:
        self.records: dict[str, EventRecord] = {}
        self._client = client
        self._open: dict[str, None] = {}

    def add(self, event_ids: Iterable[str]) -> None:
        """Watch these events too."""
        self._open.update(dict.fromkeys(event_ids))

    @property
    def is_settled(self) -> bool:
        """Whether all events have settled, with all their runs."""
        return not self._open

    async def look(self) -> list[Change]:
        """Return what has changed since the last look."""
        changes: list[Change] = []
        for event_id in list(self._open):
            record = await self._client.get_event(event_id)
            before = self.records.get(event_id)
            self.records[event_id] = record
            changes += _event_changes(before, record)
            for run in record.runs:
                changes += _run_changes(before, record, run)
                if run.job == REPORTING_JOB and run.status == "succeeded":
                    self.add([run.output])  # it returns the id of the event that it has sent
            if record.is_settled:
                del self._open[event_id]
        return changes

    def tally(self) -> dict[str, Tally]:
        """Return the tally of each job."""
        tallies: dict[str, Tally] = {}
        for record in self.records.values():
            for run in record.runs:
                tallies.setdefault(run.job, Tally()).count(run)
        return tallies


def _event_changes(before: EventRecord | None, record: EventRecord) -> Iterator[Change]:
    if record.deliver_at is None or (before is not None and before.status == record.status):
        return
    text = ""
    if record.delivered_at is not None:
        text = f"{lateness_ms(record):.0f} ms after its time"
    yield Change(record.status, record.name, None, text)


def lateness_ms(record: EventRecord) -> float:
    """Return how long after its time a delayed event was delivered, by the server's clock."""
    if record.deliver_at is None or record.delivered_at is None:
        raise ValueError(f"event {record.id} was not delivered later")
    return (record.delivered_at - record.deliver_at).total_seconds() * 1000


def _run_changes(before: EventRecord | None, record: EventRecord, run: RunRecord) -> Iterator[Change]:
    known = next((each for each in before.runs if each.id == run.id), None) if before else None
    if known is not None and (known.status, known.attempt) == (run.status, run.attempt):
        return
    text = ""
    if run.error is not None and run.status != "succeeded":
        text = f"{run.error.type}: {run.error.message}"
    elif run.status == "succeeded":
        text = f"in attempt {run.attempt}" if run.attempt > 1 else ""
    yield Change(run.status, record.name, run.job, text)
