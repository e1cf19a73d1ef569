"""Which runs are ended, and that each run is reported to its settler once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

import headrace_worker.run.executor
from headrace import Event
from headrace.formats.codec import RunState
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.plans.prepare import SendOptions, prepare
from headrace_worker import App, WorkerConfig, event_trigger
from headrace_worker.membership.in_flight import InFlight, InFlightRun, Stage
from headrace_worker.membership.observer import Observer
from headrace_worker.membership.setup import WorkerSetup
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.run.executor import Executor
from headrace_worker.run.outcome import Outcome, Released, RetryLater
from headrace_worker.tasks.guard import Guard
from tests.support.waiting import await_until


class _Settler:
    """Keeps the reported outcomes."""

    def __init__(self) -> None:
        self.reported: list[tuple[str, Outcome]] = []
        self.started = self

    def add(self, held: InFlightRun) -> None:
        """It is not of interest."""

    def put(self, held: InFlightRun, outcome: Outcome) -> None:
        self.reported.append((held.delivery.event_id, outcome))
        held.stage = Stage.REPORTED


class _Setup:
    """An executor of two partitions, whose job `patient` waits, and whose job `deaf` goes on when it is cancelled."""

    def __init__(self) -> None:
        app, self.end = App("app"), asyncio.Event()
        self.called: list[str] = []

        @app.job(id="patient", trigger=event_trigger("x"))
        async def patient() -> None:
            self.called.append("patient")
            await self.end.wait()

        @app.job(id="deaf", trigger=event_trigger("x"), timeout=0.01)
        async def deaf() -> None:
            while not self.end.is_set():
                try:
                    await self.end.wait()
                except asyncio.CancelledError:
                    continue

        worker = WorkerSetup.of(app, Partitions("test", 2), "redis://localhost:1", WorkerConfig())
        self.in_flight, self.settlers = InFlight(10), [_Settler(), _Settler()]
        settlers: Any = self.settlers
        self.executor = Executor(worker, Guard(), Observer(), self.in_flight, settlers, self._has_live)

    async def _has_live(self, _: str) -> bool:
        return True

    def start(self, event: str, job: str, partition: int = 0) -> InFlightRun:
        """A run of the event begins."""
        queue = reading.queue_stream(Keys("test", partition), "app", "default")
        (body,) = prepare([Event("x", id=event)], SendOptions(), now=lambda: datetime.now(UTC))
        return self.executor.start(Delivery(queue, f"{event}-0", event, job, RunState(), body.body, 0), "w")


@pytest.fixture
async def setup() -> AsyncIterator[_Setup]:
    setup = _Setup()
    yield setup
    setup.end.set()
    await asyncio.sleep(0)
    await setup.executor.close()


async def test_a_fence_ends_runs_in_its_own_partition_only(setup: _Setup) -> None:
    """Its lease in the others holds, and so do its runs."""
    for partition in (0, 1):
        setup.start(f"e{partition}", "patient", partition)
    await asyncio.sleep(0)
    setup.executor.end_all("released", 0)
    await await_until(lambda: setup.settlers[0].reported)
    assert setup.settlers[0].reported == [("e0", Released())]
    assert setup.settlers[1].reported == []
    setup.executor.end_all("released")
    await await_until(lambda: setup.settlers[1].reported)
    assert setup.settlers[1].reported == [("e1", Released())]


async def test_a_run_that_ignores_its_end_is_reported_once(setup: _Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ran out of its time; that its worker stops then, and what the function returns in the end, is too late."""
    monkeypatch.setattr(headrace_worker.run.executor, "IGNORED_CANCEL_S", 0.05)
    held = setup.start("e0", "deaf")
    await await_until(lambda: held.cause == "timed_out")
    setup.executor.end_all("released")
    await await_until(lambda: setup.settlers[0].reported)
    setup.end.set()
    await await_until(lambda: held.stage is Stage.ENDED)
    await asyncio.sleep(0)
    ((event, outcome),) = setup.settlers[0].reported
    assert event == "e0"
    assert isinstance(outcome, RetryLater)


async def test_a_run_that_is_cancelled_before_it_begins_has_an_outcome(setup: _Setup) -> None:
    """A job may cancel all tasks at the moment at which other runs are delivered."""
    held = setup.start("e1", "patient")
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await await_until(lambda: setup.settlers[0].reported)
    ((event, outcome),) = setup.settlers[0].reported
    assert event == "e1"
    assert isinstance(outcome, RetryLater)
    assert not setup.in_flight.runs.get(held.key) or held.stage is Stage.ENDED


async def test_a_run_that_is_released_at_once_is_released(setup: _Setup) -> None:
    """Its function is not called, unless its task begins where it is made, as from Python 3.12 on."""
    setup.start("e1", "patient")
    setup.executor.end_all("released")
    await await_until(lambda: setup.settlers[0].reported)
    assert setup.settlers[0].reported == [("e1", Released())]
    assert setup.called == (["patient"] if sys.version_info >= (3, 12) else [])
