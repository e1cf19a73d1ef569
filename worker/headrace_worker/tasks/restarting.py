"""Starts the tasks and threads that a process has beside its main work, so that none of them ends unnoticed.

Work that returns is over. Work that ends with an exception of any kind is logged and started again after a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from headrace_worker.logs.logger import get_logger

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
    failures = 0
    while True:
        try:
            return await work()
        except GeneratorExit:
            raise
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and _is_canceled():
                raise
            failures += 1
            _report(name, exc, failures)
        await asyncio.sleep(_pause_s(failures))


def _repeat_in_thread(name: str, work: Callable[[], None]) -> None:
    failures = 0
    while True:
        try:
            return work()
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the work goes on
            failures += 1
            _report(name, exc, failures)
        time.sleep(_pause_s(failures))


def _is_canceled() -> bool:
    """Return whether the task itself was canceled, and not only a future that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _report(name: str, exc: BaseException, failures: int) -> None:
    log.error("part of the process failed, starting it again", part=name, failures=failures, exc_info=exc)


def _pause_s(failures: int) -> float:
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
