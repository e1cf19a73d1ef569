"""Starts the tasks, timers, callbacks and threads of a worker; nothing else in a worker starts any.

Every end is caught here, whatever was raised. A callback that failed is called again. A part that has ended for good
breaks the guard, and the `watch` ends the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from headrace_worker.current_run import current_run
from headrace_worker.logs.logger import get_logger

log = get_logger("headrace.worker")

T = TypeVar("T")
F = TypeVar("F", bound=asyncio.Future[Any])

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_MOST_FAILURES = 9
"""Calls of one callback that may fail in a row, about five seconds long: memory can be short for a while."""
_EAGERLY: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class OwnTask(asyncio.Task[T]):
    """A task of the worker's own, which the code of a job can't cancel.

    A job that cancels "all tasks but its own", as many recipes for a clean end do, means the tasks of its program and
    not those of the worker that executes it.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the task; refuse a request that comes from a run, and return False."""
        return current_run.get() is None and super().cancel(msg)


class _LastingTask(OwnTask[T]):
    """A task that can't be cancelled: it ends with its work."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002 - as `Task` has it
        """Refuse the cancellation."""
        return False


class _RunTask(asyncio.Task[None]):
    """The task of one run. It begins even if cancelled before: a task that never began would have no outcome."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the task, once it has begun."""
        if inspect.getcoroutinestate(self.get_coro()) == inspect.CORO_CREATED:  # type: ignore[arg-type]
            self.get_loop().call_soon(super().cancel, msg)
            return True
        return super().cancel(msg)


def own_task(work: Coroutine[Any, Any, T], *, eagerly: bool = False) -> asyncio.Task[T]:
    """Start a task whose result or exception the caller awaits.

    Args:
        eagerly: start the work at once, where Python can: work that never waits costs no turn of the event loop.
    """
    return OwnTask(work, loop=asyncio.get_running_loop(), **(_EAGERLY if eagerly else {}))


def lasting_task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start the task of a worker that is alone in its process: only a stop or a fault ends the task.

    The work has a task of its own: a timeout cancels the task that waits, which a lasting task would refuse.
    """
    return _LastingTask(_result_of(own_task(work)), loop=asyncio.get_running_loop())


async def _result_of(task: asyncio.Task[T]) -> T:
    await asyncio.wait([task])
    return task.result()


def run_task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start the task of one run, at once where Python can. The job may cancel the task like any of its own."""
    return _RunTask(work, loop=asyncio.get_running_loop(), **_EAGERLY)


def is_end(exc: BaseException) -> bool:
    """Return whether an exception ends this task as requested; if not, it is a failure inside the task."""
    if isinstance(exc, GeneratorExit):  # the event loop is gone, and this coroutine with it
        return True
    task = asyncio.current_task() if isinstance(exc, asyncio.CancelledError) else None
    return task is not None and task.cancelling() > 0


def describe(exc: BaseException) -> str:
    """Return type and message of an exception, as far as its own code lets it be described."""
    try:
        return f"{type(exc).__name__}: {exc}"
    except BaseException:  # noqa: BLE001 - the exception's own code may raise anything
        return "an exception that can't be described"


class Guard:
    """Starts the parts of one worker, and notices their ends.

    Attributes:
        broken: which part has ended for good, and why; empty as long as none has.
    """

    def __init__(self, on_broken: Callable[[], None] | None = None) -> None:
        """Start nothing yet.

        Args:
            on_broken: is called when a part has ended for good, from the thread that has noticed.
        """
        self.broken = ""
        self.on_broken = on_broken

    def break_off(self, part: str, exc: BaseException | None = None) -> None:
        """Note that a part has ended for good; the first one counts."""
        if not self.broken:
            self.broken = f"{part} has ended" if exc is None else f"{part} has ended: {describe(exc)}"
        try:
            if self.on_broken is not None:
                self.on_broken()
        except BaseException as fault:
            log.exception("the end of a part of the worker can't be passed on", part=part, error=describe(fault))

    def part(self, name: str, work: Coroutine[Any, Any, None], may_end: Callable[[], bool]) -> asyncio.Task[None]:
        """Start work that must not end before `may_end`; an earlier end breaks the guard."""
        return own_task(self._watch_part(name, work, may_end))

    async def _watch_part(self, name: str, work: Coroutine[Any, Any, None], may_end: Callable[[], bool]) -> None:
        try:
            await work
        except BaseException as exc:
            if not may_end():
                self.break_off(name, exc)
            raise
        if not may_end():
            self.break_off(name)

    def detached(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start work that nothing awaits and nothing depends on; log its failure."""
        return own_task(_log_failure(name, work))

    def later(self, delay_s: float, call: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call a function after so many seconds; repeat a call that fails a little later.

        A call that fails for good, for about five seconds, breaks the guard.
        """
        return asyncio.get_running_loop().call_later(delay_s, self._call, 0, call, args)

    def from_thread(self, loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: Any) -> bool:
        """Call a function on the event loop, from any thread or a signal's handler, as `later` does.

        Return False if the loop is closed.

        Raises:
            RuntimeError: the loop did not take the call.
        """
        if loop.is_closed():
            return False
        try:
            loop.call_soon_threadsafe(self._call, 0, call, args)
        except RuntimeError:
            if loop.is_closed():
                return False
            raise
        return True

    def on_done(self, future: F, call: Callable[[F], object]) -> None:
        """Call a function once the future is done, as `later` does."""
        future.add_done_callback(functools.partial(self._call_with, call))

    def again(self, exc: BaseException, call: Callable[..., object], *args: Any) -> None:
        """Repeat a call that has just failed, as `later` does."""
        self._call_again(0, exc, call, args)

    def thread(self, name: str, run: Callable[[], None], *, is_vital: bool = True) -> threading.Thread:
        """Start a daemon thread; an exception that ends a vital one breaks the guard.

        Raises:
            RuntimeError: no thread can be started.
        """
        thread = threading.Thread(
            target=self._run_thread, args=(name, run, is_vital), name=f"headrace-{name}", daemon=True
        )
        thread.start()
        return thread

    def _run_thread(self, name: str, run: Callable[[], None], is_vital: bool) -> None:  # noqa: FBT001 - as `thread` has it
        try:
            run()
        except BaseException as exc:
            log.exception("a thread has ended", thread=name, error=describe(exc))
            if is_vital:
                self.break_off(f"the thread {name!r}", exc)

    def _call_with(self, call: Callable[[F], object], future: F) -> None:
        self._call(0, call, (future,))

    def _call(self, failures: int, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            call(*args)
        except BaseException as exc:
            self._call_again(failures, exc, call, args)
            if isinstance(exc, KeyboardInterrupt):
                raise

    def _call_again(self, failures: int, exc: BaseException, call: Callable[..., object], args: Any) -> None:
        name = getattr(call, "__qualname__", "a callback")
        if failures == 0:
            _log_call(name, exc)
        try:
            if failures + 1 < _MOST_FAILURES:
                pause_s = min(_FIRST_PAUSE_S * 2.0**failures, _LONGEST_PAUSE_S)
                asyncio.get_running_loop().call_later(pause_s, self._call, failures + 1, call, args)
                return
        except BaseException as fault:  # noqa: BLE001 - there is no memory even for a timer
            exc = fault
        self.break_off(name, exc)


def _log_call(name: str, exc: BaseException) -> None:
    with contextlib.suppress(BaseException):  # the call is repeated whether or not it can be logged
        log.error("a callback failed, and is called again", callback=name, exc_info=exc)


async def _log_failure(name: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("detached work has failed", work=name)
