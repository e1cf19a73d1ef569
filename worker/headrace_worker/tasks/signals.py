"""The signals that stop a process: received while the process works, ignored while it ends.

An operator's wish reaches a process in several ways at once: systemd signals every process of a unit, supervisord a
whole group, a wrapper forwards what it receives. So signals within half a second of a wish's first belong to that wish.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import write_directly

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that mean "stop". A closed terminal sends SIGHUP; under nohup it stays ignored."""

SAME_WISH_S = 0.5


class Wishes:
    """Counts the wishes to stop behind the signals that a process receives."""

    def __init__(self) -> None:
        self._count = 0
        self._began_at = 0.0

    def count(self, now_s: float) -> int | None:
        """Return the number of the wish that a signal begins, from 1; None if the signal belongs to the wish before."""
        if self._count and now_s - self._began_at < SAME_WISH_S:
            return None
        self._count += 1
        self._began_at = now_s
        return self._count


def receive_wishes(answer: Callable[[int], object]) -> None:
    """Call `answer` from now on, in the main thread, with the number of each wish to stop, from 1."""
    wishes = Wishes()

    def count() -> None:
        if (number := wishes.count(monotonic())) is not None:
            answer(number)

    receive_stop_signals(count)


def receive_stop_signals(answer: Callable[[], object]) -> None:
    """Call `answer` from now on, in the main thread, for each signal, even while the event loop is blocked.

    An answer that fails ends the process: no request to stop may be lost.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        try:
            answer()
        except BaseException as exc:  # noqa: BLE001 - it would be raised in the code that executes at the moment
            end_process(f"headrace: can't stop in order, and ends: {type(exc).__name__}")

    for number in _wanted_signals():
        signal.signal(number, handle)


def end_on_stop_signals() -> None:
    """End the process at once from now on, as signals do by default to every process but the first of a container.

    The kernel ignores a signal to process 1 that has no handler: without one, `docker stop` would wait in vain.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        os._exit(128 + number)

    if os.getpid() == 1:
        for number in _wanted_signals():
            signal.signal(number, end)


def ignore_stop_signals() -> None:
    """Ignore the signals from now on: a late one must not change how an orderly end looks from outside."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end_process(last_words: str) -> None:
    """End this process at once with exit code 1; write the last words only if that can't block."""
    write_directly(last_words)
    os._exit(1)


def _wanted_signals() -> list[signal.Signals]:
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in STOP_SIGNALS if not (number == signal.SIGHUP and is_ignored)]
