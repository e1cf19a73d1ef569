"""A worker: one executor and its slots for all partitions of a namespace, from its start to its stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from headrace import ConfigurationError, HeadraceError, InvalidArgument
from headrace.config import resolve, resolve_url
from headrace.connect import AnyTransport, open_transport
from headrace.errors import OUTAGE
from headrace.formats.partitions import Partitions
from headrace_worker.app.app import App
from headrace_worker.clock import monotonic
from headrace_worker.config import WorkerConfig
from headrace_worker.dispatch.dispatcher import Dispatcher
from headrace_worker.dispatch.route_table import RouteTable
from headrace_worker.errors import WorkerFailed
from headrace_worker.logs.logger import get_logger, write_directly
from headrace_worker.membership.identity import new_name
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.member import Member
from headrace_worker.membership.observer import ObserverSource
from headrace_worker.membership.setup import WorkerSetup
from headrace_worker.membership.watch import Verdict
from headrace_worker.partition import Partition
from headrace_worker.protocol import leases
from headrace_worker.run.executor import IGNORED_CANCEL_S, Executor
from headrace_worker.run.quarantine import Quarantine
from headrace_worker.run.settler import Settler
from headrace_worker.startup import preflight
from headrace_worker.startup.lifespan import Lifespan
from headrace_worker.streams.cancellations import Cancellations
from headrace_worker.streams.listener import Listener
from headrace_worker.tasks.guard import Guard, describe, own_task

log = get_logger("headrace.worker")

_LAST_CALL_S = 2.0
"""How long a failed worker may take to end its leases on the server."""


def import_modules(app: object) -> None:
    """Import the modules that define jobs of an app; raise InvalidArgument for anything else."""
    if not isinstance(app, App):
        module, _, name = app.partition(":") if isinstance(app, str) else ("", "", "")
        way_out = f"; import it: from {module} import {name}" if module and name else ""
        raise InvalidArgument("app", f"must be an App, not {app!r}{way_out}")
    for module in app.modules:
        importlib.import_module(module)


class Worker:
    """Executes the runs of one app, and shares in dispatching, promoting and rescuing for all apps."""

    def __init__(  # noqa: PLR0913 - each is a setting, and given by name
        self,
        app: App,
        url: str | None = None,
        *,
        namespace: str | None = None,
        partitions: int | None = None,
        config: WorkerConfig = WorkerConfig(),  # noqa: B008 - a frozen struct
        on_name: Callable[[str], None] | None = None,
        on_started: Callable[[], None] | None = None,
        metrics: ObserverSource | None = None,
    ) -> None:
        """Make a worker that is ready to run; connect nothing yet.

        Args:
            app: the app whose jobs to execute; its modules are imported now.
            url: `redis://`, `rediss://` or `unix://`; `redis+sentinel://` with a service's sentinels and name;
                `redis+cluster://` with the addresses of some of its nodes; HEADRACE_URL if None.
            namespace: HEADRACE_NAMESPACE if None, then `default`.
            partitions: into how many the namespace is divided; HEADRACE_PARTITIONS if None, then 1. The worker serves
                all of them.
            on_name: receives each name of this worker before anything is delivered to the name, so that a process
                which sees this one die can end the lease.
            on_started: is called once the worker takes runs.
            metrics: count what the worker does; several workers of a process may share them.

        Raises:
            ConfigurationError: no URL, a namespace that is no name, or no number of partitions.
        """
        import_modules(app)
        self.app = app
        self.url: str = resolve_url(url)
        self.partitions: Partitions = resolve(namespace, partitions)
        self.config = config
        self._is_stopping = False
        self._stop_noted = False
        self._members: list[Member] = []
        self._hurry: asyncio.Event | None = None
        self._on_name = on_name
        self._on_started = on_started
        self._metrics = metrics
        self._running: _Running | None = None

    async def run(
        self,
        *,
        on_fault: Callable[[str], None] | None = None,
        on_turn: Callable[[], None] | None = None,
        on_closing: Callable[[], None] | None = None,
    ) -> None:
        """Run until `stop`; return once every in-flight run has ended or is released to other workers.

        Outages of the server are waited through. A worker runs once: make another Worker to run again.

        Args:
            on_fault: is called once, with the reason, if the worker does not work and has to end: its lease has ended
                then. It may be called in any thread, and should end the process. Without it WorkerFailed is raised,
                if the event loop still turns.
            on_turn: is called by the lease's thread at each turn, at least three times in a lease.
            on_closing: is called before the app's lifespan closes, when the worker has left: what closes may block.

        Raises:
            WorkerFailed: a part of the worker did not work any more, and there is no `on_fault`.
            StartRefused: the worker can't work on this server as it is; nothing was started.
            LifespanFailed: the app's lifespan raised; nothing was started.
            ConfigurationError: the namespace has another number of partitions; nothing was started.
            ServerError: the server could not be reached at the start.
        """
        if self._members:
            raise ConfigurationError("this worker has run already; make another Worker to run once more")
        in_flight = InFlight(self.config.concurrency)
        self._members = self._make_members(in_flight)
        self._hurry = asyncio.Event()
        if self._is_stopping:
            self.stop()
        lifespan = Lifespan(self.app, self._members[0].guard, on_closing)
        try:
            away: dict[int, HeadraceError] = {}
            await self._in_each(_check, away)
            if not await lifespan.enter(self._members[0].identity.stopping):
                log.info("worker stopped before its lifespan was entered", app=self.app.name)
                return
            await self._in_each(Member.register, away)
            _warn_of(away)
            self._running = _Running(
                self._members, in_flight, self._hurry, on_fault, self._stop_in_order, on_turn, lifespan.state
            )
            if self._stop_noted:
                self.note_stop()
            await self._running.run_until_stopped(self._on_started)
        finally:
            await _close(lifespan.close())
            for member in self._members:
                await _close(member.server.commands.close())

    def _make_members(self, in_flight: InFlight) -> list[Member]:
        """Return the member of each partition, under one name and with one guard."""
        name, guard, metrics = new_name(), Guard(), self._metrics
        members = []
        for number, keys in enumerate(self.partitions.all):
            setup = WorkerSetup.of(self.app, self.partitions, self.url, self.config, partition=number)
            observer = None if metrics is None else metrics.watch(self.app, keys, in_flight)
            members.append(Member.of(setup, name=name, observer=observer, guard=guard, on_name=self._on_name))
        return members

    async def _in_each(self, begin: Callable[[Member], Awaitable[None]], away: dict[int, HeadraceError]) -> None:
        """Take a step of the start in each partition; add those that can't be reached to `away`, and leave them out.

        Raises:
            HeadraceError: as `run` does; an outage only if no partition can be reached.
        """
        for member in self._members:
            if member.setup.keys.partition in away:
                continue
            try:
                await begin(member)
            except OUTAGE as exc:
                away[member.setup.keys.partition] = exc
                if len(away) == len(self._members):
                    raise

    def stop(self) -> None:
        """Take no new runs; give in-flight runs `grace_s` to end. To be called on the worker's event loop."""
        self._is_stopping = True
        for member in self._members:
            member.identity.stopping.set()

    def _stop_in_order(self) -> None:
        """Stop as on a signal."""
        self.note_stop()
        self.stop()

    def note_stop(self) -> None:
        """Note that `stop` is about to be called: a worker that can't even stop ends a while after its grace.

        May be called from a signal's handler, and while the event loop is blocked.
        """
        self._stop_noted = True
        if self._running is not None:
            self._running.note_stop()

    @property
    def is_starting(self) -> bool:
        """Whether the worker takes no runs yet, as its lifespan may not be entered."""
        return self._running is None

    @property
    def left_behind(self) -> int:
        """How many plain functions of runs go on."""
        return 0 if self._running is None else self._running.left_behind

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._is_stopping

    def stop_now(self) -> None:
        """Stop; cancel and release in-flight runs without further grace."""
        self.stop()
        if self._hurry is not None:
            self._hurry.set()

    @property
    def name(self) -> str | None:
        """The worker's current name in partition 0; a new one at each start and after each fencing."""
        return self._members[0].identity.name if self._members else None


