"""A thousand idle readers without a lease wait at a queue beside a worker, and nothing is lost between them."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.faults.scene import Scene
from tests.support.waiting import await_until

_CONNECTED_AT_ONCE = 200


@asynccontextmanager
async def idle_readers(scene: Scene, count: int) -> AsyncIterator[None]:
    """So many connections block on the queue, as workers without a process would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count + 1_000), hard), hard))
    writers: list[asyncio.StreamWriter] = []
    path = scene.url.removeprefix("unix://")

    async def connect(number: int) -> None:
        _, writer = await asyncio.open_unix_connection(path)
        writers.append(writer)
        read = f"XREADGROUP GROUP workers idle-{number} COUNT 1 BLOCK 0 STREAMS {scene.queue('load')} >"
        writer.write(f"{read}\r\n".encode())
        await writer.drain()

    try:
        for first in range(0, count, _CONNECTED_AT_ONCE):
            await asyncio.gather(*(connect(number) for number in range(first, min(first + _CONNECTED_AT_ONCE, count))))
        assert len(writers) == count
        while int(scene.redis.info("clients")["blocked_clients"]) < count:  # noqa: ASYNC110 - the server's count
            await asyncio.sleep(0.05)
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


def has_delivered_all(scene: Scene) -> bool:
    """Every event is dispatched, and every run in somebody's hands."""
    queue = scene.queue("load")
    waiting = scene.redis.xlen(queue) - scene.redis.xpending(queue, "workers")["pending"]
    return int(scene.redis.xlen(scene.keys.events) + waiting) == 0


async def test_a_thousand_idle_readers_lose_nothing(make_scene: Callable[..., Scene]) -> None:
    """What they are handed comes back when they are gone, and every run is called."""
    scene = make_scene()
    async with scene.working(scene.app("load"), lease_s=1.0, block_s=0.5, concurrency=50):
        async with idle_readers(scene, 1_000):
            ids = scene.send_many("load", 100)
            await await_until(lambda: has_delivered_all(scene), 60, what="runs in the hands of readers")
            assert int(scene.redis.xpending(scene.queue("load"), "workers")["pending"]) > 0
        await scene.drained("load", timeout=120)
    assert set(scene.calls.counts()) == {(event, job) for event in ids for job in "abc"}
