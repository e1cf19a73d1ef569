"""Thousands of idle readers without a lease wait at a queue beside a worker, and nothing is lost between them."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.faults.scene import Scene
from tests.support.waiting import await_until


def connect_readers(scene: Scene, count: int) -> list[socket.socket]:
    """So many connections block on the queue, as workers without a process would."""
    readers = []
    for number in range(count):
        # Not by asyncio: it takes a socket for connected that was refused, as the server's backlog was full.
        reader = socket.socket(socket.AF_UNIX)
        reader.connect(scene.url.removeprefix("unix://"))
        read = f"XREADGROUP GROUP workers idle-{number} COUNT 1 BLOCK 0 STREAMS {scene.queue('load')} >"
        reader.sendall(f"{read}\r\n".encode())
        readers.append(reader)
    return readers


@asynccontextmanager
async def idle_readers(scene: Scene, count: int) -> AsyncIterator[None]:
    """The readers wait, and are gone at the end."""
    readers = await asyncio.to_thread(connect_readers, scene, count)
    try:
        await await_until(lambda: int(scene.redis.info("clients")["blocked_clients"]) >= count, 60, what="all readers")
        yield
    finally:
        for reader in readers:
            reader.close()


def has_delivered_all(scene: Scene) -> bool:
    """Every event is dispatched, and every run in somebody's hands."""
    queue = scene.queue("load")
    waiting = scene.redis.xlen(queue) - scene.redis.xpending(queue, "workers")["pending"]
    return int(scene.redis.xlen(scene.keys.events) + waiting) == 0


@pytest.mark.parametrize("readers", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_thousands_of_idle_readers_lose_nothing(make_scene: Callable[..., Scene], readers: int) -> None:
    """What they are handed comes back when they are gone, and every run is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(readers + 1_000, hard)), hard))  # the server inherits it
    scene = make_scene(extra=("--maxclients", str(readers + 500)))
    async with scene.working(scene.app("load"), lease=1.0, block=0.5, concurrency=50):
        async with idle_readers(scene, readers):
            ids = scene.send_many("load", 100)
            await await_until(lambda: has_delivered_all(scene), 120, what="runs in the hands of readers")
            assert int(scene.redis.xpending(scene.queue("load"), "workers")["pending"]) > 0
        await scene.drained("load", timeout=240)
    assert set(scene.calls.counts()) == {(event, job) for event in ids for job in "abc"}
