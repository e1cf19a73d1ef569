"""Jobs that use threads up, end them from outside, or take what is needed to start one."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import threading
import time
from pathlib import Path
from typing import Any

from headrace_worker import App, Retry, event_trigger
from tests.apps.everyday import tell
from tests.support import no_threads

app = App("threads")
_ONCE = Retry(max_attempts=1)
_PAGE = 4096


@app.job(id="ok", trigger=event_trigger("ok"))
async def ok(payload: Any) -> Any:
    return payload


@app.job(id="plain", trigger=event_trigger("plain"))
def plain(payload: Any) -> Any:
    return payload


@app.job(id="hangs", trigger=event_trigger("hangs"), retry=_ONCE)
async def hangs() -> None:
    """An HTTP call without a timeout, say, in the event loop's own threads."""
    tell("hangs begins")
    await asyncio.to_thread(time.sleep, 600)


@app.job(id="stuck", trigger=event_trigger("stuck"), retry=_ONCE, timeout=0.3)
def stuck() -> None:
    """Never returns; its thread keeps its slot."""
    tell("stuck begins")
    time.sleep(600)


class Interruption(Exception):
    """Of a time limit for threads."""


class _Interrupter:
    """Interrupts threads at their times, from one thread: what starts a thread must not be interrupted meanwhile."""

    def __init__(self) -> None:
        self._due: dict[int, tuple[float, float]] = {}
        self._is_started = False

    def interrupt(self, thread: int, after_s: float, for_s: float = 0.0) -> None:
        """Once, or again and again for so many seconds."""
        at = time.monotonic() + after_s
        self._due[thread] = at, at + for_s
        if not self._is_started:
            self._is_started = True
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(0.0002)
            for thread, (since, until) in list(self._due.items()):
                if time.monotonic() >= until:
                    del self._due[thread]
                if time.monotonic() >= since:
                    interrupt_thread(thread)


def interrupt_thread(thread: int) -> None:
    """As stopit, func_timeout and dramatiq do it."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Interruption))


_interrupter = _Interrupter()


@app.job(id="interrupted", trigger=event_trigger("interrupted"), retry=_ONCE)
def interrupted(payload: list[float]) -> str:
    """Take so many seconds, and is interrupted after so many."""
    takes_s, after_s = payload
    _interrupter.interrupt(threading.get_ident(), after_s)
    until = time.monotonic() + takes_s
    while time.monotonic() < until:
        time.sleep(0.0005)
    return "in time"


@app.job(id="showered", trigger=event_trigger("showered"), retry=_ONCE)
def showered(payload: float) -> str:
    """Its thread is interrupted again and again, at any of its steps, until that many seconds are over."""
    _interrupter.interrupt(threading.get_ident(), 0.0, payload)
    return "in time"


_START = getattr(threading, no_threads.NAME)


def refuse_threads(refused: bool) -> None:  # noqa: FBT001 - that is all it is about
    """What the system says at a limit of pids; nothing but a call of threading's own shows it to us as root."""
    setattr(threading, no_threads.NAME, no_threads.refuse if refused else _START)


@app.job(id="refuse", trigger=event_trigger("refuse"))
async def refuse(payload: bool) -> None:  # noqa: FBT001 - a payload
    refuse_threads(payload)


def _limit_memory(more: int | None) -> None:
    if more is None:
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        return
    used = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    resource.setrlimit(resource.RLIMIT_AS, (used + more, -1))


@app.job(id="limit-memory", trigger=event_trigger("limit-memory"))
async def limit_memory(payload: int | None) -> None:
    """No thread's stack fits into a few megabytes."""
    _limit_memory(payload)


@app.job(id="short-of-memory", trigger=event_trigger("short-of-memory"), retry=_ONCE)
async def short_of_memory(payload: float) -> None:
    """For so many seconds there is hardly any memory; what takes the rest of it, again and again, is this thread."""
    ready = threading.Event()

    def take() -> None:
        ready.wait()
        try:
            _take_memory(payload)
        finally:
            _limit_memory(None)
            tell("memory is back")

    threading.Thread(target=take).start()
    _limit_memory(1 << 20)
    ready.set()


def _take_memory(seconds: float) -> None:
    taken: list[bytearray] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            taken.append(bytearray(1 << 12))
        except MemoryError:
            time.sleep(0.01)
            del taken[len(taken) // 2 :]


@app.job(id="out-of-descriptors", trigger=event_trigger("out-of-descriptors"), retry=_ONCE)
async def out_of_descriptors(payload: float) -> None:
    """For so many seconds this process can open nothing."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 - names are all that is asked for
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, before[1]))

    def give_back() -> None:
        until = time.monotonic() + payload
        while time.monotonic() < until:
            try:
                taken.append(os.dup(0))
            except OSError:
                time.sleep(0.001)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for each in taken:
            os.close(each)
        tell("descriptors are back")

    threading.Thread(target=give_back).start()


@app.job(id="allocate", trigger=event_trigger("allocate"), retry=Retry(max_attempts=20, min_delay=0.2, jitter=False))
def allocate(payload: int) -> int:
    return len(bytearray(payload))
