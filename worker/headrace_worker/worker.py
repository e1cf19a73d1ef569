"""A worker: one executor and its slots for all partitions of a namespace, from its start to its stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headrace.settings import resolve, resolve_url
from headrace_worker import preflight
from headrace_worker.app import App
from headrace_worker.config import WorkerConfig
from headrace_worker.dispatcher import Dispatcher
from headrace_worker.executor import IGNORED_CANCEL_S, Executor
from headrace_worker.hand import Hand
from headrace_worker.partition import Partition
from headrace_worker.safe_logging import get_logger
from headrace_worker.settler import Settler
from headrace_worker.state import WorkerState, new_name

if TYPE_CHECKING:
    from headrace_worker.metrics import Metrics  # with an extra only

log = get_logger("headrace.worker")


class Worker:
    """Executes the runs of one app, and takes its turn in dispatching, promoting and rescuing for all."""

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
        metrics: Metrics | None = None,
    ) -> None:
        """The worker is ready to run; nothing is connected yet.

        Args:
            app: whose jobs to execute.
            url: `redis://`, `rediss://` or `unix://`; `redis+sentinel://` with a service's sentinels and name;
                `redis+cluster://` with the addresses of some of its nodes; HEADRACE_URL if None.
            namespace: HEADRACE_NAMESPACE if None, then `default`.
            partitions: into how many the namespace is divided; HEADRACE_PARTITIONS if None, then 1. The worker serves
                all of them.
            on_name: is told each name of this worker before anything is delivered to it, so that whoever sees the
                process die can end its lease.
            on_started: is called once the worker takes runs.
            metrics: counts what it does; several workers of a process may share them.

        Raises:
            ConfigurationError: no URL, a namespace that is no name, or no number of partitions.
        """
        self.app = app
        self.url = resolve_url(url)
        self.partitions = resolve(namespace, partitions)
        self.config = config
        self._is_stopping = False
        self._states: list[WorkerState] = []
        self._hurry: asyncio.Event | None = None
        self._on_name = on_name
        self._on_started = on_started
        self._metrics = metrics

    async def run(self) -> None:
        """Returns after `stop`, once every run in hand has ended or is with another worker.

        Outages of the server are waited through. Call it once.

        Raises:
            StartRefused: the server can't be worked with as it is; nothing was started.
            ConfigurationError: the namespace has another number of partitions; nothing was started.
            ServerError: it could not be reached at the start.
        """
        name = new_name()
        self._states = [
            WorkerState(self.app, self.partitions, self.url, self.config, self._on_name, partition=number)
            for number in range(len(self.partitions))
        ]
        for state in self._states:
            state.name = name
        self._hurry = asyncio.Event()
        if self._is_stopping:
            self.stop()
        try:
            for state in self._states:
                await preflight.check(state)
            for state in self._states:
                await state.register()
            await _Running(self._states, self._hurry, self._metrics).run_until_stopped(self._on_started)
        finally:
            for state in self._states:
                await asyncio.shield(state.commands.close())

    def stop(self) -> None:
        """No new runs are taken; those in hand have `grace_s` to end. To be called on the worker's event loop."""
        self._is_stopping = True
        for state in self._states:
            state.stopping.set()

    def stop_now(self) -> None:
        """Runs in hand are told to end and are released without further grace."""
        self.stop()
        if self._hurry is not None:
            self._hurry.set()

    @property
    def name(self) -> str | None:
        """The worker's name of the moment, in partition 0; a new one at each start and after each fencing."""
        return self._states[0].name if self._states else None


class _Running:
    """One run of a worker, from its registration to its leave."""

    def __init__(self, states: Sequence[WorkerState], hurry: asyncio.Event, metrics: Metrics | None) -> None:
        self._states = states
        self._state = state = states[0]
        self._hurry = hurry
        self._hand = hand = Hand(state.config.concurrency)
        if metrics is not None:
            for each in states:
                each.observer = metrics.watch(each, hand)
        settlers = [Settler(each, hand) for each in states]
        dispatchers = [Dispatcher(each) for each in states]
        self._executor = executor = Executor(state, hand, settlers, dispatchers[0].has_live)
        self._partitions = [
            Partition(each, hand, settler, dispatcher, executor)
            for each, settler, dispatcher in zip(states, settlers, dispatchers, strict=True)
        ]

    async def run_until_stopped(self, on_started: Callable[[], None] | None) -> None:
        for partition in self._partitions:
            partition.start()
        try:
            await self._run_until_stopped(on_started)
        finally:  # where the stop itself is broken off, the leases must not hold what nobody works on
            for partition in self._partitions:
                partition.end_lease()
            self._executor.end_all("released")
            await asyncio.shield(self._close())

    async def _close(self) -> None:
        await asyncio.gather(*(partition.close() for partition in self._partitions))
        await self._executor.close()

    async def _run_until_stopped(self, on_started: Callable[[], None] | None) -> None:
        state = self._state
        log.info(
            "worker started", worker=state.name, app=state.app.name, namespace=state.keys.namespace,
            queues=[queue.name for queue in state.queues], concurrency=state.config.concurrency,
            **({"partitions": len(self._states)} if len(self._states) > 1 else {}),
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
            for each in self._states:
                each.stopping.set()
        log.info("worker stops", worker=state.name, in_hand=len(self._hand.held))
        await asyncio.gather(*(partition.end_reads() for partition in self._partitions))
        await self._drain()
        await asyncio.gather(*(partition.leave() for partition in self._partitions))
        log.info("worker stopped", worker=state.name)
        if canceled:
            raise asyncio.CancelledError

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
