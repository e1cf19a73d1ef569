"""Jobs that fork: with multiprocessing, with subprocesses, and by hand, where the child comes back."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from headrace_worker import App, Retry, event_trigger
from tests.apps.everyday import tell

app = App("forks")
_ONCE = Retry(max_attempts=1)


@app.job(id="ok", trigger=event_trigger("ok"))
async def ok(payload: Any) -> Any:
    return payload


@app.job(id="plain", trigger=event_trigger("plain"))
def plain(payload: Any) -> Any:
    return payload


def _nap() -> None:
    time.sleep(60)


def _end_child(method: str, number: int) -> int | None:
    process = multiprocessing.get_context(method).Process(target=_nap)  # type: ignore[attr-defined]
    process.start()
    time.sleep(0.5)  # it has begun, or is about to
    os.kill(process.pid, number)
    process.join(10)
    code: int | None = process.exitcode
    process.kill()
    return code


@app.job(id="child", trigger=event_trigger("child"), retry=_ONCE)
def child(payload: list[Any]) -> int | None:
    return _end_child(*payload)


@app.job(id="child-of-async", trigger=event_trigger("child-of-async"), retry=_ONCE)
async def child_of_async(payload: list[Any]) -> int | None:
    return _end_child(*payload)


@app.job(id="pool", trigger=event_trigger("pool"), retry=_ONCE)
async def pool(payload: str) -> list[int]:
    context = multiprocessing.get_context(payload)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        return list(executor.map(abs, range(-3, 0)))


@app.job(id="program", trigger=event_trigger("program"), retry=_ONCE)
async def program() -> list[int | None]:
    """As most jobs start other programs."""
    code = "import time; time.sleep(60)"
    first = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    second = subprocess.Popen([sys.executable, "-c", code], preexec_fn=os.getpid)  # noqa: ASYNC220, PLW1509 - see above
    await asyncio.sleep(0.3)
    first.terminate()
    second.send_signal(signal.SIGINT)
    return [await first.wait(), second.wait() if second.wait() < 0 else -signal.SIGINT]


async def _return() -> None:
    """Comes back as if nothing were."""


async def _raise() -> None:
    os.execv("/no/such/program", ["x"])


async def _exit() -> None:
    sys.exit(0)


async def _await() -> None:
    await asyncio.sleep(0.05)


async def _send() -> None:
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 0) for _ in range(3)))


async def _cancel() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(1)


async def _stop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(1)


COMES_BACK: dict[str, Callable[[], Any]] = {
    "returns": _return,
    "raises": _raise,
    "exits": _exit,
    "awaits": _await,
    "sends": _send,
    "cancels": _cancel,
    "stops": _stop,
}


@app.job(id="forks", trigger=event_trigger("forks"), retry=_ONCE)
async def forks(payload: str) -> str:
    if os.fork() == 0:
        await COMES_BACK[payload]()
        return "the child"
    return "the parent"


@app.job(id="forks-in-task", trigger=event_trigger("forks-in-task"), retry=_ONCE)
async def forks_in_task(payload: str) -> str:
    return await asyncio.create_task(forks(payload))


@app.job(id="forks-in-callback", trigger=event_trigger("forks-in-callback"), retry=_ONCE)
async def forks_in_callback() -> str:
    asyncio.get_running_loop().call_soon(os.fork)
    await asyncio.sleep(0.1)
    return "the parent"


@app.job(id="forks-in-pool", trigger=event_trigger("forks-in-pool"), retry=_ONCE)
async def forks_in_pool() -> str:
    pid = await asyncio.to_thread(os.fork)
    return "the parent" if pid else "the child"


@app.job(id="forks-plain", trigger=event_trigger("forks-plain"), retry=_ONCE)
def forks_plain(payload: str) -> str:
    if os.fork() == 0:
        if payload == "raises":
            raise RuntimeError("in the child")
        if payload == "exits":
            sys.exit(0)
        return "the child"
    return "the parent"


@app.job(id="lingers", trigger=event_trigger("lingers"), retry=_ONCE)
def lingers() -> int:
    """Its child outlives the worker, and tells when it is told to end."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, lambda *_: tell("the child was told to end"))
        signal.pause()
        os._exit(0)
    return pid
