"""Drains one queue with the Headrace that PYTHONPATH names, and prints what that took: `python drained.py URL RUNS`.

It stays with names that an earlier commit has, too: `bench.beside` runs it with both.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import redis
import structlog

import headrace
from headrace import Client, Event
from headrace_worker import App, Worker, WorkerConfig, event_trigger

BATCH = 500
AT_EACH_END = 100
"""So many runs at the begin, and so many at the end, do not count: the worker starts, and stops."""

done = 0
app = App("bench")


@app.job(id="drain", trigger=event_trigger("drain"))
async def drain(payload: Any) -> None:  # noqa: ARG001 - it is decoded
    """Nothing but count itself."""
    global done  # noqa: PLW0603 - the shortest job there is
    done += 1


async def main(url: str, runs: int) -> None:
    """Send, drain, and print microseconds a run and runs a second."""
    namespace = f"drained-{os.getpid()}"
    server = redis.Redis.from_url(url)

    def reading() -> tuple[int, float, float, float]:
        info = server.info("cpu")
        return done, time.perf_counter(), time.process_time(), info["used_cpu_user"] + info["used_cpu_sys"]

    with Client(url, namespace=namespace) as client:
        for _ in range(0, runs, BATCH):
            client.send_events([Event("drain", {"user_id": "u1", "plan": "pro"}) for _ in range(BATCH)])
    worker = Worker(app, url, namespace=namespace, config=WorkerConfig(concurrency=100))
    working = asyncio.ensure_future(worker.run())
    while done < AT_EACH_END:  # noqa: ASYNC110 - an event would cost the job
        await asyncio.sleep(0.005)
    before = reading()
    while done < runs - AT_EACH_END:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    count, seconds, worker_s, server_s = (now - then for now, then in zip(reading(), before, strict=True))
    worker.stop()
    await working
    figures = {"rate": count / seconds, "worker_us": worker_s / count * 1e6, "server_us": server_s / count * 1e6}
    print(json.dumps({"package": headrace.__file__, **figures}))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
