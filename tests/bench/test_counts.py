"""What a run costs where it does not depend on the machine: a guard against losing speed without notice.

The bounds have room for batches that came out smaller on a slow machine, and no more. A test that fails after a change
that was meant tells what it costs; raise the bound in the same commit, with the reason.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from bench import filling, lists
from bench.field import headrace_left
from bench.monitor import Monitor
from bench.server import Server
from bench.side import PAYLOAD
from headrace import Client, Event
from headrace.scripts import load
from headrace_worker import App, Worker, event_trigger
from headrace_worker.metrics.prometheus import Metrics
from headrace_worker.protocol.reading import MAX_READ
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost, quick

RUNS = 5_000
BATCH = 500


def make_app(jobs: int = 1) -> App:
    app = App("bench")

    async def noop(payload: Any) -> None:
        pass

    for number in range(jobs):
        app.job(id=f"noop-{number}", trigger=event_trigger("bench"))(noop)
    return app


def fill(server: Server, events: int) -> None:
    with Client(server.url) as client:
        client.send_events([Event("bench", PAYLOAD)] * events)


async def drain(server: Server, metrics: Metrics | None = None) -> None:
    """A worker has started, drained what was sent, and stopped."""
    config = quick(concurrency=1_000, block=5, lease=15)
    worker = Worker(make_app(), server.url, namespace="default", config=config, metrics=metrics)
    async with WorkerHost(server.url, "default").running(worker):
        await await_until(lambda: headrace_left(server.client) == 0, 60, what="the end of the drain", interval=0.05)


class Calls:
    """How many functions were called, Python's and C's."""

    def __init__(self) -> None:
        self.count = 0

    def note(self, _frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "c_call"):
            self.count += 1


@contextmanager
def counting_calls() -> Iterator[Calls]:
    """Count the calls of this thread."""
    assert threading.current_thread() is threading.main_thread()
    calls = Calls()
    sys.setprofile(calls.note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def test_commands_a_run(counted: Server) -> None:
    """A busy worker sends four commands for each read of 128, beside those of its start and its stop."""
    await drain(counted)  # every script is known to the server afterwards
    fill(counted, 1)
    with Monitor(counted) as one:
        await drain(counted)
    fill(counted, RUNS)
    with Monitor(counted) as many:
        await drain(counted)
    assert 0 < many.outer.total() - one.outer.total() <= RUNS * 0.036, (many.outer - one.outer).most_common(12)


async def test_scripts_a_batch(counted: Server) -> None:
    """What one read gave is dispatched by one script; runs are settled by hardly more."""
    fill(counted, RUNS)
    with Monitor(counted) as monitor:
        await drain(counted)
    scripts = {name: monitor.scripts[load(name).sha] for name in ("dispatch", "settle", "started", "take")}
    reads = RUNS // MAX_READ
    assert scripts["dispatch"] <= reads + 2, scripts
    assert scripts["settle"] <= 1.5 * reads, scripts
    assert scripts["started"] <= reads, scripts
    assert scripts["take"] <= 10, scripts  # a worker with one queue only tries it out at its start


async def test_calls_inside_scripts_a_run(counted: Server) -> None:
    """A run with its event costs at most seven calls inside the server for its dispatch and its settle."""
    fill(counted, RUNS)
    with Monitor(counted) as monitor:
        await drain(counted)
    assert monitor.inner.total() <= RUNS * 7, monitor.inner.most_common(12)


def test_calls_inside_scripts_a_send(counted: Server) -> None:
    """A batch costs one script, three calls inside the server an event, one for each twenty listed, and ten more."""
    fill(counted, 1)
    with Monitor(counted) as monitor:
        fill(counted, 2 * BATCH)
    assert monitor.scripts == {load("send").sha: 2, load("divide").sha: 1}  # the latter is a new client's first
    assert monitor.inner.total() <= 2 * (3 * BATCH + BATCH // 20 + 10), monitor.inner.most_common(12)


async def test_bytes_a_run(counted: Server) -> None:
    """A run with its event takes a bounded number of bytes on the wire, to the server and from it."""
    await drain(counted)  # the server has the scripts, whose texts are sent once
    fill(counted, RUNS)
    before = counted.snapshot()
    await drain(counted)
    after = counted.snapshot()
    assert (after.received - before.received) / RUNS <= 220
    assert (after.sent - before.sent) / RUNS <= 520


def test_bytes_a_send(counted: Server) -> None:
    """An event of 100 bytes takes at most 550 on the wire in a batch, and its answer next to nothing."""
    before = counted.snapshot()
    fill(counted, RUNS)
    after = counted.snapshot()
    assert (after.received - before.received) / RUNS <= 550
    assert (after.sent - before.sent) / RUNS <= 10  # INFO, asked once by the client and twice here, is most of it


@pytest.mark.parametrize(
    ("asked", "trips", "commands"),
    [(lists.FOUND, 4, 400), (lists.NOTHING, 4, 510), (lists.LOOKS, 20, 1_500)],
    ids=["first pages", "filters that match nothing", "other reads"],
)
def test_round_trips_of_a_read(counted: Server, asked: dict[str, lists.Ask], trips: int, commands: int) -> None:
    """A page takes four round trips at most, also where nothing matches; 500 records and a few reads of the list."""
    fill(counted, RUNS)
    costs = lists.costs(counted, asked, filling.fill(counted, RUNS, RUNS))
    assert max(cost.round_trips for cost in costs.values()) <= trips, costs
    assert max(cost.commands for cost in costs.values()) <= commands, costs


async def test_memory_an_event(counted: Server) -> None:
    """An event of 100 bytes takes at most 800 while it waits, and 800 as a record with its run."""
    await drain(counted)  # the server has the scripts, which take the same whatever the number of events
    empty = counted.memory()
    fill(counted, RUNS)
    queued = counted.memory()
    await drain(counted)
    recorded = counted.memory()
    assert (queued - empty) / RUNS <= 800
    assert (recorded - empty) / RUNS <= 800


@pytest.mark.parametrize(("counts", "most"), [(False, 115), (True, 121)], ids=["bare", "counted"])
async def test_python_calls_a_run(counted: Server, counts: bool, most: int) -> None:  # noqa: FBT001
    """A run costs the event loop a bounded number of function calls, beside those of a start and a stop.

    Metrics add some for each batch, and for each run what sorts it by what is alike in the batch.
    """
    runs = 2_000
    metrics = Metrics(CollectorRegistry()) if counts else None
    await drain(counted, metrics)
    fill(counted, 1)
    with counting_calls() as one:
        await drain(counted, metrics)
    fill(counted, runs)
    with counting_calls() as many:
        await drain(counted, metrics)
    assert 0 < (many.count - one.count) / runs <= most


@pytest.mark.parametrize("batch", [1, BATCH])
def test_python_calls_a_send(counted: Server, batch: int) -> None:
    """An event costs its sender a bounded number of function calls, fewer in a batch."""
    with Client(counted.url) as client:
        client.send_event(Event("bench", PAYLOAD))
        events = [Event("bench", PAYLOAD)] * batch
        with counting_calls() as calls:
            client.send_events(events)
    assert calls.count / batch <= {1: 165, BATCH: 23}[batch]


async def test_commands_of_an_idle_worker(counted: Server) -> None:
    """An idle worker's three reading loops send one command in the time of a read, its lease three in its length."""
    host = WorkerHost(counted.url, "default")
    block_s, lease_s, watched_s = 0.5, 3.0, 2.0
    async with host.working(make_app(), block=block_s, lease=lease_s):
        await asyncio.sleep(0.2)
        begun = asyncio.get_running_loop().time()
        with Monitor(counted) as monitor:
            await asyncio.sleep(watched_s)
        elapsed_s = asyncio.get_running_loop().time() - begun
    most = 3 * elapsed_s / block_s + 3 * elapsed_s / lease_s + 4
    assert 0 < monitor.outer.total() <= most, monitor.outer.most_common(12)
