"""Dispatches events: reads them, matches each against the routes, and makes one run of it for every job that matches.

Works only while this worker has a seat. The next read is under way while a batch is dispatched. It must not look at
payloads: the matcher does, through the routes' filters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from headrace import HeadraceError, OutOfMemory, ServerError, ServerNotReady
from headrace.calls.sending import MAX_BATCH_BYTES
from headrace.formats.codec import INLINE_BYTES
from headrace_worker import protocol
from headrace_worker.app.routes import Routes, RoutesTooNew
from headrace_worker.dispatch.matcher import Matcher
from headrace_worker.dispatch.ordering import read_ahead
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.loops import wait_either
from headrace_worker.membership.state import WorkerState
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol import Answer, Dispatched, EventsBehind, Matched, QueuesFull, RoutesStale
from headrace_worker.protocol.delivery import Entry, EventEntry
from headrace_worker.streams.reader import Reader, has_foreign_record, is_refusal, own_entries
from headrace_worker.streams.unhandled import release
from headrace_worker.tasks.guard import own_task

log = get_logger("headrace.dispatcher")

MAX_BATCH_RUNS = 2_000
_FIRST_FULL_PAUSE_S, _LONGEST_FULL_PAUSE_S = 0.01, 1.0


class Dispatcher:
    """Turns events into runs, on the queues of every app of the namespace."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._matcher = Matcher(state)
        self._routes: Routes | None = None
        self._under_way: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._may_hold_unseen = False
        self._looked_at_connection = 0
        self.pulse = Pulse("dispatcher")
        self.reader = Reader(state, self.pulse)
        self.is_too_old = False
        self._noted_version = ""

    async def tick(self) -> None:
        """Reads one batch of events, once this worker has a seat, and begins to dispatch it."""
        state = self._state
        with self.pulse.waiting(state.has_seat.is_set):
            await wait_either(state.has_seat, state.stopping)
        if state.stopping.is_set():
            return
        if self._may_hold_unseen or self._looked_at_connection != state.connections:
            self._looked_at_connection = state.connections
            await self.finish()
            await self._dispatch_unseen()
        name = state.name
        call = protocol.read_group(protocol.DISPATCH_GROUP, name, state.keys.events, protocol.MAX_READ, state.block_ms)
        entries = await self.reader.read(call)
        await self.finish()
        if entries and name == state.name:
            # Now, so that it is sent before the next read.
            self._under_way = own_task(self._dispatch(entries), eagerly=True)
            self._state.guard.on_done(self._under_way, self._end_read_if_failed)

    def _end_read_if_failed(self, task: asyncio.Task[None]) -> None:
        """A batch that failed is looked at at once, not when the next events come."""
        if not task.cancelled() and task.exception() is not None:
            self._ending = self._state.guard.aside("the end of a read", self.reader.end())

    async def finish(self) -> None:
        """The batch that was under way is dispatched, or its failure raised."""
        task, self._under_way = self._under_way, None
        if task is not None:
            await task

    async def recover(self, error: HeadraceError | None) -> None:
        """Whatever failed, events may be in our hands undispatched; groups that are gone are made again."""
        self._may_hold_unseen = True
        self._routes = None
        if self._under_way is not None:
            await asyncio.wait([self._under_way])
            self._under_way = None
        if isinstance(error, RoutesTooNew):
            self.is_too_old = True
            self._state.has_seat.clear()  # the lease's next renewal gives it up; others dispatch what we have read
            await self._put_back()
        if isinstance(error, ServerNotReady) and error.code == "NOGROUP":
            await self._state.register()

    async def routes(self) -> Routes:
        """Returns the routes, read anew if they have changed."""
        if self._routes is None:
            state = self._state
            version, apps = await state.commands.run(
                [protocol.read_routes_version(state.keys), protocol.read_apps(state.keys)]
            )
            stored = await state.commands.run([protocol.read_routes(state.keys, app) for app in apps])
            self._routes = Routes(version, dict(zip(apps, stored, strict=True)))
            if self._routes.unreadable:
                log.error("subscriptions can't be read and match nothing", subscriptions=self._routes.unreadable)
            self.is_too_old = False
        return self._routes

    async def has_live(self, job: str) -> bool:
        """A live worker has subscribed with the job, `<app>/<id>`."""
        return (await self.routes()).has_live(job)

    def note_version(self, version: str) -> None:
        """The routes have this version now: what was read of another is read anew, and may be evaluated after all."""
        if self._routes is not None and self._routes.version != version:
            self._routes = None
        if version != self._noted_version:
            self._noted_version = version
            self.is_too_old = False

    async def end(self) -> None:
        """The batch under way is dispatched; events left in this worker's hands are back in their stream."""
        try:
            await self.finish()
        except HeadraceError as exc:
            log.warning("events go back to their stream undispatched", error=str(exc))
        await self._put_back()

    async def break_off(self) -> None:
        """Nothing is under way any more; what was is another's to dispatch, once this worker's lease has ended."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait([self._under_way])

    async def _put_back(self) -> None:
        state = self._state
        stream = protocol.events_stream(state.keys)
        async for page in own_entries(state, stream.group, stream.key, state.name):
            held = [protocol.HeldEntry(entry[0].decode()) for entry in page]
            await release(state, stream, held)

    async def _dispatch_unseen(self) -> None:
        """Events that are in our hands after a failure are dispatched; one that is already is only acknowledged."""
        state = self._state
        async for page in own_entries(state, protocol.DISPATCH_GROUP, state.keys.events, state.name):
            await self._dispatch(page)
        self._may_hold_unseen = False

    async def _dispatch(self, entries: Sequence[Entry]) -> None:
        events = await self._matcher.readable(entries)
        while True:
            routes = await self.routes()
            stale: list[EventEntry] = []
            for batch in _batches(await self._matcher.match(events, routes)):
                self.pulse.beat()
                if not await self._send(batch, routes.version):
                    stale += [matched.entry for matched in batch]
            if not stale:
                return
            self._routes, events = None, stale

    async def _send(self, batch: Sequence[Matched], version: str, *, is_last_try: bool = False) -> bool:
        """Dispatches a batch; False if the routes have changed. A full server takes single events into empty queues."""
        state = self._state
        try:
            (answer,) = await state.commands.run(
                [protocol.dispatch(state.keys, batch, version, state.config.retention)]
            )
        except OutOfMemory:
            return await self._send_to_full_server(batch, version)
        except ServerError as exc:
            return await self._send_without_culprit(batch, version, exc)
        if isinstance(answer, EventsBehind):
            follow = self._put_off if is_last_try else self._send_in_order
            return await follow(batch, version, answer.places)
        return not isinstance(self._noted(answer, len(batch)), RoutesStale)

    async def _send_in_order(self, batch: Sequence[Matched], version: str, behind: Sequence[int]) -> bool:
        """Dispatches what others hold of the ordering keys of these events and what is before them, then the batch."""
        events = await read_ahead(self._state, [batch[place].entry for place in behind])
        for part in _batches(await self._matcher.match(events, await self.routes())):
            if not await self._send(part, version):
                return False
        return await self._send(batch, version, is_last_try=True)

    async def _put_off(self, batch: Sequence[Matched], version: str, behind: Sequence[int]) -> bool:
        """Events that can't go before others yet go to the end of `events`; the others of the batch are dispatched."""
        late = set(behind)
        held = [protocol.HeldEntry(batch[place].entry.entry) for place in behind]
        await release(self._state, protocol.events_stream(self._state.keys), held)
        rest = [matched for place, matched in enumerate(batch) if place not in late]
        return not rest or await self._send(rest, version)

    async def _send_without_culprit(self, batch: Sequence[Matched], version: str, error: ServerError) -> bool:
        """A batch that was refused for its content is halved until the culprit is alone, and that one is set aside."""
        if not is_refusal(error):
            raise error
        if len(batch) > 1:
            half = len(batch) // 2
            return await self._send(batch[:half], version) and await self._send(batch[half:], version)
        if not await has_foreign_record(self._state, batch[0].entry.event_id):
            raise error
        await self._matcher.bury(batch[0].entry, str(error))
        return True

    async def _send_to_full_server(self, batch: Sequence[Matched], version: str) -> bool:
        """Dispatches events one by one into empty queues; those that find none for long go behind all others."""
        left, pause_s = list(batch), _FIRST_FULL_PAUSE_S
        while left and pause_s < _LONGEST_FULL_PAUSE_S and not self._state.stopping.is_set():
            waiting = await self._send_into_empty_queues(left, version)
            if waiting is None:
                return False
            pause_s = pause_s * 2 if len(waiting) == len(left) else _FIRST_FULL_PAUSE_S
            left = waiting
            self.pulse.beat()
            if left:
                await asyncio.sleep(pause_s)
        if left:
            held = [protocol.HeldEntry(matched.entry.entry) for matched in left]
            await release(self._state, protocol.events_stream(self._state.keys), held)
        return True

    async def _send_into_empty_queues(self, batch: Sequence[Matched], version: str) -> list[Matched] | None:
        """Returns the events that found a queue of theirs with entries in it; None if the routes have changed."""
        state = self._state
        waiting: list[Matched] = []
        full: set[frozenset[str]] = set()
        for matched in batch:
            jobs = frozenset(route.job for route in matched.routes)
            if jobs in full:
                waiting.append(matched)
                continue
            (answer,) = await state.commands.run(
                [protocol.dispatch(state.keys, [matched], version, state.config.retention, free_first=True)]
            )
            if isinstance(self._noted(answer, 1), RoutesStale):
                return None
            if isinstance(answer, EventsBehind):
                waiting.append(matched)
            elif isinstance(answer, QueuesFull):
                full.add(jobs)
                waiting.append(matched)
        return waiting

    def _noted(self, answer: Answer, asked: int) -> Answer:
        if isinstance(answer, Dispatched):
            self._state.observer.dispatched(asked, answer)
            if answer.lost:
                log.error("events had neither a record nor a body and are gone", events=answer.lost)
        return answer


def _batches(matched: Sequence[Matched]) -> Iterator[list[Matched]]:
    """Yields the events in groups of at most 2,000 runs and 4 MB that the server copies."""
    batch: list[Matched] = []
    runs = size = 0
    for each in matched:
        more = len(each.routes)
        copied = more * (each.entry.size if each.entry.size <= INLINE_BYTES else 0)
        if batch and (runs + more > MAX_BATCH_RUNS or size + copied > MAX_BATCH_BYTES):
            yield batch
            batch, runs, size = [], 0, 0
        batch.append(each)
        runs += more
        size += copied
    if batch:
        yield batch
