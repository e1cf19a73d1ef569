"""Runs the worker's background loops: each is an object with one `tick`, and none of them dies silently."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from headrace import ConnectionFailed, HeadraceError, ServerNotReady
from headrace_worker.safe_logging import get_logger

log = get_logger("headrace.loop")

_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 2.0
_OUTAGE = (ConnectionFailed, ServerNotReady)


class Loop(Protocol):
    """Something that is done again and again."""

    async def tick(self) -> None:
        """Does it once; may wait inside for something to do."""

    async def recover(self, error: HeadraceError | None) -> None:
        """Is called after a tick that failed, and before the next one; `error` is None for an unforeseen failure."""


async def wait_either(first: asyncio.Event, second: asyncio.Event) -> None:
    """Returns when one of two events is set."""
    if first.is_set() or second.is_set():
        return
    waits = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def run_loop(name: str, loop: Loop, is_over: Callable[[], bool], over: asyncio.Event) -> None:
    """Ticks until `is_over`. A failure is logged once, then waited out with jitter for as long as it stays the same.

    Args:
        over: set when a wait between failures shall end early.
    """
    failures, known = 0, ""
    while not is_over():
        try:
            await loop.tick()
            if failures:
                log.info("loop goes on", loop=name, failures=failures)
            failures, known = 0, ""
        except Exception as exc:  # noqa: BLE001 - whatever it is, the loop goes on
            failures += 1
            if _kind_of(exc) != known:
                known = _kind_of(exc)
                _tell(name, exc, failures)
            await _pause(failures, over)
            await _recover(name, loop, exc)


def _kind_of(exc: Exception) -> str:
    """Returns what two failures have in common that need to be told only once."""
    return "outage" if isinstance(exc, _OUTAGE) else f"{type(exc).__name__}: {exc}"


def _tell(name: str, exc: Exception, failures: int) -> None:
    if isinstance(exc, _OUTAGE):
        log.warning("server can't be used, waiting", loop=name, error=str(exc))
    elif isinstance(exc, HeadraceError):
        log.error("loop failed, trying again", loop=name, error=str(exc), failures=failures)
    else:
        log.error("loop failed in an unforeseen way, trying again", loop=name, failures=failures, exc_info=exc)


async def _pause(failures: int, over: asyncio.Event) -> None:
    longest = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(failures - 1, 10))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), longest * random.uniform(0.5, 1))  # noqa: S311 - no secret


async def _recover(name: str, loop: Loop, exc: Exception) -> None:
    try:
        await loop.recover(exc if isinstance(exc, HeadraceError) else None)
    except HeadraceError as fault:
        log.debug("recovery failed, will be tried again", loop=name, error=str(fault))
    except Exception:
        log.exception("recovery failed in an unforeseen way, will be tried again", loop=name)


if sys.version_info >= (3, 12):

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts work at once: what never waits costs no trip through the event loop."""
        return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)

else:

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts work at the event loop's next turn."""
        return asyncio.get_running_loop().create_task(work)
