"""A worker: wires the loops together, gives them their rights, and brings them to a stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from headrace import HeadraceError
from headrace.client import resolve_namespace, resolve_url
from headrace.keys import Keys
from headrace.transport import Backoff
from headrace_worker import preflight, protocol
from headrace_worker.app import App
from headrace_worker.config import WorkerConfig
from headrace_worker.delivery import Stream
from headrace_worker.dispatcher import Dispatcher
from headrace_worker.executor import IGNORED_CANCEL_S, Executor
from headrace_worker.fetcher import Fetcher
from headrace_worker.hand import Hand
from headrace_worker.last_life import LastLife
from headrace_worker.lease import Answer, Lease
from headrace_worker.loops import Loop, run_loop
from headrace_worker.promoter import Promoter
from headrace_worker.protocol import Fenced
from headrace_worker.reading import own_entries
from headrace_worker.rescuer import Rescuer
from headrace_worker.settler import Settler
from headrace_worker.state import WorkerState

log = structlog.get_logger("headrace.worker")

_LAST_WRITES_S = 5.0
"""How long a stopping worker tries to record its last outcomes; what it can't is run again elsewhere."""

_LAST_ATTEMPTS = 5
"""How often it tries to leave in order."""


class Worker:
    """Executes the runs of one app, and takes its turn in dispatching, promoting and rescuing for all."""

    def __init__(
        self,
        app: App,
        url: str | None = None,
        *,
        namespace: str | None = None,
        config: WorkerConfig = WorkerConfig(),  # noqa: B008 - a frozen struct
        on_name: Callable[[str], None] | None = None,
        on_started: Callable[[], None] | None = None,
    ) -> None:
        """The worker is ready to run; nothing is connected yet.

        Args:
            app: whose jobs to execute.
            url: `redis://`, `rediss://` or `unix://`; HEADRACE_URL if None.
            namespace: HEADRACE_NAMESPACE if None, then `default`.
            on_name: is told each name of this worker before anything is delivered to it, so that whoever sees the
                process die can end its lease.
            on_started: is called once the worker takes runs.

        Raises:
            ConfigurationError: no URL, or a namespace that is no name.
        """
        self.app = app
        self.url = resolve_url(url)
        self.keys = Keys(resolve_namespace(namespace))
        self.config = config
        self._is_stopping = False
        self._state: WorkerState | None = None
        self._hurry: asyncio.Event | None = None
        self._on_name = on_name
        self._on_started = on_started

    async def run(self) -> None:
        """Returns after `stop`, once every run in hand has ended or is with another worker.

        Outages of the server are waited through. Call it once.

        Raises:
            StartRefused: the server can't be worked with as it is; nothing was started.
            ServerError: it could not be reached at the start.
        """
        state = self._state = WorkerState(self.app, self.keys, self.url, self.config, self._on_name)
        self._hurry = asyncio.Event()
        if self._is_stopping:
            state.stopping.set()
        try:
            await preflight.check(state)
            await state.register()
            await _Running(state, self._hurry).run_until_stopped(self._on_started)
        finally:
            await asyncio.shield(state.commands.close())

    def stop(self) -> None:
        """No new runs are taken; those in hand have `grace_s` to end. To be called on the worker's event loop."""
        self._is_stopping = True
        if self._state is not None:
            self._state.stopping.set()

    def stop_now(self) -> None:
        """Runs in hand are told to end and are released without further grace."""
        self.stop()
        if self._hurry is not None:
            self._hurry.set()

    @property
    def name(self) -> str | None:
        """The worker's name of the moment; a new one at each start and after each fencing."""
        return self._state.name if self._state else None


