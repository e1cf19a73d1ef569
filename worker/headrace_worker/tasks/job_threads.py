"""Threads for plain functions: each call has its own thread while it lasts, and is made once or not at all.

Not `ThreadPoolExecutor`. Where no thread can be started, it raises and still calls the function later. It never
replaces a thread that an exception from outside has ended. At its end Python waits for functions that never return.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from headrace_worker.tasks.forks import fork
from headrace_worker.tasks.guard import Guard

_RETRY_S = 0.05


class NoThread(Exception):
    """No thread can be started now; the function was not called and will not be."""


class ThreadCall:
    """One call of a function in a thread.

    Attributes:
        context: a copy of the caller's, in which the function executes.
        outcome: what the function returns or raises; to be awaited on the event loop.
        is_done: the function has returned, and the event loop knows of it.
        on_done: is called on the event loop then, if it is set.
    """

    __slots__ = ("_error", "_function", "_result", "context", "is_done", "on_done", "outcome")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.context = contextvars.copy_context()
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self.is_done = False
        self.on_done: Callable[[], object] | None = None
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def run(self) -> None:
        """Call the function, in the thread; an exception is its outcome, too."""
        try:
            self._result = self.context.run(self._function)
        except BaseException as exc:  # noqa: BLE001 - `finish` passes it on to the caller
            self._error = exc
        if fork.is_child:
            fork.end(self._error)

    def interrupt(self, exc: BaseException) -> None:
        """Take as outcome an exception that another thread has raised here after the function's end."""
        if self._error is None:
            self._error = exc

    def finish(self) -> None:
        """Pass the outcome on, on the event loop."""
        if not self.outcome.done():
            if self._error is None:
                self.outcome.set_result(self._result)
            else:
                self.outcome.set_exception(self._error)
                self.outcome.exception()  # or asyncio would complain if the outcome is awaited no more
        self._result = self._error = None
        if self.on_done is not None:
            self.on_done()
        self.is_done = True


class JobThreads:
    """Starts as many threads as there are calls at once, and keeps the threads for later calls.

    Attributes:
        busy: how many functions execute.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Thread] = []
        self._is_over = False
        self.busy = 0

    def call(self, function: Callable[[], Any]) -> ThreadCall:
        """Call a function in a thread, in a copy of the context here.

        Raises:
            NoThread: none can be started.
        """
        call = ThreadCall(function)
        thread = self._idle.pop() if self._idle else self._new_thread()
        self.busy += 1
        thread.hand_over(call)
        return call

    def close(self) -> None:
        """Let idle threads end; those that execute a function end after it."""
        self._is_over = True
        while self._idle:
            self._idle.pop().hand_over(None)

    def _new_thread(self) -> _Thread:
        thread = _Thread(self._done)
        try:
            self._guard.thread("job", thread.run, is_vital=False)
        except (RuntimeError, MemoryError) as exc:
            thread.hand_over(None)  # ends the thread if it has started after all
            raise NoThread(str(exc) or "no memory for a thread") from exc
        return thread

    def _done(self, thread: _Thread, call: ThreadCall) -> None:
        """Pass an outcome to the event loop, from the thread; retry while there is no memory for that."""
        while True:
            try:
                self._guard.from_thread(self._loop, self._finish, thread, call)
            except BaseException:  # noqa: BLE001 - until it is passed on, or the event loop is closed
                time.sleep(_RETRY_S)
            else:
                return

    def _finish(self, thread: _Thread, call: ThreadCall) -> None:
        if call.is_done:  # passed on twice, as an exception interrupted the thread
            return
        call.finish()
        self.busy -= 1
        if self._is_over:
            thread.hand_over(None)
        else:
            self._idle.append(thread)


class _Thread:
    """One thread: waits for a call, executes it, and reports its end.

    Time limits for threads raise an exception inside a thread from outside, perhaps after the function's end. So an
    exception at any place in this class must neither end the thread nor lose a call.
    """

    def __init__(self, on_done: Callable[[_Thread, ThreadCall], None]) -> None:
        self._on_done = on_done
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._call: ThreadCall | None = None
        self._ended: ThreadCall | None = None
        self._has_run = False
        self._is_over = False

    def hand_over(self, call: ThreadCall | None) -> None:
        """Give the thread, which is idle, its next call; None ends it."""
        self._is_over = call is None
        self._has_run = False
        self._call = call
        self._wake.put(None)

    def run(self) -> None:
        """Execute calls until `hand_over` passes None."""
        while not self._is_over:
            try:
                self._run()
            except BaseException:  # noqa: BLE001, S112 - came between two steps, and was meant for neither
                continue

    def _run(self) -> None:
        while not self._is_over:
            try:
                if self._ended is None and self._call is None:
                    self._wake.get()
                self._execute()
            except BaseException as exc:  # noqa: BLE001 - meant for a function that has ended
                if (call := self._call) is not None and self._has_run:
                    call.interrupt(exc)

    def _execute(self) -> None:
        """Execute the present call; do not repeat steps that were done before an interruption."""
        if (call := self._call) is not None:
            if not self._has_run:
                self._has_run = True
                call.run()
            self._ended = call
            self._call = None
        if self._ended is not None:
            self._on_done(self, self._ended)
            self._ended = None
