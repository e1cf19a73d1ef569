"""Re-queues the entries of dead workers, and the events that a worker with a stuck event loop has read.

Only the leader does this. The lease's answers say which leases and dispatcher slots have expired; every step looks
first, and its script checks again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from headrace import HeadraceError, ServerError, ServerNotReady, UndecodableEvent
from headrace.calls.call import Call
from headrace.calls.queues import read_queue_names
from headrace.errors import OUTAGE
from headrace.formats.keys import Keys
from headrace_worker.clock import monotonic
from headrace_worker.leader.duty import Duty
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.member import Member
from headrace_worker.protocol import leases, reading, rescuing
from headrace_worker.protocol.delivery import Stream, decode_delivery
from headrace_worker.protocol.rescuing import PendingEntry
from headrace_worker.streams.dead_letters import bad_entry, dead_letter
from headrace_worker.streams.requeue import of_canceled_runs, requeue

log = get_logger("headrace.rescuer")

_PAGE = 100
_HOLDS, _QUIET = -1, -2
_SEARCH_LEASES = 8
"""The leader looks for names without a lease every so many leases."""


class Rescuer(Duty):
    """Rescues dead workers and expired dispatcher slots, one after the other."""

    def __init__(self, member: Member) -> None:
        super().__init__("rescuer")
        self._member = member
        self._setup = member.setup
        self._server = member.server
        self._identity = member.identity
        self._observer = member.observer
        self._dead: list[str] = []
        self._expired: list[str] = []
        self._searched_at = 0.0

    def notify(self, dead: Sequence[str], expired: Sequence[str]) -> None:
        """Note the workers whose leases, and the workers whose dispatcher slots, have expired; wake the loop."""
        self._dead, self._expired = list(dead), list(expired)
        if dead or expired or self._is_search_due:
            self._wake.set()

    async def _work(self) -> None:
        """Rescue the names of the lease's last answer and, now and then, names without a lease."""
        strays = await self._strays() if self._is_search_due else []
        await self._for_each(self._expired, self._free_dispatcher_slot)
        await self._for_each([*self._dead, *strays], self._rescue)

    async def recover(self, error: HeadraceError | None) -> None:  # noqa: ARG002 - the signature of a loop
        """Retry what is left at once, without waiting for the next answer of the lease."""
        self._wake.set()

    @property
    def _is_search_due(self) -> bool:
        every_s = _SEARCH_LEASES * self._setup.config.lease_s
        return self._identity.is_leader.is_set() and monotonic() - self._searched_at > every_s

    async def _for_each(self, names: Sequence[str], rescue: Callable[[str], Awaitable[None]]) -> None:
        """Rescue each name while this worker leads; after a failure, go on with the next name."""
        failure: HeadraceError | None = None
        for name in names:
            if not self._identity.is_leader.is_set():
                break
            self.pulse.beat()
            try:
                await rescue(name)
            except OUTAGE:
                raise
            except HeadraceError as exc:
                failure = exc
        if failure is not None:
            raise failure

    async def _strays(self) -> list[str]:
        """Return the names that groups know and that have no lease.

        A dead worker's blocked read can still complete later; its entries would stay pending for ever.
        """
        keys, config = self._server.keys, self._setup.config
        self._searched_at = monotonic()
        (queues,) = await self._server.commands.run([read_queue_names(keys)])
        streams = [reading.events_stream(keys), *_queues_of(keys, queues)]
        found: set[str] = set()
        for stream in streams:
            self.pulse.beat()
            with _without_group():
                (consumers,) = await self._server.commands.run([rescuing.read_consumers(stream)])
                found |= {each.name for each in consumers if each.pending or each.idle_ms > config.look_again_ms}
        # Read last: a worker has its lease before it reads from a stream.
        (living,) = await self._server.commands.run([rescuing.read_workers(keys)])
        return sorted(found - living)

    async def _free_dispatcher_slot(self, name: str) -> None:
        """Re-queue the events that the worker has read, then free its dispatcher slot."""
        stream = reading.events_stream(self._server.keys)
        moved = await self._move(name, stream, self._setup.app.name, dead=False)
        if moved > 0:
            log.warning("events taken from a worker whose event loop does not move", worker=name, events=moved)
        config = self._setup.config
        await self._server.commands.run([leases.drop_dispatcher(self._server.keys, name, config.look_again_ms)])

    async def _rescue(self, name: str) -> None:
        """Fence the name and re-queue its entries; forget the worker after the last look."""
        keys = self._server.keys
        (facts,) = await self._server.commands.run([rescuing.read_worker(keys, name)])
        if facts is None:  # its hash is gone, so it may hold entries of any queue
            (every_queue,) = await self._server.commands.run([read_queue_names(keys)])
            facts = rescuing.WorkerFacts(self._setup.app.name, tuple(every_queue))
        streams = [reading.events_stream(keys), *_queues_of(keys, facts.queues)]
        total = 0
        for stream in streams:
            moved = await self._move(name, stream, facts.app, dead=True)
            if moved in (_HOLDS, _QUIET):
                return
            total += moved
        if total:
            log.warning("entries of a dead worker are back in their queues", worker=name, entries=total)
        queue_keys = [stream.key for stream in streams[1:]]
        (forgotten,) = await self._server.commands.run([leases.leave(keys, name, facts.app, queue_keys, dead=True)])
        if forgotten:
            log.info("dead worker is forgotten", worker=name)

    async def _move(self, name: str, stream: Stream, app: str, *, dead: bool) -> int:
        """Re-queue the stream's entries pending under the worker's name; return how many, or why none."""
        total, after = 0, ""
        while True:
            page = await self._pending_of(name, stream, after)
            for pending in await self._describe(stream, page):
                moved = await self._requeue(name, stream, pending, app, dead=dead)
                self.pulse.beat()
                if moved in (_HOLDS, _QUIET):
                    return moved
                total += moved
            if len(page) < _PAGE:
                return total
            after = page[-1]

    async def _requeue(
        self, name: str, stream: Stream, pending: Sequence[PendingEntry], app: str, *, dead: bool
    ) -> int:
        keys, after_ms = self._server.keys, self._setup.config.look_again_ms

        def call_for(part: Sequence[PendingEntry]) -> Call[int]:
            return rescuing.rescue(keys, name, stream, part, dead=dead, look_again_ms=after_ms, app=app)

        moved = await requeue(self._member, stream, pending, call_for)
        self._observer.rescued(stream, max(moved, 0))
        return moved

    async def _pending_of(self, name: str, stream: Stream, after: str) -> list[str]:
        """Return the ids of entries pending under the worker's name; none if the group is gone."""
        found: list[str] = []
        with _without_group():
            (found,) = await self._server.commands.run([rescuing.read_pending(stream, name, after, _PAGE)])
        return found

    async def _describe(self, stream: Stream, page: Sequence[str]) -> list[list[PendingEntry]]:
        """Return the entries with their records' keys, then those of canceled runs; dead-letter unreadable ones."""
        if not stream.name:
            return [[PendingEntry(entry) for entry in page]]
        keys, run = self._server.keys, self._server.commands.run
        entries = await run([rescuing.read_entry(stream, entry) for entry in page]) if page else []
        deleted = await of_canceled_runs(self._member, stream, [entry for entry in entries if entry[1] is None])
        pending = []
        for entry in (each for each in entries if each[1] is not None):
            try:
                pending.append(rescuing.pending_entry(keys, decode_delivery(stream, entry)))
            except UndecodableEvent as exc:
                await dead_letter(self._member, stream, bad_entry(entry, exc))
        return [pending, deleted] if deleted else [pending]


@contextmanager
def _without_group() -> Iterator[None]:
    """Ignore that the group or the stream is gone: nothing is pending there."""
    try:
        yield
    except ServerNotReady as exc:
        if exc.code != "NOGROUP":
            raise
    except ServerError as exc:
        if "no such key" not in str(exc):
            raise


def _queues_of(keys: Keys, names: Sequence[str]) -> list[Stream]:
    found = []
    for full_name in names:
        app, _, queue = full_name.partition("/")
        found.append(reading.queue_stream(keys, app, queue))
    return found
