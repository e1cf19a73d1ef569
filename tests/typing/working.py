"""A worker inside a process of one's own."""

import asyncio
from datetime import timedelta
from typing import assert_type

from headrace import Retention
from headrace_worker import App, Worker, WorkerConfig

app = App("shop", dispatch_only=True)


async def main() -> None:
    config = WorkerConfig(
        concurrency=10,
        queues=("mails",),
        grace=timedelta(seconds=3),
        lease=5,
        stall=None,
        block=0.5,
        retention=Retention(success=60),
        tracebacks="every",
    )
    worker = Worker(app, "redis://localhost", namespace="shop", partitions=2, config=config, on_started=print)
    running = asyncio.create_task(worker.run(on_fault=print))
    assert_type(worker.name, str | None)
    assert_type(worker.is_stopping, bool)
    assert_type(worker.app, App)
    assert_type(config.grace_s, float)
    worker.stop()
    assert_type(await running, None)


async def mistakes(worker: Worker) -> None:
    WorkerConfig(concurrency="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    WorkerConfig(10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    WorkerConfig(queues="mails")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    WorkerConfig(retention=3_600)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    WorkerConfig(tracebacks="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    WorkerConfig(workers=4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Worker("shop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Worker(app, config={"concurrency": 10})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    worker.run()  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    await worker.stop()  # type: ignore[func-returns-value, misc]  # pyright: ignore[reportGeneralTypeIssues]