def _warn_of(away: Mapping[int, HeadraceError]) -> None:
    if away:
        log.warning(
            "partitions can't be reached; the worker starts without them, and takes them on when they come",
            partitions=sorted(away), error=str(next(iter(away.values()))),
        )  # fmt: skip


async def _check(member: Member) -> None:
    await preflight.check(member.server, member.setup, member.identity.name)


class _Running:
    """One run of a worker, from its registration to its leave."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it is given by its worker
        self,
        members: Sequence[Member],
        in_flight: InFlight,
        hurry: asyncio.Event,
        on_fault: Callable[[str], None] | None,
        on_stop: Callable[[], None],
        on_turn: Callable[[], None] | None,
        state: object,
    ) -> None:
        self._members = members
        first = members[0]
        self._setup, self._identity, self._guard = first.setup, first.identity, first.guard
        self._hurry = hurry
        self._in_flight = in_flight
        quarantine = Quarantine(in_flight)
        settlers = [Settler(each, in_flight) for each in members]
        tables = [RouteTable(each.server) for each in members]
        dispatchers = [Dispatcher(each, table) for each, table in zip(members, tables, strict=True)]
        # A live worker serves all partitions, so any partition's table knows whether it has a job.
        self._executor = executor = Executor(
            first.setup, first.guard, first.observer, in_flight, settlers, tables[0].has_live, state
        )
        self._partitions = [
            Partition(each, in_flight, settler, dispatcher, executor, quarantine, self._fail, on_stop, on_turn)
            for each, settler, dispatcher in zip(members, settlers, dispatchers, strict=True)
        ]
        cancellations = Cancellations(members, in_flight, executor.cancel)
        on_controls = {
            each.server.keys.controls_channel: partition.note_controls
            for each, partition in zip(members, self._partitions, strict=True)
        }
        self._listener = Listener(members, cancellations, on_controls)
        first.guard.on_broken = self._look_at_once
        self._on_fault = on_fault
        self._fault = ""
        self._loop = asyncio.get_running_loop()

    def note_stop(self) -> None:
        for partition in self._partitions:
            partition.watch.note_stop()

    @property
    def left_behind(self) -> int:
        return self._executor.left_behind

    def _look_at_once(self) -> None:
        """Let the leases' threads look at the worker now: a part is gone."""
        for partition in self._partitions:
            partition.renew_now()

    def _fail(self, verdict: Verdict, transport: AnyTransport | None) -> None:
        """End a worker that does not work: its leases first, so that other workers take its runs at once.

        Called in the thread of a lease, or on the event loop if that thread does not work.

        Args:
            transport: an open connection; None if one has to be made.
        """
        if self._fault:  # the first call has failed, or stands still
            self._end()
            return
        self._fault = verdict.fault
        stack = f"; the event loop is at\n{verdict.stack}" if verdict.stack else ""
        with contextlib.suppress(BaseException):  # standard error may be gone
            write_directly(f"headrace: worker {self._identity.name} does not work, and ends: {verdict.fault}{stack}")
        try:
            transport = transport or open_transport(self._setup.url, attempts=1, reply_timeout_s=_LAST_CALL_S)
            if verdict.timed_out is not None:
                self._executor.time_out(verdict.timed_out, verdict.stack, transport)
            transport.run([leases.end_lease(each.setup.keys, each.identity.name) for each in self._members])
        except BaseException as exc:  # noqa: BLE001 - the leases expire
            with contextlib.suppress(BaseException):
                write_directly(f"headrace: its lease could not be ended, and will run out by itself: {describe(exc)}")
        self._end()

    def _end(self) -> None:
        if self._on_fault is not None:
            self._on_fault(self._fault)
        self._guard.from_thread(self._loop, self._stop_failed)

    def _stop_failed(self) -> None:
        self._hurry.set()
        for each in self._members:
            each.identity.stopping.set()

    async def run_until_stopped(self, on_started: Callable[[], None] | None) -> None:
        try:
            for partition in self._partitions:
                partition.start()
            self._listener.start()
            await self._run_until_stopped(on_started)
        except BaseException:
            await asyncio.shield(own_task(self._end_leases()))
            raise
        finally:  # if the stop itself is broken off, the leases must not keep runs on which no worker works
            for partition in self._partitions:
                partition.end_lease()
            await _close(self._listener.stop())
            self._executor.end_all("released")
            await asyncio.gather(*(own_task(_close(partition.close())) for partition in self._partitions))
            await _close(self._executor.close())

    async def _end_leases(self) -> None:
        """End the leases after a start or stop was broken off: other workers need not wait until they expire."""
        for each in self._members:
            call = leases.end_lease(each.setup.keys, each.identity.name)
            with contextlib.suppress(HeadraceError, TimeoutError):
                await asyncio.wait_for(own_task(each.server.commands.run([call])), _LAST_CALL_S)

    async def _run_until_stopped(self, on_started: Callable[[], None] | None) -> None:
        self._log_start()
        if on_started is not None:
            on_started()
        canceled = False
        try:
            await self._identity.stopping.wait()
        except asyncio.CancelledError as exc:  # the caller gives the worker up: it still stops in order
            if self._on_fault is not None:  # in a process of its own no caller does: count a lost worker for its runs
                self._guard.break_off("the worker's own task", exc)
                await asyncio.Event().wait()
            canceled = True
            if (task := asyncio.current_task()) is not None:
                task.uncancel()  # or timeouts within the stop would count as this cancellation
            self._hurry.set()
            for each in self._members:
                each.identity.stopping.set()
        self._log_stop()
        await asyncio.gather(*(own_task(partition.end_reads()) for partition in self._partitions))
        await self._drain()
        await _close(self._listener.stop())
        await asyncio.gather(*(own_task(partition.leave()) for partition in self._partitions))
        log.info("worker stopped", worker=self._identity.name)
        if self._fault:
            raise WorkerFailed(self._fault)
        if canceled:
            raise asyncio.CancelledError

    def _log_start(self) -> None:
        setup = self._setup
        log.info(
            "worker started", worker=self._identity.name, app=setup.app.name, namespace=setup.keys.namespace,
            queues=[queue.name for queue in setup.queues], concurrency=setup.config.concurrency,
            **({"partitions": len(self._members)} if len(self._members) > 1 else {}),
        )  # fmt: skip
        if not (setup.app.jobs or setup.app.dispatch_only):
            log.warning(
                "app has no jobs: its worker only dispatches; dispatch_only=True if it shall", app=setup.app.name
            )

    def _log_stop(self) -> None:
        count, grace_s = len(self._in_flight.runs), self._setup.config.grace_s
        waits = f"its runs may go on for {grace_s:g} s; a second signal releases them at once, a third kills"
        happened = f"worker stops: {waits}" if count else "worker stops"
        log.info(happened, worker=self._identity.name, in_flight=count)

    async def _drain(self) -> None:
        """Let in-flight runs end by themselves within the grace; then cancel and release them."""
        deadline = monotonic() + self._setup.config.grace_s
        await self._wait_until_over(lambda: monotonic() >= deadline or self._hurry.is_set())
        if self._in_flight.runs:
            why = "the stop is hurried" if self._hurry.is_set() else "grace is over"
            runs = len(self._in_flight.runs)
            line = f"{why}: runs are released, and a worker of the app will begin them again"
            log.warning(line, runs=runs)
            self._executor.end_all("released")
            deadline = monotonic() + IGNORED_CANCEL_S + 0.5
            await self._wait_until_over(lambda: monotonic() >= deadline)

    async def _wait_until_over(self, is_over: Callable[[], bool]) -> None:
        while self._in_flight.runs and not is_over():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(own_task(self._in_flight.wait_change()), 0.1)


async def _close(closing: Coroutine[Any, Any, None]) -> None:
    """Close a part of a worker that has ended; a failure is logged, and keeps no other part open."""
    try:
        await asyncio.shield(own_task(closing))
    except Exception as exc:  # noqa: BLE001 - connections close with the process
        log.warning("a part of the worker did not close in order", error=describe(exc))
