"""Watches events from their records, and tells what has happened to them since the last look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from headrace import AsyncClient, EventRecord, RunRecord
from headrace.model.event import FAILED_STATUSES
from headrace_worker.demo.expectations import REPORTING_JOB, further_event_id


class Happening(msgspec.Struct, frozen=True):
    """Something that has happened.

    Attributes:
        status: what the run or event has become.
        event: the event's name.
        job: whose run it is; None where it is the event itself.
        text: what else is to be said.
    """

    status: str
    event: str
    job: str | None
    text: str


class Tally(msgspec.Struct):
    """How the runs of a job stand."""

    runs: int = 0
    open: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0

    def count(self, run: RunRecord) -> None:
        """One run more."""
        self.runs += 1
        self.succeeded += run.status == "succeeded"
        self.failed += run.status in FAILED_STATUSES
        self.open += not run.is_settled
        self.retried += run.attempt > 1


class Watch:
    """The records of all events that were sent.

    Attributes:
        records: as they were at the last look.
    """

    def __init__(self, client: AsyncClient) -> None:
        self.records: dict[str, EventRecord] = {}
        self._client = client
        self._open: dict[str, None] = {}

    def add(self, event_ids: Iterable[str]) -> None:
        """These events are watched too."""
        self._open.update(dict.fromkeys(event_ids))

    @property
    def is_settled(self) -> bool:
        """Nothing more will happen to any of them."""
        return not self._open

    async def look(self) -> list[Happening]:
        """Returns what has happened since the last look."""
        happenings: list[Happening] = []
        for event_id in list(self._open):
            record = await self._client.get_event(event_id)
            before = self.records.get(event_id)
            self.records[event_id] = record
            happenings += _event_happenings(before, record)
            for run in record.runs:
                happenings += _run_happenings(before, record, run)
                if run.job == REPORTING_JOB and run.status == "succeeded":
                    self.add([further_event_id(run)])
            if record.is_settled:
                del self._open[event_id]
        return happenings

    def tally(self) -> dict[str, Tally]:
        """Returns how the runs of each job stand."""
        tallies: dict[str, Tally] = {}
        for record in self.records.values():
            for run in record.runs:
                tallies.setdefault(run.job, Tally()).count(run)
        return tallies


def _event_happenings(before: EventRecord | None, record: EventRecord) -> Iterator[Happening]:
    if record.deliver_at is None or (before is not None and before.status == record.status):
        return
    text = ""
    if record.delivered_at is not None:
        text = f"{lateness_ms(record):.0f} ms after its time"
    yield Happening(record.status, record.name, None, text)


def lateness_ms(record: EventRecord) -> float:
    """Returns how long after its time a delayed event was delivered; by the server's clock."""
    if record.deliver_at is None or record.delivered_at is None:
        raise ValueError(f"event {record.id} was not delivered later")
    return (record.delivered_at - record.deliver_at).total_seconds() * 1000


def _run_happenings(before: EventRecord | None, record: EventRecord, run: RunRecord) -> Iterator[Happening]:
    known = next((each for each in before.runs if each.id == run.id), None) if before else None
    if known is not None and (known.status, known.attempt) == (run.status, run.attempt):
        return
    text = ""
    if run.error is not None and run.status != "succeeded":
        text = f"{run.error.type}: {run.error.message}"
    elif run.status == "succeeded":
        text = f"in attempt {run.attempt}" if run.attempt > 1 else ""
    yield Happening(run.status, record.name, run.job, text)
