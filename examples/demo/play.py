"""Runs the demo: starts a server and a worker, sends the events, watches them to the end, and checks the outcomes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from examples.demo import expectations
from examples.demo.events import CANCELED_AFTER_S, DUE_AFTER_S, DemoEvents, load_events
from examples.demo.watch import Change, Tally, Watch
from examples.demo.worker import WorkerProcess
from headrace import AsyncClient, Event, EventRecord
from headrace_worker.dev.embedded import EmbeddedServer

EXAMPLE = Path(__file__).resolve().parents[1] / "github"
"""The folder of the jobs and the webhooks."""

NAMESPACE = "demo"
_PACE_S = 0.3
_LOOK_S = 0.05
_TIME_LIMIT_S = 25.0


class Progress(msgspec.Struct, frozen=True):
    """How many events are sent, of how many, how many have settled, and the runs of each job."""

    sent: int
    total: int
    settled: int
    tally: dict[str, Tally]


class Viewer(Protocol):
    """Shows what happens."""

    def show(self, changes: Sequence[Change], progress: Progress) -> None:
        """Show the changes since the last call."""


class Report(msgspec.Struct, frozen=True):
    """The outcome of the demo.

    Attributes:
        webhooks: how many of the events were webhooks.
        records: of all events.
        delayed: the record of the delayed event.
        canceled: the record of the canceled event.
        further: the records of the events that jobs sent.
        faults: what is not as expected, one line each; empty if all is.
        took_s: seconds from the worker's start to the end of the last run.
    """

    webhooks: int
    records: list[EventRecord]
    delayed: EventRecord | None
    canceled: EventRecord | None
    further: list[EventRecord]
    tally: dict[str, Tally]
    faults: list[str]
    took_s: float


def play(folder: Path, viewer: Viewer) -> Report:
    """Run the demo, which takes less than half a minute, and return its outcome. Call it from the main thread.

    Args:
        folder: where the jobs and the webhooks are, as in `EXAMPLE`.
        viewer: is shown each change as it happens.

    Raises:
        DemoFailed: the worker has ended.
    """
    with EmbeddedServer() as server:
        return asyncio.run(_Play(server, folder, load_events(folder), viewer).run())


class _Play:
    def __init__(self, server: EmbeddedServer, folder: Path, events: DemoEvents, viewer: Viewer) -> None:
        self._server = server
        self._folder = folder
        self._events = events
        self._viewer = viewer
        self._client = AsyncClient(server.url, namespace=NAMESPACE)
        self._watch = Watch(self._client)
        self._sent = 0

    async def run(self) -> Report:
        env = {"HEADRACE_URL": self._server.url, "HEADRACE_NAMESPACE": NAMESPACE}
        worker = WorkerProcess(self._folder, env, self._server.data_dir / "worker.log")
        try:
            await worker.wait_until_started()
            started_at = asyncio.get_running_loop().time()
            await self._send_and_watch(worker)
            return self._report(asyncio.get_running_loop().time() - started_at)
        finally:
            worker.stop()
            await self._client.close()

    async def _send_and_watch(self, worker: WorkerProcess) -> None:
        sending = asyncio.create_task(self._send())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIME_LIMIT_S):
                    while not (sending.done() and self._watch.is_settled):
                        worker.check_alive()
                        await self._look()
                        await asyncio.sleep(_LOOK_S)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()

    async def _send(self) -> None:
        """Send all events, a few at a time, and cancel the one to be canceled half-way."""
        events = self._events
        await self._send_some([events.delayed], DUE_AFTER_S)
        await self._send_some([events.canceled], CANCELED_AFTER_S)
        batches = events.batches
        for place, batch in enumerate(batches):
            await self._send_some(batch)
            if place == len(batches) // 2:
                await self._client.cancel_event(events.canceled.id or "")
            await asyncio.sleep(_PACE_S)

    async def _send_some(self, events: Sequence[Event], deliver_after: float | None = None) -> None:
        sent = await self._client.send_events(events, deliver_after=deliver_after)
        self._watch.add(each.id for each in sent)
        self._sent += len(sent)

    async def _look(self) -> None:
        changes = await self._watch.look()
        settled = sum(record.is_settled for record in self._watch.records.values())
        self._viewer.show(changes, Progress(self._sent, self._events.total, settled, self._watch.tally()))

    def _report(self, took_s: float) -> Report:
        records = self._watch.records
        delayed_id, canceled_id = self._events.delayed.id or "", self._events.canceled.id or ""
        faults = expectations.find_faults(list(records.values()), delayed_id, canceled_id)
        missing = self._events.total - self._sent
        if missing:
            faults.insert(0, f"{missing} events could not be sent in {_TIME_LIMIT_S:g} s")
        return Report(
            webhooks=len(self._events.webhooks),
            records=list(records.values()),
            delayed=records.get(delayed_id),
            canceled=records.get(canceled_id),
            further=[record for record in records.values() if record.name == expectations.FURTHER_NAME],
            tally=self._watch.tally(),
            faults=faults,
            took_s=took_s,
        )
