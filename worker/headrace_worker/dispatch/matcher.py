"""Makes of entries of `events` the events with the routes that they match, and sets aside what can't be read.

It must not look at payloads but through the routes' filters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headrace import UndecodableEvent
from headrace.formats.codec import SEALED_FORMAT, StoredEvent, decode_event, open_event
from headrace_worker import protocol
from headrace_worker.app.routes import Route, Routes
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.state import WorkerState
from headrace_worker.protocol import BadEntry, Matched
from headrace_worker.protocol.delivery import Entry, EventEntry, decode_event_entry, named_by
from headrace_worker.streams.bodies import read_bodies
from headrace_worker.streams.unhandled import bury

log = get_logger("headrace.dispatcher")


class Matcher:
    """Reads and matches for the dispatcher of one partition."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state

    async def readable(self, entries: Sequence[Entry]) -> list[EventEntry]:
        """Returns the events that can be read, with their bodies, in their order; the others are set aside."""
        events: list[EventEntry] = []
        for entry in entries:
            try:
                events.append(decode_event_entry(entry))
            except UndecodableEvent as exc:
                event_id, _, ordering_key = named_by(entry)
                await self.bury(EventEntry(entry[0].decode(), event_id, 0, None, ordering_key), str(exc))
        sizes = {event.event_id: event.size for event in events if event.event is None}
        return await self._with_bodies(events, sizes) if sizes else events

    async def _with_bodies(self, events: Sequence[EventEntry], sizes: Mapping[str, int]) -> list[EventEntry]:
        bodies = await read_bodies(self._state, sizes)
        whole = []
        for event in events:
            try:
                whole.append(event if event.event is not None else _with_body(event, bodies[event.event_id]))
            except UndecodableEvent as exc:
                await self.bury(event, str(exc))
        return whole

    async def match(self, events: Sequence[EventEntry], routes: Routes) -> list[Matched]:
        """Returns the events with the routes that they match, in their order; damaged ones are set aside."""
        found = []
        for event in events:
            if event.event is None:  # pragma: no cover - only readable events come here
                continue
            try:
                if event.event.v == SEALED_FORMAT:
                    found.append(Matched(event, self._match_sealed(event.event_id, event.event, routes)))
                    await self._state.give_way()
                else:
                    found.append(Matched(event, routes.match(event.event)))
            except UndecodableEvent as exc:
                await self.bury(event, str(exc))
        return found

    def _match_sealed(self, event_id: str, event: StoredEvent, routes: Routes) -> list[Route]:
        """Returns the routes of a sealed event; where it can't be opened here, whatever their filters say.

        A worker of another app has not the keys of this one, and should not need them to dispatch.
        """
        try:
            opened = open_event(event, event_id, self._state.seal)
        except BaseException:  # noqa: BLE001 - a codec's own code may raise anything; the run's attempt says what
            return routes.match_unopened(event)
        return routes.match(opened)

    async def bury(self, event: EventEntry, error: str) -> None:
        """The event is set aside in `dead`, and stops no other."""
        log.error("event can't be read and is set aside in dead", entry=event.entry, error=error)
        bad = BadEntry(event.entry, "unreadable", error, event.event_id, ordering_key=event.ordering_key)
        await bury(self._state, protocol.events_stream(self._state.keys), bad)


def _with_body(entry: EventEntry, body: bytes | str) -> EventEntry:
    if isinstance(body, str):
        raise UndecodableEvent(body)
    return msgspec.structs.replace(entry, event=decode_event(body))
