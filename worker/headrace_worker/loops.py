"""Runs the worker's background loops: each is an object with one `tick`, and none of them dies silently."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from headrace import ConnectionFailed, HeadraceError, ServerNotReady

log = structlog.get_logger("headrace.loop")

_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 2.0


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
    """Ticks until `is_over`. A failure is logged once, then waited out with jitter for as long as it lasts.

    Args:
        over: set when a wait between failures shall end early.
    """
    failures = 0
    while not is_over():
        try:
            await loop.tick()
            if failures:
                log.info("loop goes on", loop=name, failures=failures)
            failures = 0
        except (ConnectionFailed, ServerNotReady) as exc:
            failures += 1
            if failures == 1:
                log.warning("server can't be used, waiting", loop=name, error=str(exc))
            await _pause(failures, over, lambda exc=exc: loop.recover(exc))  # type: ignore[misc]
        except HeadraceError as exc:
            failures += 1
            log.error("loop failed, trying again", loop=name, error=str(exc), failures=failures)  # noqa: TRY400 - foreseen
            await _pause(failures, over, lambda exc=exc: loop.recover(exc))  # type: ignore[misc]
        except Exception:
            failures += 1
            log.exception("loop failed in an unforeseen way, trying again", loop=name, failures=failures)
            await _pause(failures, over, lambda: loop.recover(None))


async def _pause(failures: int, over: asyncio.Event, recover: Callable[[], Awaitable[None]]) -> None:
    longest = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(failures - 1, 10))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), longest * random.uniform(0.5, 1))  # noqa: S311 - no secret
    try:
        await recover()
    except HeadraceError as exc:
        log.debug("recovery failed, will be tried again", error=str(exc))
