"""Fetches runs from the worker's queues, never more than there are free slots.

A worker with one queue in one partition, without a limit, blocks on that queue. Any other worker blocks on its app's
wake-up stream, and takes from all its queues in one call. The fetchers of several partitions share the slots: each
reserves its part first. Each take says which queues are limited; a worker that blocks on its queue takes once when the
controls have changed.
After every failure a fetcher reads its pending entries: a lost reply leaves unseen ones. It must not execute or settle.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence

import msgspec

from headrace import HeadraceError, ServerNotReady, UndecodableEvent
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import InFlight, InFlightRun
from headrace_worker.membership.loops import wait_either
from headrace_worker.membership.member import Member
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol import reading, rescuing
from headrace_worker.protocol.delivery import Delivery, Entry, Stream, decode_delivery
from headrace_worker.protocol.reading import MAX_READ
from headrace_worker.protocol.rescuing import PendingEntry
from headrace_worker.protocol.settling import BadEntry
from headrace_worker.run.executor import Executor
from headrace_worker.run.quarantine import Quarantine
from headrace_worker.run.settler import Settler
from headrace_worker.streams.dead_letters import bad_delivery, bad_entry, dead_letter
from headrace_worker.streams.payloads import load_payloads
from headrace_worker.streams.pending import Pending
from headrace_worker.streams.reader import Reader
from headrace_worker.streams.requeue import forget_deleted
from headrace_worker.streams.shares import Shares, Weighed
from headrace_worker.tasks.guard import own_task

log = get_logger("headrace.fetcher")

_END_AGAIN_S = 0.1


class Fetcher:
    """Keeps the worker's slots filled."""

    def __init__(
        self, member: Member, in_flight: InFlight, executor: Executor, settler: Settler, quarantine: Quarantine
    ) -> None:
        self._member = member
        self._setup = member.setup
        self._server = member.server
        self._identity = member.identity
        self._observer = member.observer
        self._guard = member.guard
        self._in_flight = in_flight
        self._executor = executor
        self._settler = settler
        self._quarantine = quarantine
        self._partition = member.server.keys.partition
        setup = member.setup
        defined = zip(setup.queues, setup.definitions, strict=True)
        weighed = [Weighed(queue, each.weight, setup.limit_of(each)) for queue, each in defined]
        self._shares = Shares(weighed)
        self._may_block_on_queue = len(weighed) == len(setup.partitions) == 1 and not weighed[0].limit
        self._changes, self._looked, self._version = 1, 0, ""
        self._ending: asyncio.Task[None] | None = None
        self._pending = Pending(member.server, member.identity)
        self._prefetched: asyncio.Task[list[Entry]] | None = None
        self._prefetched_name = ""
        self.pulse = Pulse("fetcher")
        self.reader = Reader(member.server, member.guard, self.pulse, member.setup.config.block_s)

    async def tick(self) -> None:
        """Fetch once, at most one run for each free slot, and start the runs."""
        has_queues = bool(self._setup.queues)  # an app may have no jobs
        ready = self._identity.is_registered if has_queues else self._identity.stopping
        with self.pulse.waiting(ready.is_set):
            await wait_either(ready, self._identity.stopping)
        if self._pending.may_be_unseen:
            await self._look_for_unseen()
        if not self._may_take():
            with self.pulse.waiting(self._may_take):
                while not self._may_take() and not self._identity.stopping.is_set():
                    await self._in_flight.wait_change()
        await self._wait_for_lease()
        if self._identity.stopping.is_set() or not self._identity.is_registered.is_set():
            await self.end()
            return
        if not self._may_take():  # it was quieted meanwhile
            return
        name = self._identity.name
        if self._blocks_on_queue or self._prefetched is not None:
            (queue,) = self._setup.queues
            await self._receive(name, queue, await self._read(name, queue, min(self._in_flight.free, MAX_READ)))
        elif not await self._take(name):
            call = reading.listen_wake_up(self._server.keys, self._setup.app.name, self._setup.block_ms)
            await self.reader.read(call)
        self._observer.polled()

    @property
    def _blocks_on_queue(self) -> bool:
        return self._may_block_on_queue and self._looked == self._changes and not self._settler.limited

    def note_change(self) -> None:
        """Look at the controls soon: they may have changed."""
        self._changes += 1
        if self._may_block_on_queue and (self._ending is None or self._ending.done()):
            self._ending = self._guard.detached("the end of a read", self._end_read())

    def note_version(self, version: str) -> None:
        """Note which version the controls have."""
        if version != self._version:
            self.note_change()

    async def _end_read(self) -> None:
        """End the read that is open, so that the next tick looks at the controls. It may not be at the server yet."""
        while self._looked != self._changes and self.reader.is_reading and not self._identity.stopping.is_set():
            await self.reader.end()
            await asyncio.sleep(_END_AGAIN_S)

    async def _wait_for_lease(self) -> None:
        if monotonic() >= self._identity.lease_until:
            with self.pulse.waiting(self._identity.renewed.is_set):
                await self._identity.wait_for_lease()

    def _may_take(self) -> bool:
        if self._prefetched is not None:
            return True
        return self._in_flight.free > 0 and not self._quarantine.is_closed and not self._identity.is_quiet

    async def recover(self, error: HeadraceError | None) -> None:
        """Look for unseen pending entries at the next tick; make groups that are gone again."""
        self._pending.doubt()
        self._in_flight.release(self._partition)  # a reservation whose release has failed
        if isinstance(error, ServerNotReady) and error.code == "NOGROUP":
            await self._member.register()

    def described(self, stream: Stream, entries: Sequence[Entry]) -> list[PendingEntry]:
        """Return the entries of a queue that can be read, as a release takes them; the rest stays pending."""
        pending = []
        for entry in entries:
            with contextlib.suppress(UndecodableEvent):
                pending.append(rescuing.pending_entry(self._server.keys, decode_delivery(stream, entry)))
        return pending

    async def _read(self, name: str, queue: Stream, free: int) -> list[Entry]:
        if self._prefetched_name != name:
            await self.end()
        prefetched, self._prefetched = self._prefetched, None
        if prefetched is not None and (entries := await prefetched):
            return entries
        if not self._blocks_on_queue or self._identity.is_quiet:  # that may have changed meanwhile
            return []
        call = reading.read_group(reading.WORKERS_GROUP, name, queue.key, free, self._setup.block_ms)
        return await self.reader.read(call)

    async def _take(self, name: str) -> bool:
        """Take from all queues by their weights; return whether there is no wake-up to wait for."""
        free = self._in_flight.reserve(self._partition, len(self._setup.partitions), MAX_READ)
        if free == 0:  # another partition has the slots
            return True
        try:
            shares = self._shares.of(free)
            changes = self._changes
            (taken,) = await self._server.commands.run([reading.take(self._server.keys, name, shares, free)])
            self._looked, self._version, self._settler.limited = changes, taken.controls, taken.limited
            counts = Counter[str]()
            for queue, entries in taken.entries:
                counts[queue.key] += len(entries)
            self._shares.note(shares, counts, free)
            if (got := counts.total()) == free:
                await self._server.commands.run([reading.wake_worker(self._server.keys, self._setup.app.name)])
            for queue, entries in taken.entries:
                await self._receive(name, queue, entries)
        finally:
            self._in_flight.release(self._partition)
        return got > 0 or self._blocks_on_queue

    async def _receive(self, name: str, queue: Stream, entries: Sequence[Entry]) -> None:
        """Start the runs of these entries that can be read and that the quarantine admits."""
        if not self._is_current_name(name, len(entries)):
            return
        whole = []
        for entry in entries:
            try:
                delivery = decode_delivery(queue, entry)
            except UndecodableEvent as exc:
                await self._dead_letter(queue, bad_entry(entry, exc))
                continue
            if not self._was_delivered_before(delivery):
                whole.append(delivery)
        self.pulse.allow(self._setup.config.lease_s)  # for a run to be quarantined
        deliveries = await self._quarantine.admit(self._member, whole, name)
        if any(delivery.body is None for delivery in deliveries):
            deliveries = await self._with_bodies(deliveries)
        if monotonic() >= self._identity.lease_until:  # a worker that stood still since the read may be fenced
            await self._wait_for_lease()
        if self._is_current_name(name, len(deliveries)):
            if deliveries is whole:
                await self._prefetch(name, queue, len(deliveries))
            await self._start(name, deliveries)
            self._observer.began(deliveries)
            # Functions begin before the next read is open: a worker whose event loop blocks gets no more runs.
            await asyncio.sleep(0)

    async def _start(self, name: str, deliveries: Sequence[Delivery]) -> None:
        """Start runs; let the event loop turn between them if the codec is slow."""
        codec = self._setup.codec
        for delivery in deliveries:
            self._executor.start(delivery, name)
            if codec is not None and codec.is_slow:
                await asyncio.sleep(0)
                if name != self._identity.name:  # fenced meanwhile: the rest goes to other workers
                    return

    async def _prefetch(self, name: str, queue: Stream, count: int) -> None:
        """After a full read, send the next one before these runs begin: the server works on it while they execute.

        Does not block. Skipped if the worker has several queues or partitions, or is quarantining a run.
        """
        free = min(self._in_flight.free - count, MAX_READ)
        if count < MAX_READ or free <= 0 or not self._blocks_on_queue or self._pending.is_doubted:
            return
        call = reading.read_group(reading.WORKERS_GROUP, name, queue.key, free, None)
        self._prefetched_name, self._prefetched = name, own_task(self.reader.read(call))
        await asyncio.sleep(0)  # so that the read is sent

    async def close(self) -> None:
        """Leave nothing that still runs; the reader is for the caller to close."""
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait((self._ending,))

    async def end(self) -> None:
        """Forget prefetched entries: they stay pending, and are found there again or released at the stop."""
        prefetched, self._prefetched = self._prefetched, None
        if prefetched is not None:
            await asyncio.wait([prefetched])
            if not prefetched.cancelled():
                prefetched.exception()  # or asyncio would complain that the exception was never retrieved

    def _is_current_name(self, name: str, count: int) -> bool:
        """Return whether the worker still has this name; runs of a fenced name are rescued, and must not start here."""
        if name != self._identity.name and count:
            log.warning("runs dropped: they were delivered to a name that is fenced now", runs=count)
        return name == self._identity.name

    async def _with_bodies(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Read large bodies from their records; dead-letter a run whose body is gone."""
        sizes = {delivery.event_id: delivery.size for delivery in deliveries if delivery.body is None}
        bodies = await load_payloads(self._server, sizes)
        whole = []
        for delivery in deliveries:
            body = delivery.body or bodies[delivery.event_id]
            if isinstance(body, bytes):
                whole.append(delivery if body is delivery.body else msgspec.structs.replace(delivery, body=body))
                continue
            await self._dead_letter(delivery.queue, bad_delivery(delivery, body))
        return whole

    async def _dead_letter(self, queue: Stream, bad: BadEntry) -> None:
        line = "entry can't be read and is moved to dead"
        await dead_letter(self._member, queue, bad, log, line, queue=queue.name)

    async def _look_for_unseen(self) -> None:
        """Execute pending entries that this worker does not know; settle again those whose outcome it remembers."""
        await self.end()
        name, known = self._identity.name, set(self._in_flight.runs)
        async for queue, page in self._pending.look(self._setup.queues):
            unseen = [entry for entry in page if (queue.key, entry[0].decode()) not in known]
            await forget_deleted(self._member, queue, unseen)
            whole = [entry for entry in unseen if entry[1] is not None]
            await self._receive_as_slots_are_free(name, queue, whole)

    async def _receive_as_slots_are_free(self, name: str, queue: Stream, entries: Sequence[Entry]) -> None:
        """As `_receive`, but let each run wait for a slot: another partition may have taken the slots meanwhile.

        At a stop, runs without a slot are released with all other pending entries.
        """
        while entries and not self._identity.stopping.is_set():
            free = self._in_flight.reserve(self._partition, 1, len(entries))
            try:
                await self._receive(name, queue, entries[:free])
            finally:
                self._in_flight.release(self._partition)
            entries = entries[free:]
            if entries and self._in_flight.free <= 0:
                with self.pulse.waiting(lambda: self._in_flight.free > 0):
                    await self._in_flight.wait_change()

    def _was_delivered_before(self, delivery: Delivery) -> bool:
        """Return whether the run must not be called again: it is in flight, or its outcome is recorded again."""
        key = delivery.key
        if key in self._in_flight.runs:
            return True
        if key not in self._settler.memory:
            return False
        return self._settler.settle_again(InFlightRun(delivery, self._identity.name, monotonic()))
