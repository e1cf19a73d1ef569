"""Runs a worker as this process: signals bring it to a stop, and nothing keeps the process alive after that."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from headrace_worker.safe_logging import get_logger
from headrace_worker.signals import hear_stop_signals, ignore_stop_signals
from headrace_worker.worker import Worker

log = get_logger("headrace.worker")

_LAST_MOMENT_S = 0.5
"""How long what still executes when the worker has ended gets to end as well."""


def run_as_process(worker: Worker) -> None:
    """Returns when SIGTERM or SIGINT has stopped the worker; a second signal hurries it, a third ends the process.

    Where functions go on that can't be ended, the process ends here, with exit code 0: their runs are with other
    workers by then. To be called once, from the main thread.

    Raises:
        StartRefused: see `Worker.run`.
        ServerError: see `Worker.run`.
    """
    loop = asyncio.new_event_loop()
    threads = ThreadPoolExecutor(thread_name_prefix="asyncio")
    loop.set_default_executor(threads)
    _stop_on_signals(worker, loop)
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


def _stop_on_signals(worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
    answers = [worker.stop, worker.stop_now]

    def answer(_number: int) -> None:
        if not answers:
            os.write(2, b"headrace: ended by a third signal\n")
            os._exit(1)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is about to end
            loop.call_soon_threadsafe(answers.pop(0))

    hear_stop_signals(answer)


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