class _Running:
    """One run of a worker, from its registration to its leave."""

    def __init__(self, state: WorkerState, hurry: asyncio.Event) -> None:
        self._state = state
        self._hurry = hurry
        self._hand = Hand(state.config.concurrency)
        self._settler = Settler(state, self._hand)
        self._dispatcher = Dispatcher(state)
        self._executor = Executor(state, self._hand, self._settler, self._dispatcher.has_live)
        self._fetcher = Fetcher(state, self._hand, self._executor, self._settler, LastLife(state, self._hand))
        self._lease = Lease(state, self._on_lease_answer, self._wanted_seats)
        self._promoter = Promoter(state, self._lease.renew_now)
        self._rescuer = Rescuer(state)
        self._readers = (self._fetcher.reader, self._dispatcher.reader, self._promoter.reader)
        self._settled_all = asyncio.Event()
        self._renaming: asyncio.Task[None] | None = None

    async def run_until_stopped(self, on_started: Callable[[], None] | None) -> None:
        loops: dict[str, Loop] = {
            "fetcher": self._fetcher,
            "dispatcher": self._dispatcher,
            "promoter": self._promoter,
            "rescuer": self._rescuer,
        }
        stopping = self._state.stopping
        self._lease.start()
        working = [
            asyncio.ensure_future(run_loop(name, loop, stopping.is_set, stopping)) for name, loop in loops.items()
        ]
        settling = asyncio.ensure_future(
            run_loop("settler", self._settler, self._settled_all.is_set, self._settled_all)
        )
        try:
            await self._run_until_stopped(on_started, working, settling)
        finally:  # where the stop itself is broken off, the lease must not hold what nobody works on
            self._lease.end()
            self._executor.end_all("released")
            await asyncio.shield(self._close([*working, settling]))

    async def _close(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._dispatcher.break_off()
        await self._executor.close()
        for reader in self._readers:
            await reader.close()

    async def _run_until_stopped(
        self, on_started: Callable[[], None] | None, working: list[asyncio.Task[None]], settling: asyncio.Task[None]
    ) -> None:
        state = self._state
        log.info(
            "worker started", worker=state.name, app=state.app.name, namespace=state.keys.namespace,
            queues=[queue.name for queue in state.queues], concurrency=state.config.concurrency,
        )  # fmt: skip
        if on_started is not None:
            on_started()
        canceled = False
        try:
            await state.stopping.wait()
        except asyncio.CancelledError:  # whoever runs the worker gives up on it: it stops in order all the same
            canceled = True
            if (task := asyncio.current_task()) is not None:
                task.uncancel()  # or timeouts within the stop would be taken for this cancellation
            self._hurry.set()
            state.stopping.set()
        log.info("worker stops", worker=state.name, in_hand=len(self._hand.held))
        self._lease.renew_now()
        await self._end_reads(working)
        await self._drain()
        await self._end_settling(settling)
        await self._leave()
        log.info("worker stopped", worker=state.name)
        if canceled:
            raise asyncio.CancelledError

    def _on_lease_answer(self, name: str, answer: Answer) -> None:
        state = self._state
        if name != state.name or not state.is_registered.is_set():
            return
        if isinstance(answer, Fenced):
            self._drop_everything()
            return
        for right, is_held in ((state.is_leader, answer.is_leader), (state.has_seat, answer.has_seat)):
            if is_held:
                right.set()
            else:
                right.clear()
        if not answer.is_leader:
            self._promoter.forget()
        self._dispatcher.note_version(answer.version)
        self._rescuer.tell(answer.dead, answer.lapsed)
        state.renewed.set()

    def _drop_everything(self) -> None:
        """The name is fenced: its runs are others' now. They are dropped, and the worker goes on under a new name."""
        state = self._state
        log.warning("worker was taken for dead and drops its runs", worker=state.name, in_hand=len(self._hand.held))
        state.take_new_name()
        self._executor.end_all("released")
        self._renaming = asyncio.ensure_future(self._register_again())

    async def _register_again(self) -> None:
        for reader in self._readers:
            await reader.end()
        while not self._state.stopping.is_set():
            try:
                await self._state.register()
            except HeadraceError as exc:
                log.warning("can't register under a new name yet", error=str(exc))
                await asyncio.sleep(0.2)
                continue
            log.info("worker goes on under a new name", worker=self._state.name)
            self._lease.renew_now()
            return

    def _wanted_seats(self) -> int:
        return 0 if self._dispatcher.is_too_old or self._state.stopping.is_set() else self._state.config.seats

    async def _end_reads(self, working: list[asyncio.Task[None]]) -> None:
        """Nothing new is read: open reads are ended through the server, and what they gave is kept."""
        self._hand.poke()
        self._rescuer.stop()
        left = set(working)
        while left:
            for reader in self._readers:
                await reader.end()
            _, left = await asyncio.wait(left, timeout=0.1)
        if self._renaming is not None:
            await self._renaming

    async def _drain(self) -> None:
        """Runs in hand end by themselves within the grace, or are told to."""
        deadline = time.monotonic() + self._state.config.grace_s
        await self._wait_empty_hand(lambda: time.monotonic() >= deadline or self._hurry.is_set())
        if self._hand.held:
            log.warning("grace is over: runs are released to other workers", runs=len(self._hand.held))
            self._executor.end_all("released")
            deadline = time.monotonic() + IGNORED_CANCEL_S + 0.5
            await self._wait_empty_hand(lambda: time.monotonic() >= deadline)

    async def _wait_empty_hand(self, is_over: Callable[[], bool]) -> None:
        while self._hand.held and not is_over():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hand.wait_change(), 0.1)

    async def _end_settling(self, settling: asyncio.Task[None]) -> None:
        deadline = time.monotonic() + _LAST_WRITES_S
        while not self._settler.is_idle and time.monotonic() < deadline:  # noqa: ASYNC110 - outcomes still come in
            await asyncio.sleep(0.01)
        if not self._settler.is_idle:
            log.error("last outcomes could not be recorded; their runs go to other workers")
        self._settled_all.set()
        self._settler.stop()
        await asyncio.wait([settling], timeout=_LAST_WRITES_S)

    async def _leave(self) -> None:
        """What is still in this worker's hands goes back, and its name is forgotten; else its lease runs out."""
        backoff = Backoff(_LAST_ATTEMPTS)
        for failures in range(1, backoff.attempts + 1):
            try:
                await self._give_everything_back()
                break
            except HeadraceError as exc:
                if failures == backoff.attempts:
                    log.warning("could not leave in order; others take over when the lease ends", error=str(exc))
                else:
                    await asyncio.sleep(backoff.delay_s(failures))
        await self._lease.stop()

    async def _give_everything_back(self) -> None:
        state = self._state
        await self._fetcher.end()
        await self._dispatcher.end()
        for queue in state.queues:
            await self._release(queue)
        queues = [queue.key for queue in state.queues]
        await self._lease.stop()
        await state.commands.run([protocol.leave(state.keys, state.name, state.app.name, queues, dead=False)])

    async def _release(self, stream: Stream) -> None:
        state = self._state
        async for page in own_entries(state, stream.group, stream.key, state.name):
            await state.commands.run([protocol.release(stream, self._fetcher.described(stream, page))])
