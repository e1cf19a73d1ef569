"""An app with something to do at its process's end, and jobs that leave something behind for it."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from headrace_worker import App, Retry, event_trigger
from tests.apps.everyday import tell

app = App("exits")
_ONCE = Retry(max_attempts=1)
_pools: dict[str, Executor] = {}


def _pool(kind: str) -> Executor:
    if kind not in _pools:
        _pools[kind] = ThreadPoolExecutor(2) if kind == "threads" else ProcessPoolExecutor(2)
    return _pools[kind]


@app.job(id="ok", trigger=event_trigger("ok"))
async def ok(payload: Any) -> Any:
    return payload


@app.job(id="work", trigger=event_trigger("work"), retry=_ONCE)
async def work(payload: str) -> int:
    """In a pool of the app's own, which waits for more."""
    return await asyncio.get_running_loop().run_in_executor(_pool(payload), os.getpid)


@app.job(id="register", trigger=event_trigger("register"), retry=_ONCE)
async def register(payload: str) -> None:
    """As Sentry, OpenTelemetry, coverage and temporary files do, `payload` being the file that tells of it."""
    atexit.register(Path(payload).touch)


@app.job(id="register-endless", trigger=event_trigger("register-endless"), retry=_ONCE)
async def register_endless() -> None:
    """A flush to a server that is away, say."""
    atexit.register(time.sleep, 600)


@app.job(id="busy", trigger=event_trigger("busy"), retry=_ONCE)
async def busy(payload: str) -> None:
    """Leave a function behind in a thread of the app's own, or in a pool of it."""
    if payload == "thread":
        threading.Thread(target=time.sleep, args=(600,)).start()
    else:
        _pool(payload).submit(time.sleep, 600)


@app.job(id="stuck", trigger=event_trigger("stuck"), retry=_ONCE)
def stuck() -> None:
    tell("stuck begins")
    time.sleep(600)
