"""Waits for a condition to become true, and shows its last value if it does not."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

_INTERVAL_S = 0.01


class WaitedInVain(AssertionError):
    """The condition has not become true in the given time; `last` is its last value."""

    def __init__(self, what: str, timeout_s: float, last: object) -> None:
        self.last = last
        super().__init__(f"waited {timeout_s:g} s in vain for {what}; the last value was {last!r}")


def wait_until(
    condition: Callable[[], T],
    timeout: float = 10.0,
    *,
    what: str | None = None,
    interval: float = _INTERVAL_S,
    ignoring: tuple[type[Exception], ...] = (),
) -> T:
    """Return the first true value of the condition, or raises WaitedInVain with the last one.

    Errors of the types in `ignoring` count as not yet true: those of a server that is just restarting, say.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: T | Exception
        try:
            last = condition()
        except ignoring as exc:
            last = exc
        else:
            if last:
                return last
        if time.monotonic() >= deadline:
            raise WaitedInVain(what or _words_of(condition), timeout, last)
        time.sleep(interval)


@overload
async def await_until(
    condition: Callable[[], Awaitable[T]],
    timeout: float = 10.0,
    *,
    what: str | None = None,
    interval: float = _INTERVAL_S,
    ignoring: tuple[type[Exception], ...] = (),
) -> T: ...


@overload
async def await_until(
    condition: Callable[[], T],
    timeout: float = 10.0,
    *,
    what: str | None = None,
    interval: float = _INTERVAL_S,
    ignoring: tuple[type[Exception], ...] = (),
) -> T: ...


async def await_until(
    condition: Callable[[], object],
    timeout: float = 10.0,
    *,
    what: str | None = None,
    interval: float = _INTERVAL_S,
    ignoring: tuple[type[Exception], ...] = (),
) -> object:
    """Return the first true value of the condition, plain or async, while the event loop goes on."""
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            answer = condition()
            last = await answer if inspect.isawaitable(answer) else answer
        except ignoring as exc:
            last = exc
        else:
            if last:
                return last
        if time.monotonic() >= deadline:
            raise WaitedInVain(what or _words_of(condition), timeout, last)
        await asyncio.sleep(interval)


def _words_of(condition: Callable[[], object]) -> str:
    """Return the source of a condition, as the best description of it, or its name."""
    try:
        lines = inspect.getsource(condition).split()
    except (OSError, TypeError):
        return getattr(condition, "__qualname__", repr(condition))
    source = " ".join(lines)
    return source if len(source) <= 300 else f"{source[:300]} …"
