"""Dispatches events: reads events while this worker has a dispatcher slot, and makes their runs.

    read → decode and load payloads (matcher) → match against the routes → make runs (run_maker)

The next read is open while a batch is dispatched. The dispatcher must not look at payloads: the matcher does, through
the routes' filters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headrace import HeadraceError, ServerNotReady
from headrace_worker.app.routes import RoutesTooNew
from headrace_worker.dispatch.matcher import Matcher
from headrace_worker.dispatch.route_table import RouteTable
from headrace_worker.dispatch.run_maker import RunMaker
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.loops import wait_either
from headrace_worker.membership.member import Member
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol import reading, rescuing
from headrace_worker.protocol.delivery import Entry
from headrace_worker.streams.pending import Pending, pending_entries
from headrace_worker.streams.reader import Reader
from headrace_worker.streams.requeue import release
from headrace_worker.tasks.guard import own_task

log = get_logger("headrace.dispatcher")


class Dispatcher:
    """The loop that turns events into runs.

    Attributes:
        routes: the routes of the partition.
    """

    def __init__(self, member: Member, routes: RouteTable) -> None:
        self._member = member
        self._block_ms = member.setup.block_ms
        self._server = member.server
        self._identity = member.identity
        self._guard = member.guard
        self.routes = routes
        self.pulse = Pulse("dispatcher")
        self.reader = Reader(member.server, member.guard, self.pulse, member.setup.config.block_s)
        self._matcher = Matcher(member)
        self._runs = RunMaker(member, routes, self._matcher, self.pulse)
        self._stream = reading.events_stream(member.server.keys)
        self._pending = Pending(member.server, member.identity)
        self._under_way: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def tick(self) -> None:
        """Read one batch of events, once this worker has a dispatcher slot, and begin to dispatch it."""
        identity = self._identity
        with self.pulse.waiting(identity.may_dispatch.is_set):
            await wait_either(identity.may_dispatch, identity.stopping)
        if identity.stopping.is_set():
            return
        if self._pending.may_be_unseen:
            await self.finish()
            await self._dispatch_unseen()
        name = identity.name
        keys = self._server.keys
        call = reading.read_group(reading.DISPATCH_GROUP, name, keys.events, reading.MAX_READ, self._block_ms)
        entries = await self.reader.read(call)
        await self.finish()
        if entries and name == identity.name:
            # Now, so that its call is sent before the next read.
            self._under_way = own_task(self._dispatch(entries), eagerly=True)
            self._guard.on_done(self._under_way, self._end_read_if_failed)

    def _end_read_if_failed(self, task: asyncio.Task[None]) -> None:
        """Handle a failed batch at once, not when the next events come."""
        if not task.cancelled() and task.exception() is not None:
            self._ending = self._guard.detached("the end of a read", self.reader.end())

    async def finish(self) -> None:
        """Wait until the batch under way is dispatched; raise its failure."""
        task, self._under_way = self._under_way, None
        if task is not None:
            await task

    async def recover(self, error: HeadraceError | None) -> None:
        """Look for events that are pending undispatched; make groups that are gone again."""
        self._pending.doubt()
        self.routes.forget()
        if self._under_way is not None:
            await asyncio.wait([self._under_way])
            self._under_way = None
        if isinstance(error, RoutesTooNew):
            self._identity.may_dispatch.clear()  # the lease's next renewal frees the slot; other workers dispatch
            await self._release_pending()
        if isinstance(error, ServerNotReady) and error.code == "NOGROUP":
            await self._member.register()

    async def end(self) -> None:
        """Finish the batch under way; re-queue events that are still pending."""
        try:
            await self.finish()
        except HeadraceError as exc:
            log.warning("events go back to their stream undispatched", error=str(exc))
        await self._release_pending()

    async def break_off(self) -> None:
        """Cancel the batch under way; another worker dispatches it once this worker's lease has ended."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait([self._under_way])

    async def _release_pending(self) -> None:
        async for page in pending_entries(self._server, self._stream, self._identity.name):
            pending = [rescuing.PendingEntry(entry[0].decode()) for entry in page]
            await release(self._member, self._stream, pending)

    async def _dispatch_unseen(self) -> None:
        """Dispatch all pending events; one that was dispatched before is only acknowledged."""
        async for _, page in self._pending.look([self._stream]):
            await self._dispatch(page)

    async def _dispatch(self, entries: Sequence[Entry]) -> None:
        await self._runs.dispatch(await self._matcher.readable(entries))
