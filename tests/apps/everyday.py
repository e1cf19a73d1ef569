"""An app whose jobs tell on standard output what they do, and of which some never end."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from headrace_worker import App, Context, Retry, event_trigger

app = App("everyday", version="1")
not_an_app = object()


def tell(line: str) -> None:
    """Write the line at once: several processes write to one file, and print may write its end apart."""
    os.write(1, f"{line}\n".encode())


@app.job(id="echo", trigger=event_trigger("echo"))
async def echo(payload: Any, ctx: Context) -> Any:
    tell(f"echo {ctx.event.id} in {os.getpid()}")
    return payload


@app.job(id="fail", trigger=event_trigger("fail"), retry=Retry(max_attempts=1))
async def fail(payload: Any) -> None:
    raise ValueError(payload)


@app.job(id="nap", trigger=event_trigger("nap"))
async def nap(payload: float, ctx: Context) -> str:
    """Take `payload` seconds; a worker that died is not waited for again."""
    tell(f"nap {ctx.event.id} begins in {os.getpid()}")
    await asyncio.sleep(payload)
    tell(f"nap {ctx.event.id} ends")
    return ctx.worker_id


@app.job(id="once", trigger=event_trigger("once"))
async def once(payload: str, ctx: Context) -> None:
    """Never ends the first time; `payload` is the folder in which that is remembered."""
    marker = os.path.join(payload, ctx.event.id.replace("/", "_"))  # noqa: PTH118 - as short as it can be
    first = not os.path.exists(marker)  # noqa: ASYNC240, PTH110
    tell(f"once {ctx.event.id} {'first' if first else 'again'} in {os.getpid()}")
    if first:
        with open(marker, "w"):  # noqa: ASYNC230, PTH123
            pass
        await asyncio.Event().wait()


@app.job(id="stuck", trigger=event_trigger("stuck"))
def stuck() -> None:
    """A plain function that never returns."""
    tell("stuck begins")
    while True:
        time.sleep(60)


@app.job(id="deaf", trigger=event_trigger("deaf"))
async def deaf() -> None:
    """Does not end when it is told to."""
    tell("deaf begins")
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            tell("deaf hears nothing")


@app.job(id="block", trigger=event_trigger("block"))
async def block() -> None:
    """Blocks the event loop for good."""
    tell("block begins")
    while True:
        time.sleep(60)  # noqa: ASYNC251 - that is the point
