"""Runs a worker in the process of a test until every sent event has settled, with the delays and retries of before."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headrace import HeadraceError
from headrace.calls.call import Call
from headrace.connect import AnyAsyncTransport, open_async_transport
from headrace.formats.partitions import Partitions
from headrace_worker.app.app import App
from headrace_worker.clock import monotonic
from headrace_worker.config import WorkerConfig
from headrace_worker.logs.logger import flush
from headrace_worker.tasks.guard import own_task
from headrace_worker.testing.left_work import DUE, Left, in_words, streams_of
from headrace_worker.worker import Worker

_LOOK_S = 0.02
_LAST_LINES_S = 0.5
_CLOCKS_DIFFER_S = 60.0


class NotSettled(HeadraceError, TimeoutError):
    """Sent events or their runs have not settled in the time given; the message says how many are left, and where."""


async def run_until_settled(
    app: App,
    url: str | None = None,
    *,
    namespace: str | None = None,
    partitions: int | None = None,
    config: WorkerConfig = WorkerConfig(),  # noqa: B008 - a frozen struct
    timeout: float = 30,
) -> None:
    """Run a worker until every event sent so far is dispatched and every run of the app, retries included, has settled.

    Delayed events are waited for, too. Time that a test has stopped, with freezegun for example, stands still for jobs
    and not for the worker.

    Raises:
        NotSettled: events or runs are left after `timeout` seconds.
        StartRefused: see `Worker.run`.
    """
    worker = Worker(app, url, namespace=namespace, partitions=partitions, config=config)
    with moving_time(asyncio.get_running_loop()):
        await _run_until_settled(worker, app, timeout)


async def _run_until_settled(worker: Worker, app: App, timeout: float) -> None:
    transport = open_async_transport(worker.url)
    running = own_task(worker.run())
    looking = own_task(_look_until_settled(transport, worker.partitions, app, monotonic() + timeout))
    left: Left | None = None
    try:
        await asyncio.wait([running, looking], return_when=asyncio.FIRST_COMPLETED)
        if looking.done():
            left = looking.result()
    finally:
        looking.cancel()
        if left is not None and not left:
            worker.stop()
        else:  # runs that still execute would take their grace
            worker.stop_now()
        await asyncio.wait([looking])
        await transport.close()
        await running
    await asyncio.to_thread(flush_log)
    if left:
        raise NotSettled(f"not settled after {timeout:g} s: {in_words(left)}")


def flush_log() -> None:
    """Wait for lines that a thread still logs: they must not mix with what the test does next."""
    flush(_LAST_LINES_S)


@contextmanager
def moving_time(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let the event loop's time go on if a test has stopped it: no sleeping task would wake."""
    is_python_s = inspect.isbuiltin(time.monotonic)  # a fake may show its time to some modules only
    if is_python_s and abs(loop.time() - monotonic()) < _CLOCKS_DIFFER_S:
        yield
        return
    stopped: Any = loop
    stopped.time = monotonic
    try:
        yield
    finally:
        del stopped.time


async def _look_until_settled(transport: AnyAsyncTransport, partitions: Partitions, app: App, deadline: float) -> Left:
    """Return what is left at the deadline, or nothing as soon as nothing is left."""
    quiet_looks = 0
    while True:
        left = await _open_work(transport, partitions, app)
        quiet_looks = 0 if left else quiet_looks + 1
        if quiet_looks == 2 or monotonic() > deadline:  # two, as work may move between the parts of one look
            return left
        await asyncio.sleep(_LOOK_S)


async def _open_work(transport: AnyAsyncTransport, partitions: Partitions, app: App) -> Left:
    looks = []
    for keys in partitions.all:
        looks += [(("XLEN", stream), noun) for stream, noun in streams_of(keys, app).items()]
        looks.append((("ZCARD", keys.due), DUE))
    counts = await transport.run([Call(look, int) for look, _ in looks])
    left = Left()
    for (_, noun), count in zip(looks, counts, strict=True):
        left[noun] += count
    return +left
