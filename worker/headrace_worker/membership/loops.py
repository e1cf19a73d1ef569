"""Runs the worker's background loops: each is an object with one `tick`, and none of them dies silently."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Generator
from typing import Protocol

from headrace import HeadraceError, ServerUnreachable
from headrace.errors import OUTAGE
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.watch import Pulse
from headrace_worker.tasks.guard import describe, is_end, own_task

log = get_logger("headrace.loop")

_FIRST_PAUSE_S = 0.05


class Loop(Protocol):
    """A background loop, whose `tick` is called again and again.

    Attributes:
        pulse: what the loop is doing, for the watch.
    """

    pulse: Pulse

    async def tick(self) -> None:
        """Do the loop's work once; may wait for work."""

    async def recover(self, error: HeadraceError | None) -> None:
        """Recover from a failed tick, before the next one; `error` is None for an unforeseen failure."""


async def wait_either(first: asyncio.Event, second: asyncio.Event) -> None:
    """Return when one of two events is set."""
    while not (first.is_set() or second.is_set()):
        waits = [own_task(event.wait()) for event in (first, second)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def run_loop(
    name: str,
    loop: Loop,
    is_over: Callable[[], bool],
    over: asyncio.Event,
    stood_s: Callable[[], float] = float,
    longest_pause_s: float = 2.0,
) -> None:
    """Call `tick` until `is_over`; log a failure once while it stays the same, and pause after each, with jitter.

    Args:
        over: when set, ends the pause after a failure early.
        stood_s: for how many seconds the event loop stood still lately; 0 if it did not.
        longest_pause_s: how long the pause gets after many failures.
    """
    failures = _Failures(name, loop, over, stood_s, longest_pause_s)
    while not is_over():
        try:
            await loop.tick()
            loop.pulse.succeed()
            failures.end()
        except BaseException as exc:
            if is_end(exc):
                raise
            await failures.handle(exc)
    loop.pulse.rest()


class _Failures:
    """Handles the failures of one loop. Nothing that happens here ends the loop."""

    def __init__(
        self, name: str, loop: Loop, over: asyncio.Event, stood_s: Callable[[], float], longest_pause_s: float
    ) -> None:
        self._name = name
        self._loop = loop
        self._over = over
        self._stood_s = stood_s
        self._longest_pause_s = longest_pause_s
        self._count = 0
        self._known = ""

    def end(self) -> None:
        """Note that a tick went well."""
        if self._count:
            log.info("loop goes on", loop=self._name, failures=self._count)
            self._count, self._known = 0, ""

    async def handle(self, exc: BaseException) -> None:
        """Log a failure of a new kind, wait, and let the loop recover."""
        self._count += 1
        try:
            self._report(exc)
        except BaseException as fault:
            self._known = ""
            with contextlib.suppress(BaseException):  # the pause and the recovery come all the same
                log.exception("a loop's failure can't be noted", loop=self._name, error=describe(fault))
        try:
            await self._pause()
            await _recover(self._name, self._loop, exc)
        except BaseException as fault:
            if is_end(fault):
                raise
            # No memory or stack even for the pause: the next tick may find some.
            await _NEXT_TURN

    def _report(self, exc: BaseException) -> None:
        self._loop.pulse.fail(exc)
        if (kind := _kind_of(exc)) != self._known:
            self._known = kind
            self._log(exc)

    def _log(self, exc: BaseException) -> None:
        if isinstance(exc, ServerUnreachable) and (stood_s := self._stood_s()):
            log.warning(
                "event loop stood still, so a call to the server ran out of time; trying again",
                loop=self._name, stood_s=round(stood_s, 1), error=str(exc),
            )  # fmt: skip
        elif isinstance(exc, OUTAGE):
            log.warning("server can't be used, waiting", loop=self._name, error=str(exc))
        elif isinstance(exc, HeadraceError):
            log.error("loop failed, trying again", loop=self._name, error=str(exc), failures=self._count)
        else:
            log.error(
                "loop failed in an unforeseen way, trying again", loop=self._name, failures=self._count, exc_info=exc
            )

    async def _pause(self) -> None:
        longest = min(self._longest_pause_s, _FIRST_PAUSE_S * 2.0 ** min(self._count - 1, 10))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), longest * random.uniform(0.5, 1))  # noqa: S311 - no secret


def _kind_of(exc: BaseException) -> str:
    """Return the kind of a failure; failures of one kind in a row are logged once."""
    return "outage" if isinstance(exc, OUTAGE) else f"{type(exc).__name__}: {exc}"


async def _recover(name: str, loop: Loop, exc: BaseException) -> None:
    try:
        await loop.recover(exc if isinstance(exc, HeadraceError) else None)
    except HeadraceError as fault:
        log.debug("recovery failed, will be tried again", loop=name, error=str(fault))
    except BaseException as fault:
        if is_end(fault):
            raise
        log.exception("recovery failed in an unforeseen way, will be tried again", loop=name)


class _NextTurn:
    """Waits for the event loop's next turn; made before it is needed, and takes next to no stack."""

    def __await__(self) -> Generator[None, None, None]:
        yield


_NEXT_TURN = _NextTurn()
