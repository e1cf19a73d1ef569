"""Makes runs of matched events: sends batches to the server, and has a remedy for each of its answers.

    matched events → batches → call → answer → remedy → batches that are left

A remedy never sends the batches that it leaves: they are sent next, before any other. This module must not read
streams.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import assert_never

import msgspec

from headrace import HeadraceError, ServerError, ServerFull
from headrace.calls.sending import MAX_BATCH_BYTES
from headrace.formats.codec import INLINE_BYTES
from headrace_worker.dispatch.matcher import Matcher
from headrace_worker.dispatch.ordering import earlier_events
from headrace_worker.dispatch.route_table import RouteTable
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.member import Member
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol import dispatching, reading
from headrace_worker.protocol.delivery import EventEntry
from headrace_worker.protocol.dispatching import Dispatched, EventsBehind, Matched, QueuesFull, RoutesStale
from headrace_worker.protocol.rescuing import PendingEntry
from headrace_worker.streams.isolation import is_refusal, isolate, require_foreign_record
from headrace_worker.streams.requeue import release

log = get_logger("headrace.dispatcher")

MAX_BATCH_RUNS = 2_000
_FIRST_FULL_PAUSE_S, _LONGEST_FULL_PAUSE_S = 0.01, 1.0


class NoRoom(msgspec.Struct, frozen=True):
    """Nothing was dispatched: the server is at its `maxmemory`."""


class Refused(msgspec.Struct, frozen=True):
    """Nothing was dispatched: the server refused the batch for its content."""

    error: ServerError


Answer = dispatching.Answer | NoRoom | Refused


class Batch(msgspec.Struct, frozen=True):
    """Matched events that one call dispatches.

    Attributes:
        version: of the routes that the events match.
        follows_earlier: the events before them in their ordering keys were dispatched just now.
    """

    matched: Sequence[Matched]
    version: str
    follows_earlier: bool = False


class RunMaker:
    """Makes the runs of events, on the queues of every app of the namespace."""

    def __init__(self, member: Member, routes: RouteTable, matcher: Matcher, pulse: Pulse) -> None:
        self._member = member
        self._retention = member.setup.config.retention
        self._server = member.server
        self._identity = member.identity
        self._observer = member.observer
        self._routes = routes
        self._matcher = matcher
        self._pulse = pulse

    async def dispatch(self, events: Sequence[EventEntry]) -> None:
        """Make one run of each event for every job that the event matches.

        On return each event is dispatched, dead-lettered, or at the end of `events` again.
        """
        left = deque(await self._batches(events))
        while left:
            self._pulse.beat()
            batch = left.popleft()
            left.extendleft(reversed(await self._remedy(batch)))

    async def _remedy(self, batch: Batch) -> Sequence[Batch]:
        """Send a batch and apply the remedy for the answer; return the batches to send next."""
        match await self._call(batch):
            case Dispatched():
                return []
            case RoutesStale():
                return await self._match_anew(batch)
            case EventsBehind(places) if not batch.follows_earlier:
                return await self._earlier_first(batch, places)
            case EventsBehind(places):
                return await self._put_off(batch, places)
            case NoRoom() | QueuesFull():
                return await self._into_empty_queues(batch)
            case Refused(error):
                return await self._without_culprit(batch, error)
            case answer:
                assert_never(answer)

    async def _call(self, batch: Batch, *, free_first: bool = False) -> Answer:
        """Let the server dispatch a batch.

        Args:
            free_first: for a single event and a full server; only into queues that are empty.

        Raises:
            HeadraceError: an outage, or a missing right.
        """
        call = dispatching.dispatch(
            self._server.keys, batch.matched, batch.version, self._retention, free_first=free_first
        )
        answer: dispatching.Answer
        try:
            (answer,) = await self._server.commands.run([call])
        except ServerFull:
            return NoRoom()
        except ServerError as exc:
            if not is_refusal(exc):
                raise
            return Refused(exc)
        if isinstance(answer, Dispatched):
            self._report(answer, len(batch.matched))
        return answer

    def _report(self, answer: Dispatched, requested: int) -> None:
        self._observer.dispatched(requested, answer)
        if answer.lost:
            log.error("events had neither a record nor a body and are gone", events=answer.lost)

    async def _match_anew(self, batch: Batch) -> list[Batch]:
        """Match the events against the current routes."""
        self._routes.forget(batch.version)
        return await self._batches([matched.entry for matched in batch.matched])

    async def _earlier_first(self, batch: Batch, behind: Sequence[int]) -> list[Batch]:
        """Dispatch first the events that precede these in their ordering keys, whichever worker has read them."""
        events = await earlier_events(self._server, [batch.matched[place].entry for place in behind])
        return [*await self._batches(events), msgspec.structs.replace(batch, follows_earlier=True)]

    async def _put_off(self, batch: Batch, behind: Sequence[int]) -> list[Batch]:
        """Move events that still have earlier ones before them to the end of `events`; dispatch the rest."""
        late = set(behind)
        await self._release([batch.matched[place] for place in behind])
        rest = [matched for place, matched in enumerate(batch.matched) if place not in late]
        return [Batch(rest, batch.version)] if rest else []

    async def _without_culprit(self, batch: Batch, error: ServerError) -> list[Batch]:
        """Halve a batch until the event whose record is not Headrace's is alone, and dead-letter that event."""
        halves = await isolate(batch.matched, error, self._dead_letter)
        return [Batch(half, batch.version) for half in halves]

    async def _dead_letter(self, culprit: Matched, error: HeadraceError) -> None:
        await require_foreign_record(self._server, culprit.entry.event_id, error)
        await self._matcher.dead_letter(culprit.entry, str(error))

    async def _into_empty_queues(self, batch: Batch) -> list[Batch]:
        """Dispatch events one by one into empty queues; move events that wait for long to the end of `events`."""
        left, pause_s = list(batch.matched), _FIRST_FULL_PAUSE_S
        while left and pause_s < _LONGEST_FULL_PAUSE_S and not self._identity.stopping.is_set():
            waiting = await self._one_by_one(left, batch.version)
            if waiting is None:
                return await self._match_anew(Batch(left, batch.version))
            pause_s = pause_s * 2 if len(waiting) == len(left) else _FIRST_FULL_PAUSE_S
            left = waiting
            self._pulse.beat()
            if left:
                await asyncio.sleep(pause_s)
        if left:
            await self._release(left)
        return []

    async def _one_by_one(self, events: Sequence[Matched], version: str) -> list[Matched] | None:
        """Dispatch each event whose queues are empty; return the rest, or None if the routes have changed."""
        waiting: list[Matched] = []
        full: set[frozenset[str]] = set()
        for matched in events:
            jobs = frozenset(route.job for route in matched.routes)
            if jobs in full:
                waiting.append(matched)
                continue
            match await self._call(Batch([matched], version), free_first=True):
                case Dispatched():
                    pass
                case RoutesStale():
                    return None
                case QueuesFull():
                    full.add(jobs)
                    waiting.append(matched)
                case EventsBehind() | NoRoom():
                    waiting.append(matched)
                case Refused(error):
                    await self._dead_letter(matched, error)
                case answer:
                    assert_never(answer)
        return waiting

    async def _release(self, events: Sequence[Matched]) -> None:
        pending = [PendingEntry(matched.entry.entry) for matched in events]
        await release(self._member, reading.events_stream(self._server.keys), pending)

    async def _batches(self, events: Sequence[EventEntry]) -> list[Batch]:
        """Match events against the current routes; return those that match, in their order, divided into batches."""
        routes = await self._routes.current()
        return [Batch(part, routes.version) for part in _parts(await self._matcher.match(events, routes))]


def _parts(matched: Sequence[Matched]) -> Iterator[list[Matched]]:
    """Yield the events in groups of at most 2,000 runs and 4 MB that the server copies."""
    part: list[Matched] = []
    runs = size = 0
    for each in matched:
        more = len(each.routes)
        copied = more * (each.entry.size if each.entry.size <= INLINE_BYTES else 0)
        if part and (runs + more > MAX_BATCH_RUNS or size + copied > MAX_BATCH_BYTES):
            yield part
            part, runs, size = [], 0, 0
        part.append(each)
        runs += more
        size += copied
    if part:
        yield part
