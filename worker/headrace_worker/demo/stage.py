"""Puts the demonstration on: a server and a worker of its own, the programme sent, everything watched to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from headrace import AsyncClient, Event, EventRecord, HeadraceError
from headrace_worker.demo import expectations
from headrace_worker.demo.programme import CANCELED_AFTER_S, DUE_AFTER_S, Programme, load
from headrace_worker.demo.watch import Happening, Tally, Watch
from headrace_worker.dev.embedded import EmbeddedServer
from headrace_worker.process.child import Child, cli_command, describe_end

NAMESPACE = "demo"
_PACE_S = 0.3
_LOOK_S = 0.05
_TIME_LIMIT_S = 25.0
_STOP_S = 5.0


class DemoFailed(HeadraceError):
    """The demonstration could not go on; the message says why, with the end of the worker's log."""


class Scene(msgspec.Struct, frozen=True):
    """How things stand: events sent of all, events that have settled, and the runs of each job."""

    sent: int
    total: int
    settled: int
    tally: dict[str, Tally]


class Audience(Protocol):
    """Who is shown what happens."""

    def see(self, happenings: Sequence[Happening], scene: Scene) -> None:
        """Is told what has happened since the last time, and how things stand."""


class Report(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        webhooks: how many of the events were webhooks.
        records: of all events.
        due: the record of the delayed event.
        canceled: that of the canceled one.
        further: those of the events that jobs sent.
        faults: what did not come out as it should; empty if all did.
        took_s: seconds from the worker's start to the end of the last run.
    """

    webhooks: int
    records: list[EventRecord]
    due: EventRecord | None
    canceled: EventRecord | None
    further: list[EventRecord]
    tally: dict[str, Tally]
    faults: list[str]
    took_s: float


def play(folder: Path, audience: Audience) -> Report:
    """Returns what came of the demonstration, in half a minute at the most.

    Args:
        folder: where jobs and webhooks are; see `programme.example_folder`.
        audience: is shown what happens as it happens.

    Raises:
        DemoFailed: the worker has ended on its own.
    """
    with EmbeddedServer() as server:
        return asyncio.run(_Play(server, folder, load(folder), audience).run())


def _without_settings() -> dict[str, str]:
    """Returns an environment that takes back what someone has set for workers of their own."""
    return {name: "" for name in os.environ if name.startswith("HEADRACE_WORKER_")}


class _Play:
    def __init__(self, server: EmbeddedServer, folder: Path, programme: Programme, audience: Audience) -> None:
        self._server = server
        self._folder = folder
        self._programme = programme
        self._audience = audience
        self._log_path = server.data_dir / "worker.log"
        self._client = AsyncClient(server.url, namespace=NAMESPACE)
        self._watch = Watch(self._client)
        self._sent = 0

    async def run(self) -> Report:
        with self._log_path.open("wb") as log:
            child = await Child.start(
                cli_command("worker", "jobs:app", "--grace", "1"),
                env={**_without_settings(), "HEADRACE_URL": self._server.url, "HEADRACE_NAMESPACE": NAMESPACE},
                folder=self._folder,
                log=log,
            )
        try:
            await child.started_or_ended.wait()
            started_at = asyncio.get_running_loop().time()
            await self._send_and_watch(child)
            return self._report(asyncio.get_running_loop().time() - started_at)
        finally:
            await child.stop(_STOP_S)
            await self._client.close()

    async def _send_and_watch(self, child: Child) -> None:
        sending = asyncio.ensure_future(self._send())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIME_LIMIT_S):
                    while not (sending.done() and self._watch.is_settled):
                        await self._look(child)
                        await asyncio.sleep(_LOOK_S)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()

    async def _send(self) -> None:
        """The whole programme is sent, a few events at a time; what is canceled is canceled half-way."""
        programme = self._programme
        await self._send_some([programme.due], DUE_AFTER_S)
        await self._send_some([programme.canceled], CANCELED_AFTER_S)
        batches = programme.batches
        for place, batch in enumerate(batches):
            await self._send_some(batch)
            if place == len(batches) // 2:
                await self._client.cancel_event(programme.canceled.id or "")
            await asyncio.sleep(_PACE_S)

    async def _send_some(self, events: Sequence[Event], deliver_after: float | None = None) -> None:
        sent = await self._client.send_events(events, deliver_after=deliver_after)
        self._watch.add(each.id for each in sent)
        self._sent += len(sent)

    async def _look(self, child: Child) -> None:
        if child.returncode is not None:
            tail = self._log_path.read_text(errors="replace").strip().splitlines()[-5:]
            raise DemoFailed(f"the worker has ended with {describe_end(child.returncode)}: " + " | ".join(tail))
        happenings = await self._watch.look()
        settled = sum(record.is_settled for record in self._watch.records.values())
        total = len(self._programme.now) + 2
        self._audience.see(happenings, Scene(self._sent, total, settled, self._watch.tally()))

    def _report(self, took_s: float) -> Report:
        records = self._watch.records
        due_id, canceled_id = self._programme.due.id or "", self._programme.canceled.id or ""
        faults = expectations.find_faults(list(records.values()), due_id, canceled_id)
        missing = len(self._programme.now) + 2 - self._sent
        if missing:
            faults.insert(0, f"{missing} events could not be sent in {_TIME_LIMIT_S:g} s")
        return Report(
            webhooks=len(self._programme.webhooks),
            records=list(records.values()),
            due=records.get(due_id),
            canceled=records.get(canceled_id),
            further=[record for record in records.values() if record.name == expectations.FURTHER_NAME],
            tally=self._watch.tally(),
            faults=faults,
            took_s=took_s,
        )
