"""SAQ."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from saq import Queue, Worker

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("saq", "redis", "hiredis")
SETTINGS = "concurrency=100; results kept 10 minutes (default)"

tally = Tally()


async def noop(_ctx: Any, *, payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    """Connects, and gives the means to send."""
    queue = Queue.from_url(url())
    await queue.connect()

    async def one(payload: Payload) -> None:
        await queue.enqueue("noop", payload=payload)

    yield Sender(one)
    await queue.disconnect()


def work() -> None:
    """Run one worker process until it is ended."""
    asyncio.run(_work())


async def _work() -> None:
    queue = Queue.from_url(url())
    await queue.connect()
    await Worker(queue, [noop], concurrency=100).start()
