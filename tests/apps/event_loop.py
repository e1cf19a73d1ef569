"""Jobs that treat the event loop as if it were theirs: they stop it, end it, block it, or cancel all that it does."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from headrace_worker import App, Context, Retry, event_trigger
from tests.apps.everyday import tell
from tests.support.codecs import Scrambler

app = App("loop")
_ONCE = Retry(max_attempts=1)
_LATER_S = 0.05

TROUBLES: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {}
"""What a job may do on the event loop without a thought of what else is on it."""


def _trouble(function: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
    TROUBLES[function.__name__] = function
    return function


async def _exit() -> None:
    sys.exit(0)  # click's and argparse's way to end


async def _exit_later() -> None:
    await asyncio.sleep(_LATER_S)
    sys.exit(3)


async def _interrupt_later() -> None:
    await asyncio.sleep(_LATER_S)
    raise KeyboardInterrupt


@_trouble
async def exit_in_part() -> None:
    await asyncio.gather(_exit())


@_trouble
async def exit_in_group() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_exit_later())
        tasks.create_task(asyncio.sleep(60))


@_trouble
async def exit_in_a_task_that_is_left() -> None:
    _left.append(asyncio.create_task(_exit_later()))


_left: list[object] = []


@_trouble
async def interrupt_in_a_task_that_is_left() -> None:
    _left.append(asyncio.create_task(_interrupt_later()))


@_trouble
async def exit_in_callbacks() -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(sys.exit)
    loop.call_later(_LATER_S, sys.exit, 2)
    loop.call_soon_threadsafe(sys.exit, 1)
    await asyncio.sleep(2 * _LATER_S)


@_trouble
async def exit_in_done_callback() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    task.add_done_callback(lambda _: sys.exit(0))
    await task


@_trouble
async def exit_in_thread() -> None:
    await asyncio.to_thread(sys.exit, 3)


@_trouble
async def exit_in_own_thread() -> None:
    threading.Thread(target=sys.exit).start()


@_trouble
async def exit_in_finalisers() -> None:
    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            sys.exit(0)

    def plain() -> Iterator[int]:
        try:
            yield 1
        finally:
            sys.exit(0)

    async for _ in endless():
        break
    next(plain())


@_trouble
async def stop_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(_LATER_S)


@_trouble
async def stop_loop_again_and_again() -> None:
    for _ in range(100):
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)


@_trouble
async def stop_loop_from_thread() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(loop.call_soon_threadsafe, loop.stop)
    await asyncio.sleep(_LATER_S)


@_trouble
async def close_loop() -> None:
    asyncio.get_running_loop().close()


def _forgets_that_it_runs() -> bool:
    """Return whether this Python's event loops take themselves for stopped after such a call: 3.13.0 has that fault."""

    async def run_again() -> bool:
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().run_forever()
        return asyncio._get_running_loop() is None

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        return loop.run_until_complete(run_again())


async def run_loop_again() -> None:
    asyncio.get_running_loop().run_forever()


if not _forgets_that_it_runs():
    _trouble(run_loop_again)


@_trouble
async def cancel_others() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(_LATER_S)


@_trouble
async def cancel_others_again_and_again() -> None:
    for _ in range(50):
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)


@_trouble
async def cancel_all() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(60)


@_trouble
async def cancel_others_in_a_task_of_its_own() -> None:
    await asyncio.create_task(cancel_others())


def _cancel_all_of(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


@_trouble
async def cancel_all_in_callback() -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(_cancel_all_of, loop)
    await asyncio.sleep(60)


@_trouble
async def cancel_all_from_thread() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(loop.call_soon_threadsafe, _cancel_all_of, loop)
    await asyncio.sleep(60)


@_trouble
async def refuse_new_tasks() -> None:
    """A library that counts tasks, say, and has a fault."""
    loop = asyncio.get_running_loop()

    def refuse(*_: object, **__: object) -> Any:
        raise RuntimeError("no more tasks")

    loop.set_task_factory(refuse)
    loop.call_later(1.0, loop.set_task_factory, None)


@_trouble
async def raise_in_exception_handler() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: sys.exit(5))
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(_LATER_S)


@_trouble
async def set_low_recursion_limit() -> None:
    """Too low for nearly everything."""
    before = sys.getrecursionlimit()
    depth = len(_frames())

    def restore() -> None:
        time.sleep(2)
        sys.setrecursionlimit(before)

    threading.Thread(target=restore).start()
    sys.setrecursionlimit(depth + 12)


