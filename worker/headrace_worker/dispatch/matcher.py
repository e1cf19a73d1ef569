"""Turns entries of `events` into events with the routes that they match, and dead-letters unreadable entries.

The matcher must look at payloads only through the routes' filters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from headrace import UndecodableEvent
from headrace.formats.codec import FORMAT, StoredEvent, decode_event, open_event
from headrace_worker.app.routes import Route, Routes
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.member import Member
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Entry, EventEntry, decode_event_entry
from headrace_worker.protocol.dispatching import Matched
from headrace_worker.protocol.settling import BadEntry
from headrace_worker.streams.dead_letters import bad_entry, bad_event, dead_letter
from headrace_worker.streams.payloads import load_payloads

log = get_logger("headrace.dispatcher")


class Matcher:
    """Reads and matches for the dispatcher of one partition."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._codec, self._seal = member.setup.codec, member.setup.seal
        self._server = member.server

    async def readable(self, entries: Sequence[Entry]) -> list[EventEntry]:
        """Return the events that can be read, with their payloads, in their order; dead-letter the rest."""
        events: list[EventEntry] = []
        for entry in entries:
            try:
                events.append(decode_event_entry(entry))
            except UndecodableEvent as exc:
                await self._dead_letter(bad_entry(entry, exc))
        sizes = {event.event_id: event.size for event in events if event.event is None}
        return await self._with_payloads(events, sizes) if sizes else events

    async def _with_payloads(self, events: Sequence[EventEntry], sizes: Mapping[str, int]) -> list[EventEntry]:
        bodies = await load_payloads(self._server, sizes)
        whole = []
        for event in events:
            try:
                whole.append(event if event.event is not None else _with_body(event, bodies[event.event_id]))
            except UndecodableEvent as exc:
                await self.dead_letter(event, str(exc))
        return whole

    async def match(self, events: Sequence[EventEntry], routes: Routes) -> list[Matched]:
        """Return the events with the routes that they match, in their order; dead-letter damaged ones."""
        found = []
        for event in events:
            if event.event is None:  # pragma: no cover - only readable events come here
                continue
            try:
                if event.event.v == FORMAT:
                    found.append(Matched(event, routes.match(event.event)))
                elif event.event.j is not None:
                    found.append(Matched(event, routes.of_job(event.event.j)))
                else:
                    found.append(Matched(event, self._match_sealed(event.event_id, event.event, routes)))
                    await self._turn_if_slow()
            except UndecodableEvent as exc:
                await self.dead_letter(event, str(exc))
        return found

    async def _turn_if_slow(self) -> None:
        """Let the event loop turn after a slow call of the codec: leases and answers must not wait for many calls."""
        if self._codec is not None and self._codec.is_slow:
            await asyncio.sleep(0)

    def _match_sealed(self, event_id: str, event: StoredEvent, routes: Routes) -> list[Route]:
        """Return the routes of a sealed event; ignore their filters if the event can't be opened here.

        A worker of another app does not have this app's keys, and should not need them to dispatch.
        """
        try:
            opened = open_event(event, event_id, self._seal)
        except BaseException:  # noqa: BLE001 - a codec's own code may raise anything; the run's attempt says what
            return routes.match_unopened(event)
        return routes.match(opened)

    async def dead_letter(self, event: EventEntry, error: str) -> None:
        """Dead-letter an event, so that it stops no other event."""
        await self._dead_letter(bad_event(event, error))

    async def _dead_letter(self, bad: BadEntry) -> None:
        stream = reading.events_stream(self._server.keys)
        await dead_letter(self._member, stream, bad, log, "event can't be read and is moved to dead")


def _with_body(entry: EventEntry, body: bytes | str) -> EventEntry:
    if isinstance(body, str):
        raise UndecodableEvent(body)
    return msgspec.structs.replace(entry, event=decode_event(body))
