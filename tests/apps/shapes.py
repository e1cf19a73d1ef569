"""The app of tests/support/json_shapes.py: one job for each thing that a command can show of a run."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace import Event
from headrace_worker import App, JobIO, Retry, event_trigger

app = App("shapes", version="1")


@app.job(id="parent", trigger=event_trigger("parent"))
async def parent(io: JobIO) -> None:
    await io.send_event("one", Event("echo", id="child"))


@app.job(id="echo", trigger=event_trigger("echo"))
async def echo(payload: Any) -> Any:
    return payload


@app.job(id="fail", trigger=event_trigger("fail"), retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
async def fail() -> None:
    raise ValueError("no")


@app.job(id="waits", trigger=event_trigger("waits"), retry=Retry(max_attempts=2, min_delay=3_600, max_delay=3_600))
async def waits() -> None:
    raise ValueError("not yet")


@app.job(id="endless", trigger=event_trigger("endless"))
async def endless() -> None:
    await asyncio.Event().wait()


@app.job(id="picky", trigger=event_trigger("picky", source="here", filter={"n": [1]}, context_filter={"a": ["b"]}))
async def picky() -> None: ...


@app.job(id="paused", trigger=event_trigger("paused"), queue="paused")
async def paused() -> None: ...


@app.job(id="never", trigger=event_trigger("odd", filter={"a": [{"$gt": 5, "$lt": 3}]}))
async def never() -> None:
    """Has a filter that no event passes."""
