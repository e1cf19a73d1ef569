"""Signals that end an act in order: Ctrl-C, SIGTERM, and SIGHUP, which comes when the terminal is closed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from click.exceptions import Exit

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupt:
    """Says which signal was the first that asked the command to end.

    Attributes:
        number: the signal's; None as long as none has come.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def has_come(self) -> bool:
        """Return whether the command is to end."""
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """The one that shells expect of a command that a signal has ended."""
        return 128 + (self.number or signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Let a first signal be noted only; a SIGINT behind it is a KeyboardInterrupt.

    A signal that is ignored stays so, as SIGHUP under nohup. SIGTERM and SIGHUP may come twice for one wish: a closed
    terminal sends SIGHUP, and so does its shell.

    Raises:
        Exit: the output fails after a signal, as that of a terminal that was closed.
    """
    interrupt = Interrupt()

    def note_signal(number: int, _frame: object) -> None:
        interrupt.number = interrupt.number or number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]  # Windows has no SIGHUP
    before = {each: signal.getsignal(each) for each in numbers if signal.getsignal(each) != signal.SIG_IGN}
    try:
        for each in before:
            signal.signal(each, note_signal)
        yield interrupt
    except OSError:
        if interrupt.has_come():
            raise Exit(interrupt.exit_code) from None
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
