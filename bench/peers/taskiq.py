"""taskiq with the Redis stream broker of taskiq-redis."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator

from taskiq.serializers import MSGPackSerializer
from taskiq_redis import RedisStreamBroker

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("taskiq", "taskiq-redis", "redis", "hiredis")
SETTINGS = (
    "--workers 1 --max-async-tasks 1000 --max-prefetch 1000 --no-parse, xread_count=500, msgpack, uvloop; "
    "no result backend (default)"
)

tally = Tally()
broker = RedisStreamBroker(url(), xread_count=500).with_serializer(MSGPackSerializer())


@broker.task
async def noop(payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    """Connects, and gives the means to send."""
    await broker.startup()

    async def one(payload: Payload) -> None:
        await noop.kiq(payload)

    yield Sender(one)
    await broker.shutdown()


def work() -> None:
    """Run one worker process until it is ended."""
    options = ["--workers", "1", "--max-async-tasks", "1000", "--max-prefetch", "1000"]
    options += ["--no-parse", "--log-level", "WARNING"]
    os.execv(sys.executable, [sys.executable, "-m", "taskiq", "worker", "bench.peers.taskiq:broker", *options])
