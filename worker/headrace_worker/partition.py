"""What a worker does in one partition of its namespace: one lease, and one set of loops under it.

All partitions of a worker share its slots and its executor. A partition must not decide when the worker stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from headrace import HeadraceError
from headrace.calls.call import Call
from headrace.connect import AnyTransport
from headrace.errors import OUTAGE
from headrace.transport.backoff import Backoff
from headrace_worker.dispatch.dispatcher import Dispatcher
from headrace_worker.leader.forgetter import Forgetter
from headrace_worker.leader.promoter import Promoter
from headrace_worker.leader.rescuer import Rescuer
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.lease import Answer, Lease
from headrace_worker.membership.loops import Loop, run_loop
from headrace_worker.membership.member import Member
from headrace_worker.membership.reporter import Reporter
from headrace_worker.membership.watch import Pulse, Verdict, Watch
from headrace_worker.protocol import leases
from headrace_worker.protocol.delivery import Stream
from headrace_worker.protocol.leases import Fenced
from headrace_worker.run.executor import Executor
from headrace_worker.run.fetcher import Fetcher
from headrace_worker.run.quarantine import Quarantine
from headrace_worker.run.settler import Settler
from headrace_worker.startup import preflight
from headrace_worker.streams.pending import pending_entries
from headrace_worker.streams.requeue import forget_deleted, release
from headrace_worker.tasks.guard import describe, is_end

log = get_logger("headrace.worker")

_LAST_WRITES_S = 5.0
"""How long a stopping worker tries to record its last outcomes; other workers execute unrecorded runs again."""

_LAST_ATTEMPTS = 5
"""How often a stopping worker tries to leave in order."""


class Partition:
    """One life of a worker in a partition, from the registration to the leave."""

    def __init__(  # noqa: PLR0913, PLR0915, PLR0917 - a partition has these parts
        self,
        member: Member,
        in_flight: InFlight,
        settler: Settler,
        dispatcher: Dispatcher,
        executor: Executor,
        quarantine: Quarantine,
        on_fault: Callable[[Verdict, AnyTransport | None], None],
        on_stop: Callable[[], None],
        on_turn: Callable[[], None] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            on_fault: see `Lease`.
            on_stop: is called when an operator wants the worker to stop.
            on_turn: see `Worker.run`.
        """
        self._member = member
        self._setup = member.setup
        self._server = member.server
        self._identity = member.identity
        self._guard = member.guard
        self._in_flight = in_flight
        self._settler = settler
        self._dispatcher = dispatcher
        self._executor = executor
        self._on_stop = on_stop
        self._fetcher = Fetcher(member, in_flight, executor, settler, quarantine)
        self.watch = Watch(member.setup.config, in_flight, member.guard)
        self._reporter = Reporter(member, in_flight)
        self._lease = Lease(
            member, self.watch, self._on_lease_answer, self._wanted_dispatchers, on_fault, self._reporter, on_turn
        )
        self._promoter = Promoter(member, self._lease.renew_now)
        self._rescuer = Rescuer(member)
        self._forgetter = Forgetter(member.server, member.identity, member.setup.config.retention)
        self._readers = (self._fetcher.reader, self._dispatcher.reader, self._promoter.reader)
        self._settled_all = asyncio.Event()
        self._renaming: asyncio.Task[None] | None = None
        self._working: list[asyncio.Task[None]] = []
        self._settling: asyncio.Task[None] | None = None
        self._is_closing = self._is_new = False
        self._registering = Pulse("registration under a new name")
        self._registering.rest()

    def start(self) -> None:
        """Renew the lease from now on, and start the loops."""
        loops: dict[str, Loop] = {
            "fetcher": self._fetcher,
            "dispatcher": self._dispatcher,
            "promoter": self._promoter,
            "rescuer": self._rescuer,
            "forgetter": self._forgetter,
        }
        self.watch.start([*(loop.pulse for loop in loops.values()), self._settler.pulse], self._registering)
        self._lease.start()
        self._working = [self._start(name, loop, self._identity.stopping) for name, loop in loops.items()]
        self._settling = self._start("settler", self._settler, self._settled_all)
        self._is_new = not self._identity.is_registered.is_set()
        if self._is_new:
            self._renaming = self._guard.part("registration", self._arrive(), self._is_named)

    def _start(self, name: str, loop: Loop, over: asyncio.Event) -> asyncio.Task[None]:
        loop.pulse.name = name = self._name_of(name)
        work = run_loop(name, loop, over.is_set, over, lambda: self.watch.stood_lately_s)
        return self._guard.part(name, work, self._may_end(over))

    def _may_end(self, over: asyncio.Event) -> Callable[[], bool]:
        return lambda: over.is_set() or self._is_closing

    async def end_reads(self) -> None:
        """Stop reading: end open reads through the server, and keep the entries that they return."""
        self._lease.renew_now()
        self._in_flight.notify()
        self._rescuer.stop()
        self._forgetter.stop()
        left = set(self._working)
        while left:
            for reader in self._readers:
                await reader.end()
            _, left = await asyncio.wait(left, timeout=0.1)
        if self._renaming is not None:
            await self._renaming

    async def leave(self) -> None:
        """Record the last outcomes, release pending entries, and let the server forget this worker's name."""
        if not self._identity.is_registered.is_set() and self._is_new:
            await self._lease.stop()
            return
        await self._end_settling()
        backoff = Backoff(_LAST_ATTEMPTS)
        for failures in range(1, backoff.attempts + 1):
            try:
                await self._release_everything()
                break
            except HeadraceError as exc:
                if failures == backoff.attempts:
                    log.warning("could not leave in order; other workers take over when the lease ends", error=str(exc))
                else:
                    await asyncio.sleep(backoff.delay_s(failures))
        await self._lease.stop()

    def renew_now(self) -> None:
        """Let the lease's thread judge the worker and renew the lease now."""
        self._lease.renew_now()

    def note_controls(self) -> None:
        """Look at the controls soon: they may have changed."""
        self._fetcher.note_change()

    def end_lease(self) -> None:
        """Stop renewing the lease."""
        self._lease.end()

    async def close(self) -> None:
        """Cancel loops that still run, and close their connections."""
        self._is_closing = True
        tasks = [*self._working, *([self._settling] if self._settling else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._dispatcher.break_off()
        await self._fetcher.close()
        for reader in self._readers:
            await reader.close()

    def _name_of(self, loop: str) -> str:
        number = self._server.keys.partition
        return f"{loop} of partition {number}" if number else loop

    def _on_lease_answer(self, name: str, answer: Answer) -> None:
        identity = self._identity
        if name != identity.name or not identity.is_registered.is_set():
            return
        if isinstance(answer, Fenced):
            self._drop_everything()
            return
        for right, is_held in ((identity.is_leader, answer.is_leader), (identity.may_dispatch, answer.may_dispatch)):
            if is_held:
                right.set()
            else:
                right.clear()
        if not answer.is_leader:
            self._promoter.forget()
        self._dispatcher.routes.note_version(answer.version)
        self._fetcher.note_version(answer.controls)
        self._rescuer.notify(answer.dead, answer.expired)
        if answer.fades:
            self._forgetter.notify()
        if answer.went_back and answer.is_leader:
            self._promoter.set_back()
        identity.renewed.set()
        self._follow(answer.wanted)

    def _follow(self, wanted: str) -> None:
        """Do what an operator wants of this worker; what only a later release knows is ignored."""
        if wanted == "stop" and not self._identity.stopping.is_set():
            log.info("an operator stops this worker", worker=self._identity.name)
            self._on_stop()
        elif wanted == "quiet" and not self._identity.is_quiet:
            log.info("an operator quiets this worker: it fetches no more runs", worker=self._identity.name)
            self._identity.is_quiet = True
            self._guard.detached("the end of a quiet worker's read", self._fetcher.reader.end())

    def _drop_everything(self) -> None:
        """Drop the runs of a fenced name, which other workers have now, and go on under a new name."""
        number = self._server.keys.partition
        in_flight = sum(run.delivery.queue.partition == number for run in self._in_flight.runs.values())
        log.warning("worker's lease has expired, so it drops its runs", worker=self._identity.name, in_flight=in_flight)
        self._registering.succeed()  # from now on: the watch must see a registration that never begins, too
        fenced = self._identity.name
        self._identity.take_new_name()
        self._renaming = self._guard.part("registration", self._register_again(), self._is_named)
        try:
            self._executor.end_all("released", number, fenced)
        except BaseException as exc:  # noqa: BLE001 - the registration has begun; the runs end a little later
            self._guard.again(exc, self._executor.end_all, "released", number, fenced)

    def _is_named(self) -> bool:
        return self._identity.is_registered.is_set() or self._identity.stopping.is_set() or self._is_closing

    async def _arrive(self) -> None:
        """Register in a partition that could not be reached at the start, once it can be reached."""
        identity, backoff = self._identity, Backoff(1)
        failures, logged = 0, ""
        while not (identity.stopping.is_set() or identity.is_registered.is_set()):
            self._registering.beat()
            try:
                await preflight.check(self._server, self._setup, identity.name)
                await self._member.register()
            except BaseException as exc:
                if is_end(exc):
                    raise
                failures += 1
                if not isinstance(exc, OUTAGE) and str(exc) != logged:
                    logged = str(exc)
                    log.error(  # noqa: TRY400 - said without a traceback, once
                        "partition can't be taken on yet", partition=self._server.keys.partition, error=describe(exc)
                    )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(identity.stopping.wait(), backoff.delay_s(failures))
        if identity.is_registered.is_set():
            self._is_new = False
            log.info("partition is taken on", partition=self._server.keys.partition)
            self._lease.renew_now()
        self._registering.rest()

    async def _register_again(self) -> None:
        while not self._identity.stopping.is_set():
            self._registering.beat()
            try:
                for reader in self._readers:
                    await reader.end()
                await self._member.register()
            except BaseException as exc:
                if is_end(exc):
                    raise
                if not isinstance(exc, HeadraceError):  # an outage is waited through
                    self._registering.fail(exc)
                log.warning("can't register under a new name yet", error=describe(exc))
                await asyncio.sleep(0.2)
                continue
            log.info("worker goes on under a new name", worker=self._identity.name)
            self._lease.renew_now()
            break
        self._registering.rest()

    def _wanted_dispatchers(self) -> int:
        wants_none = self._dispatcher.routes.is_too_old or self._identity.stopping.is_set()
        return 0 if wants_none else self._setup.config.dispatchers

    async def _end_settling(self) -> None:
        deadline = asyncio.get_running_loop().time() + _LAST_WRITES_S
        while not self._settler.is_idle and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - outcomes still come in
            await asyncio.sleep(0.01)
        if not self._settler.is_idle:
            log.error("last outcomes could not be recorded; their runs go to other workers")
        self._settled_all.set()
        self._settler.stop()
        if self._settling is not None:
            await asyncio.wait([self._settling], timeout=_LAST_WRITES_S)

    async def _release_everything(self) -> None:
        await self._fetcher.end()
        await self._dispatcher.end()
        for queue in self._setup.queues:
            await self._release(queue)
        queues = [queue.key for queue in self._setup.queues]
        await self._lease.stop()
        call = leases.leave(self._server.keys, self._identity.name, self._setup.app.name, queues, dead=False)
        calls: list[Call[Any]] = [*self._reporter.last_calls(), call]
        *reported, left = await self._server.commands.run(calls, partial=True)
        self._reporter.note(reported)
        if isinstance(left, HeadraceError):
            raise left

    async def _release(self, stream: Stream) -> None:
        async for page in pending_entries(self._server, stream, self._identity.name):
            await release(self._member, stream, self._fetcher.described(stream, page))
            await forget_deleted(self._member, stream, page)
