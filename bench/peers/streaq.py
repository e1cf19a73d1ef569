"""streaQ."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator

from streaq import Worker

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("streaq", "coredis")
SETTINGS = "concurrency=16 (default; more is slower); results kept 5 minutes (default)"

tally = Tally()
worker = Worker(redis_url=url(), concurrency=16)


@worker.task(silent=True)
async def noop(payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    """Connects, and gives the means to send."""
    async with worker:

        async def one(payload: Payload) -> None:
            await noop.enqueue(payload)

        async def many(payloads: list[Payload]) -> None:
            await worker.enqueue_many([noop.enqueue(payload) for payload in payloads])

        yield Sender(one, many)


def work() -> None:
    """Run one worker process until it is ended."""
    os.execv(sys.executable, [sys.executable, "-m", "streaq", "run", "bench.peers.streaq:worker"])
