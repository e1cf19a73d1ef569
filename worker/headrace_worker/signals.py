"""The signals by which a process is told to stop: heard while it works, passed over while it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def hear_stop_signals(tell: Callable[[int], object]) -> None:
    """From now on each SIGTERM or SIGINT calls `tell` in the main thread, even while the event loop is blocked."""

    def handle(number: int, _frame: FrameType | None) -> None:
        tell(number)

    for number in STOP_SIGNALS:
        signal.signal(number, handle)


def ignore_stop_signals() -> None:
    """From now on they do nothing: one that comes late must not change how an orderly end looks from outside."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
