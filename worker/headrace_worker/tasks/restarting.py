"""Starts tasks and threads beside a worker: of a supervisor, of the control channel, of metrics.

Work that returns is over. Work that raises is logged and started again after a pause, whatever it raises. Inside a
worker use `guard`: what ends there for good ends the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from headrace_worker.logs.logger import get_logger
from headrace_worker.tasks.guard import is_end

log = get_logger("headrace.process")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


def start_task(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Start work on the running event loop; cancel the task to end it."""
    return asyncio.ensure_future(_repeat_in_task(name, work))


def start_thread(name: str, work: Callable[[], None]) -> None:
    """Start work in a daemon thread.

    Raises:
        RuntimeError: the system has no thread left.
    """
    threading.Thread(target=_repeat_in_thread, args=(name, work), name=name, daemon=True).start()


def call_on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> None:
    """Let the event loop call a function soon, from any thread or signal handler; do nothing if the loop is closed."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)


async def _repeat_in_task(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    failures = _Failures(name)
    while True:
        try:
            return await work()
        except BaseException as exc:
            if is_end(exc):
                raise
            pause_s = failures.add(exc)
        await asyncio.sleep(pause_s)


def _repeat_in_thread(name: str, work: Callable[[], None]) -> None:
    failures = _Failures(name)
    while True:
        try:
            return work()
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the work goes on
            pause_s = failures.add(exc)
        time.sleep(pause_s)


class _Failures:
    """Counts the failures of one part of the process."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._count = 0

    def add(self, exc: BaseException) -> float:
        """Log a failure, and return how long to wait before the part is started again."""
        self._count += 1
        log.error("part of the process failed, starting it again", part=self._part, failures=self._count, exc_info=exc)
        return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._count - 1, 10))
