"""Workers in the test's own process and event loop, with leases and reads short enough to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from headrace_worker import App, Worker, WorkerConfig
from headrace_worker.testing import run_until_settled


class WorkerHost:
    """Makes and runs workers of one namespace in the test's own process."""

    def __init__(self, url: str, namespace: str, partitions: int | None = None) -> None:
        self.url = url
        self.namespace = namespace
        self.partitions = partitions

    def make(self, app: App, **settings: Any) -> Worker:
        """Return a worker that does not run yet."""
        config = quick(**settings)
        return Worker(app, self.url, namespace=self.namespace, partitions=self.partitions, config=config)

    @asynccontextmanager
    async def working(self, app: App, **settings: Any) -> AsyncIterator[Worker]:
        """Start a worker; stop it at the end and wait until it has left."""
        async with self.running(self.make(app, **settings)) as worker:
            yield worker

    @asynccontextmanager
    async def running(self, worker: Worker) -> AsyncIterator[Worker]:
        """Start this worker; stop it at the end and wait until it has left."""
        started = asyncio.Event()
        worker._on_started = started.set
        running = asyncio.ensure_future(worker.run())
        waiting = asyncio.ensure_future(started.wait())
        try:
            await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                yield worker
        finally:
            waiting.cancel()
            worker.stop()
            await running

    async def settle(self, app: App, *, timeout: float = 30, **settings: Any) -> None:
        """Run a worker until everything has settled."""
        config = quick(**settings)
        await run_until_settled(
            app, self.url, namespace=self.namespace, partitions=self.partitions, config=config, timeout=timeout
        )


def quick(**settings: Any) -> WorkerConfig:
    """Return settings under which nothing takes long."""
    return WorkerConfig(**{"lease": 3.0, "block": 0.5, "grace": 10.0, **settings})
