"""An app whose jobs write many log lines; its other forms configure structlog themselves."""

from __future__ import annotations

from typing import Any

from headrace_worker import App, JobIO, Retry, event_trigger
from headrace_worker.run.io import SyncJobIO

app = App("chatty")
once = Retry(max_attempts=1)


@app.job(id="log", trigger=event_trigger("log"), retry=once)
async def log(io: JobIO, payload: int) -> int:
    """Write `payload` lines."""
    for number in range(payload):
        io.logger.info("x" * 2000, number=number)
    return payload


@app.job(id="show", trigger=event_trigger("show"), retry=once)
def show(io: SyncJobIO) -> str:
    """Log what JSON has no form for."""
    circle: list[Any] = []
    circle.append(circle)
    io.logger.info("shown", data={(1, 2): 3}, circle=circle)
    return "done"


@app.job(id="fail", trigger=event_trigger("fail"), retry=once)
async def fail() -> None:
    raise ValueError("x")


@app.job(id="echo", trigger=event_trigger("echo"), retry=once)
async def echo(payload: Any) -> Any:
    return payload
