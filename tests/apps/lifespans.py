"""An app whose lifespan does what HEADRACE_TEST_LIFESPAN says, and notes on standard error what happens."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headrace_worker import App, event_trigger

WHAT = os.environ.get("HEADRACE_TEST_LIFESPAN", "")


def note(what: str) -> None:
    sys.stderr.write(f"{what} in {os.getpid()}\n")
    sys.stderr.flush()


@asynccontextmanager
async def lifespan() -> AsyncIterator[str]:
    note("lifespan begins")
    match WHAT:
        case "fails":
            raise ConnectionError("no database")
        case "exits":
            sys.exit(3)
        case "waits":
            await asyncio.sleep(3600)
        case "blocks":
            time.sleep(3600)  # noqa: ASYNC251 - it is a wrong one
    try:
        yield "state"
    finally:
        note("lifespan ends")
    match WHAT:
        case "fails at its end":
            raise ConnectionError("not closed")
        case "blocks at its end":
            time.sleep(3600)  # noqa: ASYNC251 - it is a wrong one


app = App("lifespans", lifespan=lifespan)


@app.job(id="nap", trigger=event_trigger("nap"))
async def nap(payload: float, state: str) -> str:
    note("nap begins")
    await asyncio.sleep(payload)
    note("nap ends")
    return state
