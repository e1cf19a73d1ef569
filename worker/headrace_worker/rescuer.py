"""Gives what dead workers held to the living, and what a stuck event loop has read to others. Only the leader does.

It is told of ended leases and seats by the lease's answers; every step looks first and is checked again by its script.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from headrace import HeadraceError, UndecodableEvent
from headrace.keys import Keys
from headrace_worker import protocol
from headrace_worker.delivery import Stream, decode_delivery
from headrace_worker.protocol import HeldEntry
from headrace_worker.state import WorkerState

log = structlog.get_logger("headrace.rescuer")

_PAGE = 100
_HOLDS, _QUIET = -1, -2


class Rescuer:
    """Rescues one dead worker or lapsed seat after the other."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._dead: list[str] = []
        self._lapsed: list[str] = []
        self._wake = asyncio.Event()

    def tell(self, dead: Sequence[str], lapsed: Sequence[str]) -> None:
        """These leases and seats have ended."""
        self._dead, self._lapsed = list(dead), list(lapsed)
        if dead or lapsed:
            self._wake.set()

    def stop(self) -> None:
        """The wait for work ends."""
        self._wake.set()

    async def tick(self) -> None:
        """Rescues what it was told of."""
        await self._wake.wait()
        self._wake.clear()
        for name in self._lapsed:
            if self._state.is_leader.is_set():
                await self._mind_seat(name)
        for name in self._dead:
            if self._state.is_leader.is_set():
                await self._rescue(name)

    async def recover(self, error: HeadraceError | None) -> None:
        """Nothing is to be done: the next answer of the lease tells of what is left."""

    async def _mind_seat(self, name: str) -> None:
        """Events that the worker has read go back to their stream; then the seat goes."""
        moved = await self._move(name, protocol.events_stream(self._state.keys), dead=False)
        if moved > 0:
            log.warning("events taken from a worker whose event loop does not move", worker=name, events=moved)
        config = self._state.config
        await self._state.commands.run([protocol.unseat(self._state.keys, name, config.look_again_ms)])

    async def _rescue(self, name: str) -> None:
        """The name is fenced and its entries go back; after its last look the worker is forgotten."""
        keys = self._state.keys
        (facts,) = await self._state.commands.run([protocol.read_worker(keys, name)])
        if facts is None:  # its hash is gone, so it may hold entries of any queue
            (every_queue,) = await self._state.commands.run([protocol.read_queues(keys)])
            facts = protocol.WorkerFacts(self._state.app.name, tuple(every_queue))
        streams = [protocol.events_stream(keys), *_queues_of(keys, facts.queues)]
        total = 0
        for stream in streams:
            moved = await self._move(name, stream, dead=True)
            if moved in (_HOLDS, _QUIET):
                return
            total += moved
        if total:
            log.warning("entries of a dead worker are back in their queues", worker=name, entries=total)
        queue_keys = [stream.key for stream in streams[1:]]
        (forgotten,) = await self._state.commands.run([protocol.leave(keys, name, facts.app, queue_keys, dead=True)])
        if forgotten:
            log.info("dead worker is forgotten", worker=name)

    async def _move(self, name: str, stream: Stream, *, dead: bool) -> int:
        """Moves everything that is in the worker's hands there; returns how much, or why nothing."""
        total, after = 0, ""
        while True:
            page = await self._held(name, stream, after)
            held = await self._describe(stream, page)
            call = protocol.rescue(
                self._state.keys, name, stream, held, dead=dead, look_again_ms=self._state.config.look_again_ms
            )
            moved: int = (await self._state.commands.run([call]))[0]
            if moved in (_HOLDS, _QUIET):
                return moved
            total += moved
            if len(page) < _PAGE:
                return total
            after = page[-1]

    async def _held(self, name: str, stream: Stream, after: str) -> list[str]:
        """Returns the ids of entries in the worker's hands; a stream whose group is gone holds nothing for anyone."""
        (page,) = await self._state.commands.run([protocol.read_held(stream, name, after, _PAGE)], partial=True)
        if isinstance(page, HeadraceError):
            log.warning("stream of a dead worker has no group", stream=stream.key, error=str(page))
            return []
        found: list[str] = page
        return found

    async def _describe(self, stream: Stream, page: Sequence[str]) -> list[HeldEntry]:
        """Returns the entries with their records' keys; those that can't be read are set aside."""
        if not stream.name:
            return [HeldEntry(entry) for entry in page]
        entries = await self._state.commands.run([protocol.read_entry(stream, entry) for entry in page]) if page else []
        keys = self._state.keys
        held = []
        for entry in entries:
            try:
                delivery = decode_delivery(stream, entry)
                held.append(HeldEntry(delivery.entry, keys.event(delivery.event_id), delivery.job))
            except UndecodableEvent as exc:
                retention = self._state.config.retention
                call = protocol.bury(keys, stream, entry[0].decode(), "unreadable", str(exc), retention)
                await self._state.commands.run([call])
        return held


def _queues_of(keys: Keys, names: Sequence[str]) -> list[Stream]:
    found = []
    for full_name in names:
        app, _, queue = full_name.partition("/")
        found.append(protocol.queue_stream(keys, app, queue))
    return found