def _frames() -> list[object]:
    found: list[object] = []
    frame: Any = sys._getframe()
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


@app.job(id="trouble", trigger=event_trigger("trouble"), retry=_ONCE)
async def trouble(payload: str) -> None:
    await TROUBLES[payload]()


@app.job(id="stray", trigger=event_trigger("stray"), retry=_ONCE)
async def stray(ctx: Context) -> None:
    """Cancels everything from a thread that knows of no run."""
    tell(f"stray {ctx.event.id}")
    loop = asyncio.get_running_loop()
    threading.Thread(target=loop.call_soon_threadsafe, args=(_cancel_all_of, loop)).start()
    await asyncio.sleep(60)


@app.job(id="plain-trouble", trigger=event_trigger("plain-trouble"), retry=_ONCE)
def plain_trouble(payload: str) -> None:
    """Reaches for the event loop from a thread, as libraries with a loop of their own do."""
    (thread,) = (thread for thread in threading.enumerate() if thread is threading.main_thread())
    frame = sys._current_frames()[thread.ident or 0]
    while "self" not in frame.f_locals or not isinstance(frame.f_locals["self"], asyncio.AbstractEventLoop):
        assert frame.f_back is not None
        frame = frame.f_back
    loop: asyncio.AbstractEventLoop = frame.f_locals["self"]
    if payload == "cancel":
        loop.call_soon_threadsafe(_cancel_all_of, loop)
    elif payload == "stop":
        loop.call_soon_threadsafe(loop.stop)
    else:
        loop.call_soon_threadsafe(sys.exit, 0)
    time.sleep(_LATER_S)


@app.job(id="ok", trigger=event_trigger("ok"))
async def ok(payload: Any) -> Any:
    return payload


@app.job(id="slow", trigger=event_trigger("slow"), retry=_ONCE)
async def slow(payload: float) -> int:
    await asyncio.sleep(payload)
    return os.getpid()


def _block(seconds: float = 1e6) -> None:
    tell("it blocks")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.02)


@app.job(id="blocks", trigger=event_trigger("blocks"), retry=_ONCE)
async def blocks() -> None:
    """A call without a timeout."""
    _block()


@app.job(id="blocks-too-long", trigger=event_trigger("blocks-too-long"), retry=_ONCE, timeout=0.5)
async def blocks_too_long() -> None:
    _block()


@app.job(id="blocks-again", trigger=event_trigger("blocks-again"), timeout=0.5)
async def blocks_again(ctx: Context) -> int:
    if ctx.run.attempt == 1:
        _block()
    return ctx.run.attempt


@app.job(id="blocks-long", trigger=event_trigger("blocks-long"), retry=_ONCE, timeout=60)
async def blocks_long(payload: float) -> int:
    """Longer than any bound, and allowed to."""
    _block(payload)
    return os.getpid()


@app.job(id="blocks-in-part", trigger=event_trigger("blocks-in-part"), retry=_ONCE, timeout=0.5)
async def blocks_in_part() -> None:
    async def part() -> None:
        _block()

    await asyncio.create_task(part())


@dataclasses.dataclass
class Blocking:
    """A payload whose own code never returns."""

    number: int

    def __post_init__(self) -> None:
        _block()


@app.job(id="blocks-in-schema", trigger=event_trigger("blocks-in-schema"), retry=_ONCE, timeout=0.5)
async def blocks_in_schema(payload: Blocking) -> int:
    return payload.number


class _Endless:
    def __str__(self) -> str:
        _block()
        return ""


@app.job(id="blocks-in-error", trigger=event_trigger("blocks-in-error"), retry=_ONCE, timeout=0.5)
async def blocks_in_error() -> None:
    raise RuntimeError(_Endless())


@app.job(id="holds", trigger=event_trigger("holds"), retry=_ONCE, timeout=0.5)
def holds() -> None:
    """A regular expression keeps every thread of Python's from turning."""
    tell("it holds")
    re.match(r"(a|a)*$", "a" * 60 + "b")


@app.job(id="exits", trigger=event_trigger("exits"))
async def exits(payload: int) -> None:
    os._exit(payload)


class _Blocks(Scrambler):
    def decode(self, data: bytes, bound_to: bytes) -> bytes:
        opened = super().decode(data, bound_to)
        if b"block" in opened:
            _block()
        return opened


sealed_app = App("sealed", codec=_Blocks())


@sealed_app.job(id="sealed", trigger=event_trigger("sealed"), retry=_ONCE)
async def sealed(payload: str) -> str:
    return payload
