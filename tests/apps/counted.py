"""An app for the metrics: each way in which a run can end, and a metric of its own."""

from __future__ import annotations

import asyncio
import os

from prometheus_client import Counter

from headrace_worker import App, Context, Retry, event_trigger

app = App("counted")
CALLS = Counter("calls_of_my_own", "Calls of `fine`.")


@app.job(id="fine", trigger=event_trigger("fine"))
async def fine() -> int:
    CALLS.inc()
    await asyncio.sleep(0.01)
    return os.getpid()


@app.job(id="flaky", trigger=event_trigger("flaky"), retry=Retry(max_attempts=3, min_delay=0.01, jitter=False))
async def flaky(ctx: Context) -> None:
    if ctx.run.attempt < 3:
        raise RuntimeError("not yet")


@app.job(id="doomed", trigger=event_trigger("doomed"), retry=Retry(max_attempts=1))
async def doomed() -> None:
    raise RuntimeError("never")


@app.job(id="slow", trigger=event_trigger("slow"), retry=Retry(max_attempts=1), timeout=0.05)
async def slow() -> None:
    await asyncio.sleep(60)


@app.job(id="typed", trigger=event_trigger("typed"))
async def typed(payload: int) -> None:
    pass


@app.job(id="long", trigger=event_trigger("long"))
async def long() -> None:
    await asyncio.sleep(600)
