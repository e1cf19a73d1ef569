"""Keeps worker processes going: starts them, replaces those that died, and stops them all.

It imports no app and touches no run. What it does on the server is one thing: a dead child's lease ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence

from headrace import HeadraceError
from headrace.partitions import Partitions
from headrace_worker.child import Child, describe_end
from headrace_worker.safe_logging import get_logger
from headrace_worker.signals import hear_stop_signals, ignore_stop_signals

log = get_logger("headrace.supervisor")

FAILED, MISCONFIGURED = 1, 2
"""Exit codes of a child, and of the supervisor that gives up on it: it could not do it; it was told wrong."""

_LONG_LIFE_S = 10.0
"""A child that lived this long and died is replaced at once; those that die sooner wait longer and longer."""
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0
_MAX_FAILED_STARTS = 5


class Supervisor:
    """Runs a number of processes of the same command until it is told to stop."""

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        *,
        url: str,
        partitions: Partitions,
        env: Mapping[str, str] | None = None,
        on_end: Callable[[int], None] | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            command: that of one worker process.
            processes: how many of it.
            url: the server's, where the leases of children that died are ended.
            partitions: those of the namespace in which the leases are.
            env: what the processes' environment has beside this one's.
            on_end: is told the pid of each process that has ended.
        """
        self._command = command
        self._processes = processes
        self._url = url
        self._partitions = partitions
        self._env = env
        self._on_end = on_end
        self._children: set[Child] = set()
        self._signals: list[int] = []
        self._stopping = asyncio.Event()
        self._has_ever_started = False
        self._exit_code = 0

    async def run(self) -> int:
        """Returns how it went as an exit code, after SIGTERM or SIGINT or when it gives up, once every child has ended.

        0: every child has stopped in order. 1: one had to be killed, or children die again and again and none has ever
        started. 2: a child says that its configuration is at fault. Once one has started, those that die as they start,
        in an outage of the server as may be, are replaced for as long as it takes, and the others work on.
        """
        loop = asyncio.get_running_loop()
        hear_stop_signals(lambda number: loop.call_soon_threadsafe(self._pass_on, number))
        first = await self._start()
        await first.started_or_ended.wait()  # alone, so that what is wrong is said once
        async with asyncio.TaskGroup() as slots:
            slots.create_task(self._keep(first))
            for _ in range(self._processes - 1):
                slots.create_task(self._keep(None))
        ignore_stop_signals()
        return self._exit_code

    def _pass_on(self, number: int) -> None:
        """The first signal stops the children, the second hurries them, the third ends them."""
        self._signals.append(number)
        self._stopping.set()
        for child in self._children:
            child.send_signal(number if len(self._signals) < 3 else signal.SIGKILL)

    async def _start(self) -> Child:
        child = await Child.start(self._command, env=self._env)
        self._children.add(child)
        for number in self._signals:  # those that came while it was being started
            child.send_signal(number)
        return child

    async def _keep(self, child: Child | None) -> None:
        """One child after the other lives here, until there shall be none."""
        short_lives = failed_starts = 0
        while child is not None or not self._stopping.is_set():
            child = child or await self._start()
            lived_s = await self._wait_for_end(child)
            if self._stopping.is_set():
                return
            short_lives = 0 if lived_s >= _LONG_LIFE_S else short_lives + 1
            failed_starts = 0 if child.heard.has_started else failed_starts + 1
            if child.returncode == MISCONFIGURED:
                self._give_up(MISCONFIGURED, child)
            elif failed_starts >= _MAX_FAILED_STARTS and not self._has_ever_started:
                self._give_up(FAILED, child)
            else:
                await self._pause(replacement_delay_s(short_lives), child)
            child = None

    async def _wait_for_end(self, child: Child) -> float:
        """Returns the seconds that the child has lived when it has ended, and its leases with it."""
        code = await child.wait()
        lived_s = asyncio.get_running_loop().time() - child.born_at
        self._children.discard(child)
        self._has_ever_started |= any(each.heard.has_started for each in (child, *self._children))
        if self._on_end is not None:
            self._on_end(child.pid)
        if code != 0:
            if self._stopping.is_set() and child.heard.has_started:
                self._exit_code = self._exit_code or FAILED
            try:
                await child.end_leases(self._url, self._partitions)
            except HeadraceError as exc:
                log.warning("its lease can't be ended, and will run out by itself", pid=child.pid, error=str(exc))
        return lived_s

    async def _pause(self, delay_s: float, child: Child) -> None:
        ended = describe_end(child.returncode)
        log.warning("worker process ended and is replaced", pid=child.pid, ended=ended, in_s=delay_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)

    def _give_up(self, exit_code: int, child: Child) -> None:
        ended = describe_end(child.returncode)
        log.error("worker process can't start, giving up", pid=child.pid, ended=ended)
        self._exit_code = exit_code
        self._pass_on(signal.SIGTERM)


def replacement_delay_s(short_lives: int) -> float:
    """Returns how long to wait before the next child, after so many in a row that died young: not at all after one."""
    return 0 if short_lives < 2 else min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(short_lives - 2, 10))
