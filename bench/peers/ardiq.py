"""ArdiQ, whose worker loop is in Rust."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator

from ardiq import Ardiq

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("ardiq",)
SETTINGS = "concurrency=300, prefetch=1000; results kept 5 minutes (default)"

tally = Tally()
app = Ardiq(redis_url=url(), concurrency=300, prefetch=1000)


@app.task()
async def noop(payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    """Connects, and gives the means to send."""

    async def one(payload: Payload) -> None:
        await noop.enqueue(payload)

    async def many(payloads: list[Payload]) -> None:
        await app.enqueue_many([noop.prepare(payload) for payload in payloads])

    yield Sender(one, many)


def work() -> None:
    """Run one worker process until it is ended."""
    os.execv(sys.executable, [sys.executable, "-m", "ardiq", "run", "bench.peers.ardiq:app", "--quiet"])
