"""Runs a worker as this process: signals bring it to a stop, and nothing keeps the process alive after that."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from headrace_worker.background import call_on_loop
from headrace_worker.lifeline import Lifeline
from headrace_worker.safe_logging import get_logger
from headrace_worker.signals import end_process, ignore_stop_signals, receive_stop_signals, receive_wishes
from headrace_worker.worker import Worker

log = get_logger("headrace.worker")

_LAST_MOMENT_S = 0.5
"""How long what still executes when the worker has ended gets to end as well."""


def run_as_process(worker: Worker, lifeline: Lifeline | None = None) -> None:
    """Returns when SIGTERM, SIGINT or SIGHUP has stopped the worker; a second one hurries it, a third ends the process.

    With the line to a supervisor, signals only stop it, and the supervisor hurries it over the line.

    Where functions go on that can't be ended, the process ends here, with exit code 0: their runs are with other
    workers by then. To be called once, from the main thread.

    Raises:
        StartRefused: see `Worker.run`.
        ServerError: see `Worker.run`.
    """
    loop = asyncio.new_event_loop()
    threads = ThreadPoolExecutor(thread_name_prefix="asyncio")
    loop.set_default_executor(threads)
    _stop_on_signals(worker, loop, lifeline)
    # What the app and its libraries have made until now stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    try:
        loop.run_until_complete(worker.run())
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        left = _count_still_executing(loop)
    ignore_stop_signals()
    if left:
        log.warning("functions that do not end are left behind: the process ends without them", functions=left)
        _end_process()
    loop.close()


def _stop_on_signals(worker: Worker, loop: asyncio.AbstractEventLoop, lifeline: Lifeline | None) -> None:
    """Stop the worker as its operator wishes or, in a supervised process, as the supervisor says over the line.

    There each signal means "stop", however many come: the service manager may send the same ones to every process.
    """
    stop, hurry = (functools.partial(call_on_loop, loop, each) for each in (worker.stop, worker.stop_now))
    if lifeline is not None:
        receive_stop_signals(stop)
        lifeline.obey_with(stop, hurry)
        return

    def answer(wish: int) -> None:
        if wish > 2:
            end_process("headrace: ended by a third signal")
        (stop if wish == 1 else hurry)()

    receive_wishes(answer)


def _count_still_executing(loop: asyncio.AbstractEventLoop) -> int:
    """Returns how many coroutines and threads go on although they were told to end."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=_LAST_MOMENT_S))
    deadline = time.monotonic() + _LAST_MOMENT_S
    threads = [each for each in threading.enumerate() if each is not threading.current_thread() and not each.daemon]
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return sum(not task.done() for task in tasks) + sum(thread.is_alive() for thread in threads)


def _end_process() -> None:
    """Ends the process here, past the threads that Python would wait for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
