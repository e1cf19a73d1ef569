"""Runs a worker as this process: only signals stop it in order, and a stop is bounded in time.

The event loop goes on whatever a job does to it: stops the loop, or ends a task with SystemExit. A worker that does
not work ends the process with exit code 70 (`watch`).
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import functools
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

from headrace_worker.clock import monotonic
from headrace_worker.current_run import current_run
from headrace_worker.logs.logger import flush, get_logger, write_directly
from headrace_worker.logs.sinks import descriptor_without_waits
from headrace_worker.process.control_channel import ControlChannel
from headrace_worker.startup.lifespan import CLOSE_S
from headrace_worker.tasks.forks import fork
from headrace_worker.tasks.guard import Guard, describe, lasting_task
from headrace_worker.tasks.job_threads import JobThreads, NoThread
from headrace_worker.tasks.signals import end_process, ignore_stop_signals, receive_stop_signals, receive_wishes
from headrace_worker.worker import Worker

log = get_logger("headrace.worker")

R = TypeVar("R")

FAILED, BROKEN = 1, 70
"""Exit codes: the worker has ended without a stop; the worker did not work any more (EX_SOFTWARE)."""
_LAST_MOMENT_S = 0.5
"""How long functions that still execute at the worker's end get to end, too."""
_LONGEST_EXIT_S = 5.0
"""How long Python's exit may take: it joins the app's threads, and calls functions registered with `atexit`."""
_LONGEST_CLOSING_S = CLOSE_S + 2 * _LONGEST_EXIT_S
"""How long the app's lifespan may take to close, with what comes after it, even if it blocks the event loop."""
_LONGEST_END_S = 15.0
"""How long the process may take from its worker's end to its own end, whatever goes wrong."""
_STDERR = 2
_LAST_LINES_S = 0.5
_SAME_LINE_S = 1.0
_SILENCE_S = 15.0
"""Seconds beyond a worker's own limit for which even the lease's thread may stand still, as in a call that blocks all
threads."""


def run_as_process(worker: Worker, channel: ControlChannel | None = None) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP has stopped the worker; a second one hurries it, a third ends the process.

    With a channel to a supervisor, signals only stop the worker, and the supervisor hurries it over the channel.

    If functions of runs go on that can't be ended, end the process with exit code 0: other workers have their runs by
    then. To be called once, from the main thread.

    Raises:
        StartRefused: see `Worker.run`.
        ServerError: see `Worker.run`.
        SystemExit: the worker has ended by itself.
    """
    _Process(worker, channel).run()


class _Process:
    def __init__(self, worker: Worker, channel: ControlChannel | None) -> None:
        self._worker = worker
        self._channel = channel
        self._guard = Guard()
        self._loop = asyncio.new_event_loop()
        self._job_pool = _JobPool(thread_name_prefix="asyncio")
        self._last_words = descriptor_without_waits(_STDERR)
        self._told_at: dict[str, float] = {}
        self._silence_s = worker.config.stall_limit_s + worker.config.lease_s + _SILENCE_S

    def run(self) -> None:
        """Run the worker to its end."""
        self._loop.set_default_executor(self._job_pool)
        fork.prepare(self._loop, *(() if self._channel is None else (self._channel.descriptor,)))
        _stop_on_signals(self._worker, self._loop, self._channel, self._guard, self._bound_start)
        # Objects that the app and its libraries have made by now stay: the collector need not look at them again.
        gc.collect()
        gc.freeze()
        try:
            ending = self._run_to_end()
            left = self._count_still_executing()
        finally:
            self._end_without_python(_LONGEST_END_S)
            self._job_pool.shutdown(wait=False, cancel_futures=True)
        ignore_stop_signals()
        self._leave(ending, left)

    def _run_to_end(self) -> asyncio.Task[None]:
        """Turn the event loop until the worker has ended, whatever its jobs do to the loop."""

        async def start() -> asyncio.Task[None]:
            resolver = JobThreads(self._guard)
            self._loop.getaddrinfo = functools.partial(_resolve, self._loop.getaddrinfo, resolver)  # type: ignore[method-assign]
            work = self._worker.run(on_fault=_end_broken, on_turn=self._put_off_end, on_closing=self._bound_closing)
            return lasting_task(work)

        running = self._loop.run_until_complete(start())
        running.add_done_callback(lambda _: self._loop.stop())
        while not running.done():
            try:
                self._loop.run_forever()
            except BaseException as exc:  # noqa: BLE001 - from a task or callback of a job: Headrace's raise none
                if fork.is_child:
                    fork.end(exc)
                self._report("a task of a job ended with what ends a program; the worker goes on", error=describe(exc))
            else:
                if not running.done():
                    self._report("a job stopped the event loop; it goes on")
        return running

    def _report(self, what: str, **fields: str) -> None:
        """Log what a job has done to the event loop, at most once a second: it may do that at every turn."""
        if monotonic() - self._told_at.get(what, 0.0) > _SAME_LINE_S:
            self._told_at[what] = monotonic()
            log.warning(what, **fields)

    def _count_still_executing(self) -> int:
        """Return how many functions of runs still execute after their cancellation."""
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=_LAST_MOMENT_S))
        deadline = monotonic() + _LAST_MOMENT_S
        while self._left_in_threads() and monotonic() < deadline:
            self._loop.run_until_complete(asyncio.sleep(0.01))
        return sum(not task.done() for task in tasks) + self._left_in_threads()

    def _left_in_threads(self) -> int:
        return self._worker.left_behind + self._job_pool.busy

    def _leave(self, ending: asyncio.Task[None], left: int) -> None:
        """Let Python end the process, which joins threads and calls the app's exit functions; not for ever."""
        code = 0
        if ending.cancelled() or not self._worker.is_stopping:
            code = FAILED
        if left:
            log.warning("functions that do not end are left behind: the process ends without them", functions=left)
            self._end_process(FAILED if code or ending.exception() else 0)
        self._loop.close()
        try:
            if not ending.cancelled():
                ending.result()
            if code:
                log.error("the worker has ended without a request to stop")
                sys.exit(code)
        except BaseException:
            code = FAILED
            raise
        finally:
            self._bound_exit(code, _LONGEST_EXIT_S, "Python's exit")

    def _bound_start(self) -> None:
        """End a process that was requested to stop, and whose start does not end: its app's lifespan may block."""
        if self._worker.is_starting:
            self._end_without_python(self._worker.config.grace_s + _LONGEST_END_S)

    def _bound_closing(self) -> None:
        """End a process whose app's lifespan blocks while closing, as if it had closed: the worker has left."""
        self._end_without_python(_LONGEST_CLOSING_S + _LONGEST_EXIT_S)
        self._bound_exit(0 if self._worker.is_stopping else FAILED, _LONGEST_CLOSING_S, "the end of the app's lifespan")

    def _bound_exit(self, code: int, seconds: float, what: str) -> None:
        def end_late() -> None:
            time.sleep(seconds)
            write_directly(f"headrace: {what} takes more than {seconds:g} s; the process ends here")
            self._end_process(code)

        try:
            self._guard.thread("exit", end_late, is_vital=False)
        except (RuntimeError, MemoryError):  # then a signal does, unless C code keeps it waiting
            signal.signal(signal.SIGALRM, lambda *_: self._end_process(code))
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _end_process(self, code: int) -> NoReturn:
        """End the process here, without the threads that Python would wait for; give output a moment to be written."""
        with contextlib.suppress(RuntimeError, MemoryError):
            self._guard.thread("output", _flush_output, is_vital=False).join(_LAST_LINES_S)
        flush(_LAST_LINES_S)
        os._exit(code)

    def _put_off_end(self) -> None:
        """Postpone the end of a process whose Python threads all stand still: one call can keep all waiting."""
        self._end_without_python(self._silence_s)

    def _end_without_python(self, seconds: float) -> None:
        """Let C code end the process after so many seconds, and show where its threads are; the last call counts."""
        with contextlib.suppress(RuntimeError, MemoryError):  # no thread can be started for it now
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._last_words)


