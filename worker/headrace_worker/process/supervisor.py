"""Keeps worker processes going: starts them, replaces dead ones, and stops them all.

The supervisor imports no app and touches no run. On the server it does one thing: it ends a dead child's leases at
once. No failure of one child, its leases, the log or the metrics stops the other children.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from headrace.formats.partitions import Partitions
from headrace_worker.logs.logger import get_logger
from headrace_worker.process.child import Child, describe_end
from headrace_worker.tasks.restarting import call_on_loop, start_task
from headrace_worker.tasks.signals import ignore_stop_signals, receive_wishes

log = get_logger("headrace.supervisor")

FAILED, MISCONFIGURED = 1, 2
"""Exit codes of a child, and of the supervisor that gives up on it: a failure; a wrong configuration."""

_LONG_LIFE_S = 10.0
"""A child that dies after this time is replaced at once; the pause grows for children that die sooner."""
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0
_MAX_FAILED_STARTS = 5
_LONG_START_S = 10.0
"""A child whose start takes longer is reported: then, and each time that three times as long has passed."""
_LONGEST_SILENCE_S = 600.0
_FIRST_ALONE_S = 30.0
"""How long the first child may start alone, so that a fault is reported once."""
_END_LEASES_S = 10.0


class Hooks(Protocol):
    """What else to do for the processes of a supervisor; an exception is logged, and changes nothing."""

    @property
    def env(self) -> Mapping[str, str]:
        """Variables of the processes' environment beside the supervisor's."""

    def before_start(self) -> None:
        """Prepare the start of a process."""

    def after_end(self, pid: int) -> None:
        """Clean up after a process that has ended."""


class Supervisor:
    """Runs a number of processes of the same command until a signal stops it."""

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        *,
        url: str,
        partitions: Partitions,
        hooks: Hooks | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            command: starts one worker process.
            processes: how many processes to run.
            url: of the server on which to end the leases of dead children.
            partitions: of the namespace in which the leases are.
            hooks: what else to do for the processes.
        """
        self._command = command
        self._processes = processes
        self._url = url
        self._partitions = partitions
        self._hooks = hooks
        self._slots: list[_Slot] = []
        self._wishes = 0
        self._stopping = asyncio.Event()
        self._has_started = False
        self._first_is_over = asyncio.Event()
        self._exit_code = 0

    async def run(self) -> int:
        """Run until a signal to stop or until giving up; return an exit code once every child has ended.

        0: every child has stopped in order. 1: one had to be killed, or no child has ever started in five attempts.
        2: no child has ever started, and one reports that its configuration is at fault. After one child has started,
        children that fail to start are restarted indefinitely; the rest keep working.
        """
        loop = asyncio.get_running_loop()
        receive_wishes(lambda wish: call_on_loop(loop, self._obey, wish))
        keeping = [self._open_slot()]
        await _wait(self._first_is_over, _FIRST_ALONE_S)
        if not self._stopping.is_set():
            keeping += [self._open_slot() for _ in range(self._processes - 1)]
        await asyncio.wait(keeping)
        ignore_stop_signals()
        return self._exit_code

    def _open_slot(self) -> asyncio.Task[None]:
        slot = _Slot()
        self._slots.append(slot)
        return start_task("supervisor", lambda: self._keep(slot))

    def _obey(self, wish: int) -> None:
        """Stop the children at the first wish, hurry them at the second, end them at the third."""
        self._wishes = wish
        self._stopping.set()
        self._first_is_over.set()
        for slot in self._slots:
            slot.obey(wish)

    async def _keep(self, slot: _Slot) -> None:
        """Keep one child alive in a slot, replacing dead ones, until the supervisor stops."""
        while slot.child is not None or not self._stopping.is_set():
            if slot.child is None:
                await self._start(slot)
            if slot.child is not None:
                await self._wait_for_start(slot.child)
                await self._wait_for_end(slot, slot.child)

    async def _start(self, slot: _Slot) -> None:
        """Start a child in a slot; if the start fails, return after the pause before the next attempt."""
        env = None
        if self._hooks is not None:
            self._call_hook(self._hooks.before_start)
            env = self._hooks.env
        try:
            slot.child = await Child.start(self._command, env=env)
        except Exception as exc:  # noqa: BLE001 - no program, no room, no thread: the start is tried again
            slot.note_end(0.0, has_started=False)
            await self._prepare_next(slot, error=_text_of(exc))
            return
        for wish in range(1, self._wishes + 1):  # wishes that came during the start
            slot.obey(wish)

    async def _wait_for_start(self, child: Child) -> None:
        """Return when the child takes runs or has ended; log a start that takes long."""
        silence_s = _LONG_START_S
        while not await _wait(child.started_or_ended, silence_s):
            lived_s = round(_now() - child.born_at)
            log.warning(
                "worker process has not started yet: it may hang in its imports or its lifespan",
                pid=child.pid,
                for_s=lived_s,
            )
            silence_s = min(3 * silence_s, _LONGEST_SILENCE_S)
        self._note_start(child)

    async def _wait_for_end(self, slot: _Slot, child: Child) -> None:
        """Return when the child and its leases have ended and the pause before the next child is over."""
        code = await child.wait()
        slot.child = None
        slot.note_end(_now() - child.born_at, has_started=child.report.has_started)
        self._note_start(child)
        if self._hooks is not None:
            self._call_hook(self._hooks.after_end, child.pid)
        if code != 0 and self._stopping.is_set() and child.report.has_started:
            self._exit_code = self._exit_code or FAILED
        if code != 0 or not self._stopping.is_set():  # with exit code 0 too, as a job may end its process so
            await self._end_leases(child)
        if not self._stopping.is_set():
            is_misconfigured = code == MISCONFIGURED
            await self._prepare_next(slot, is_misconfigured=is_misconfigured, pid=child.pid, ended=describe_end(code))

    def _note_start(self, child: Child) -> None:
        if child.report.has_started:
            self._has_started = True
            self._first_is_over.set()

    async def _end_leases(self, child: Child) -> None:
        try:
            async with asyncio.timeout(_END_LEASES_S):
                await child.end_leases(self._url, self._partitions)
        except Exception as exc:  # noqa: BLE001 - the child has to be replaced in any case
            log.warning("its lease can't be ended, and will run out by itself", pid=child.pid, error=_text_of(exc))

    async def _prepare_next(self, slot: _Slot, *, is_misconfigured: bool = False, **what: Any) -> None:
        """Return after the pause before the next child of a slot; give up instead if no child has ever started."""
        if not self._has_started and (is_misconfigured or slot.failed_starts >= _MAX_FAILED_STARTS):
            log.error("worker process can't start, giving up", **what)
            self._exit_code = MISCONFIGURED if is_misconfigured else FAILED
            self._obey(max(self._wishes, 1))
            return
        delay_s = replacement_delay_s(slot.short_lives)
        happened = "worker process ended and is replaced" if "ended" in what else "worker process can't be started yet"
        log.warning(happened, **what, in_s=delay_s)
        await _wait(self._stopping, delay_s)

    def _call_hook(self, hook: Callable[..., object], *args: object) -> None:
        try:
            hook(*args)
        except Exception as exc:  # noqa: BLE001 - a hook must not stop the children
            log.warning("what is done beside the worker processes failed", error=_text_of(exc))


class _Slot:
    """Room for one child at a time."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self.short_lives = 0
        self.failed_starts = 0

    def obey(self, wish: int) -> None:
        """Do to the child what the operator's wish of that number means."""
        if self.child is not None:
            (self.child.request_stop, self.child.hurry, self.child.kill)[min(wish, 3) - 1]()

    def note_end(self, lived_s: float, *, has_started: bool) -> None:
        """Count lives that were short, and starts that failed, in a row."""
        self.short_lives = 0 if lived_s >= _LONG_LIFE_S else self.short_lives + 1
        self.failed_starts = 0 if has_started else self.failed_starts + 1


def replacement_delay_s(short_lives: int) -> float:
    """Return the pause before the next child, after so many short lives in a row; no pause after a single one."""
    return 0 if short_lives < 2 else min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(short_lives - 2, 10))


async def _wait(event: asyncio.Event, timeout_s: float) -> bool:
    """Return true as soon as the event is set, false when the time is over."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)
    return event.is_set()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _text_of(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
