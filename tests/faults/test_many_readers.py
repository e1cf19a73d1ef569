"""Thousands of idle readers without a lease block on a queue beside a worker, and nothing is lost."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.faults.deployment import Deployment
from tests.support.waiting import await_until


def connect_readers(deployment: Deployment, count: int) -> list[socket.socket]:
    """Let so many connections block on the queue, as workers without a process would."""
    readers = []
    for number in range(count):
        # Not by asyncio: it takes a socket for connected that was refused, as the server's backlog was full.
        reader = socket.socket(socket.AF_UNIX)
        reader.connect(deployment.url.removeprefix("unix://"))
        read = f"XREADGROUP GROUP workers idle-{number} COUNT 1 BLOCK 0 STREAMS {deployment.queue('load')} >"
        reader.sendall(f"{read}\r\n".encode())
        readers.append(reader)
    return readers


@asynccontextmanager
async def idle_readers(deployment: Deployment, count: int) -> AsyncIterator[None]:
    """Connect the readers; close them at the end."""
    readers = await asyncio.to_thread(connect_readers, deployment, count)
    try:
        await await_until(
            lambda: int(deployment.redis.info("clients")["blocked_clients"]) >= count, 60, what="all readers"
        )
        yield
    finally:
        for reader in readers:
            reader.close()


def has_delivered_all(deployment: Deployment) -> bool:
    """Return whether every event is dispatched, and every run pending."""
    queue = deployment.queue("load")
    waiting = deployment.redis.xlen(queue) - deployment.redis.xpending(queue, "workers")["pending"]
    return int(deployment.redis.xlen(deployment.keys.events) + waiting) == 0


@pytest.mark.parametrize("readers", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_thousands_of_idle_readers_lose_nothing(make_deployment: Callable[..., Deployment], readers: int) -> None:
    """Runs that were delivered to them come back when they are gone, and every run is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(readers + 1_000, hard)), hard))  # the server inherits it
    deployment = make_deployment(extra=("--maxclients", str(readers + 500)))
    async with deployment.working(deployment.app("load"), lease=1.0, block=0.5, concurrency=50):
        async with idle_readers(deployment, readers):
            ids = deployment.send_many("load", 100)
            await await_until(lambda: has_delivered_all(deployment), 120, what="runs pending under the readers")
            assert int(deployment.redis.xpending(deployment.queue("load"), "workers")["pending"]) > 0
        await deployment.drained("load", timeout=240)
    assert set(deployment.calls.counts()) == {(event, job) for event in ids for job in "abc"}
