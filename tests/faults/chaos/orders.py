"""Faults that a worker does to itself when chaos orders them: its log, its loops, and what it needs from the system.

An order is a file that is named after the process. Each is carried out in a thread, so that it comes where the event
loop is at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from tests.support import no_threads

_LOOK_S = 0.02
_PAGE = 4096
_FOR_NO_STACK = 4 << 20
"""Bytes of address space in which no thread's stack finds room, while small things do."""
Loop = asyncio.AbstractEventLoop


class Order(msgspec.Struct, frozen=True):
    """A worker does this to itself, for so many seconds where that is for a while; `draw` says to which part."""

    kind: str
    seconds: float = 0.0
    draw: int = 0


def give(folder: Path, pid: int, order: Order) -> None:
    """The process will carry the order out."""
    folder.mkdir(exist_ok=True)
    part = folder / f"{pid}.part"
    part.write_bytes(msgspec.json.encode(order))
    part.rename(folder / str(pid))


def obey(folder: Path, loop_of: Callable[[], Loop | None]) -> None:
    """From now on this process carries out what is ordered, once its worker runs on a loop."""
    threading.Thread(target=_wait_for_orders, args=(folder / str(os.getpid()), loop_of), daemon=True).start()


def _wait_for_orders(path: Path, loop_of: Callable[[], Loop | None]) -> None:
    while True:
        time.sleep(_LOOK_S)
        loop = loop_of()
        if loop is None or not path.exists():
            continue
        order = msgspec.json.decode(path.read_bytes(), type=Order)
        path.unlink()
        if order.kind in _AT_ONCE:
            _AT_ONCE[order.kind](loop, order.draw)
        else:
            with _FOR_A_WHILE[order.kind]():
                time.sleep(order.seconds)


# its loops


def _end_part(loop: Loop, draw: int) -> None:
    """Cancel a task of the worker's own, outside of any run."""
    parts = [task for task in asyncio.all_tasks(loop) if task.get_coro().__qualname__ == "Guard._watch_part"]  # type: ignore[union-attr]
    parts.sort(key=lambda task: task.get_name())
    if parts:
        loop.call_soon_threadsafe(parts[draw % len(parts)].cancel)


def _block(loop: Loop, _: int) -> None:
    """The event loop turns no more, in no run."""
    loop.call_soon_threadsafe(time.sleep, 1e6)


_AT_ONCE: Mapping[str, Callable[[Loop, int], None]] = {"loop ended": _end_part, "event loop blocked": _block}


# its log


@contextmanager
def _log_goes_to(descriptor: int) -> Iterator[None]:
    saved = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(descriptor)


@contextmanager
def _cut_log() -> Iterator[None]:
    """Its reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with _log_goes_to(writer):
        yield


@contextmanager
def _fill_log() -> Iterator[None]:
    """The disk that it is on is full."""
    with _log_goes_to(os.open("/dev/full", os.O_WRONLY)):
        yield


@contextmanager
def _stop_log() -> Iterator[None]:
    """Block the log's reader, and fill the pipe."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    try:
        with _log_goes_to(writer):
            yield
    finally:
        os.close(reader)  # a writer that waits gets an error, as no reader is left


# what it needs from the system


@contextmanager
def _limited(kind: int, most: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def _refuse_memory() -> AbstractContextManager[None]:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    return _limited(resource.RLIMIT_AS, used + _FOR_NO_STACK)


def _refuse_descriptors() -> AbstractContextManager[None]:
    """Set a limit below which no descriptor is free."""
    return _limited(resource.RLIMIT_NOFILE, min(set(range(65_536)) - set(map(int, os.listdir("/proc/self/fd")))))  # noqa: PTH208


@contextmanager
def _refuse_threads() -> Iterator[None]:
    start = getattr(threading, no_threads.NAME)
    setattr(threading, no_threads.NAME, no_threads.refuse)
    try:
        yield
    finally:
        setattr(threading, no_threads.NAME, start)


_FOR_A_WHILE: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "log cut": _cut_log,
    "log full": _fill_log,
    "log standing": _stop_log,
    "memory refused": _refuse_memory,
    "descriptors refused": _refuse_descriptors,
    "threads refused": _refuse_threads,
}
