"""The worker of Headrace's own scenarios: `python -m bench.alone.worker`, configured by its environment.

BENCH_FANOUT jobs take each event (1), async or, with BENCH_PLAIN, as plain functions in threads. BENCH_CONCURRENCY and
BENCH_RETENTION_S are the worker's. With BENCH_METRICS it counts for Prometheus. With BENCH_GATE it waits for the key
`bench:go` before it starts. One more job answers its probe and then hangs at its first attempt's first call: for what
happens when its worker dies.
"""

from __future__ import annotations

import asyncio
import os
import time

import redis

from bench.alone.context import GATE
from bench.side import Payload, url
from bench.tally import Tally
from headrace import Retention
from headrace_worker import App, Worker, WorkerConfig, event_trigger
from headrace_worker.metrics.prometheus import Metrics
from headrace_worker.process.process import run_as_process

HANG = "bench.hang"


def main() -> None:
    """Run one worker process until it is ended."""
    config = WorkerConfig(concurrency=int(os.environ.get("BENCH_CONCURRENCY", "1000")), retention=_retention())
    metrics = Metrics() if os.environ.get("BENCH_METRICS") else None
    worker = Worker(make_app(Tally()), url(), config=config, metrics=metrics)
    if os.environ.get("BENCH_GATE"):
        _wait_for_gate()
    run_as_process(worker)


def make_app(tally: Tally) -> App:
    """Return the app with as many jobs as BENCH_FANOUT says."""
    app = App("bench")
    is_plain = bool(os.environ.get("BENCH_PLAIN"))

    async def noop(payload: Payload) -> None:
        tally.mark(payload)

    def plain(payload: Payload) -> None:
        tally.mark(payload)

    for number in range(int(os.environ.get("BENCH_FANOUT", "1"))):
        app.job(id=f"noop-{number}", trigger=event_trigger("bench"))(plain if is_plain else noop)

    @app.job(id="hang", trigger=event_trigger(HANG))
    async def hang(payload: Payload) -> None:
        tally.mark(payload)
        await asyncio.sleep(payload["seconds"])

    return app


def _retention() -> Retention:
    seconds = os.environ.get("BENCH_RETENTION_S")
    if seconds is None:
        return Retention()
    return Retention(success=float(seconds), dedupe_client=float(seconds))


def _wait_for_gate() -> None:
    with redis.Redis.from_url(url()) as client:
        while not client.exists(GATE):
            time.sleep(0.001)


if __name__ == "__main__":
    main()