def _end_broken(_reason: str) -> None:
    """End the process at once: its worker does not work."""
    flush(_LAST_LINES_S)
    os._exit(BROKEN)


def _stop_on_signals(
    worker: Worker,
    loop: asyncio.AbstractEventLoop,
    channel: ControlChannel | None,
    guard: Guard,
    on_stop: Callable[[], None],
) -> None:
    """Stop the worker at its operator's signals or, in a supervised process, at the supervisor's commands.

    In a supervised process every signal means "stop", however many come: the service manager may send the same signals
    to every process.
    """

    def stop() -> None:
        worker.note_stop()
        on_stop()
        guard.from_thread(loop, worker.stop)

    def hurry() -> None:
        guard.from_thread(loop, worker.stop_now)

    if channel is not None:
        receive_stop_signals(stop)
        channel.obey_with(stop, hurry)
        return

    def answer(wish: int) -> None:
        if wish > 2:
            end_process("headrace: ended by a third signal")
        (stop if wish == 1 else hurry)()

    receive_wishes(answer)


class _JobPool(ThreadPoolExecutor):
    """The event loop's own threads, for the code of jobs: `asyncio.to_thread` uses them.

    Attributes:
        busy: how many functions execute or wait for a thread.
    """

    busy = 0
    _counting = threading.Lock()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """See `Executor.submit`."""
        future = super().submit(_run_here, fn, *args, **kwargs)
        self._count(1)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def _count(self, change: int) -> None:
        with self._counting:
            self.busy += change


def _run_here(fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
    """Call a function in a thread of the pool; end a fork that comes back from it."""
    try:
        return fn(*args, **kwargs)
    finally:
        if fork.is_child:
            fork.end(sys.exception())


async def _resolve(for_jobs: Callable[..., Any], threads: JobThreads, *args: Any, **kwargs: Any) -> Any:
    """Look up a host name: the worker's own connections must not wait for a thread that a job may keep."""
    if current_run.get() is not None:
        return await for_jobs(*args, **kwargs)
    try:
        return await threads.call(functools.partial(socket.getaddrinfo, *args, **kwargs)).outcome
    except NoThread as exc:
        raise OSError(f"no thread can be started to look a name up: {exc}") from exc


def _flush_output() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # full, closed, or none at all
        sys.stdout.flush()
