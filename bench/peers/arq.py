"""arq."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from bench.side import Payload, Sender, url
from bench.tally import Tally

PACKAGES = ("arq", "redis", "hiredis")
SETTINGS = "max_jobs=100, poll_delay=0.01 (default 0.5), log_results off; results kept one hour (default)"

tally = Tally()


async def noop(_ctx: Any, payload: Payload) -> None:
    """Does nothing."""
    tally.mark(payload)


@contextlib.asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    """Connects, and gives the means to send."""
    pool = await create_pool(RedisSettings.from_dsn(url()))

    async def one(payload: Payload) -> None:
        await pool.enqueue_job("noop", payload)

    yield Sender(one)
    await pool.aclose()


def work() -> None:
    """Run one worker process until it is ended."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    settings = RedisSettings.from_dsn(url())
    Worker([noop], redis_settings=settings, max_jobs=100, poll_delay=0.01, log_results=False).run()
