"""Says how far an act has come: one line on a terminal, below everything that is printed meanwhile."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from time import monotonic

from headrace_worker.terminal.quantities import duration

_EVERY_S = 0.1
_BAR = 30
_BESIDE_BAR = 24
"""Columns for what a line has beside its label and its bar."""
_USUAL_COLUMNS = 80


class _Line:
    """The line; it knows whether it is on the terminal, so that others can print in its place."""

    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._count = 0
        self._began_at = monotonic()
        self._drawn_at = 0.0
        self._width = 0

    def advance(self, count: int) -> None:
        """Go on by so many, and draw the line if it is not there, or was drawn some time ago."""
        self._count += count
        if not self._width or monotonic() - self._drawn_at >= _EVERY_S:
            self.draw()

    def draw(self) -> None:
        """Write the line in its own place: one that fills the last column would begin a second one."""
        columns = _columns() - 1
        text = self._text(columns)[:columns]
        self._write(f"\r{text.ljust(self._width)}")
        self._width, self._drawn_at = len(text), monotonic()

    def erase(self) -> None:
        """Leave its place to what is printed next; blanks do that on every terminal."""
        if self._width:
            self._write(f"\r{' ' * self._width}\r")
            self._width = 0

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone, which ends no act by itself
            sys.stderr.write(text)
            sys.stderr.flush()

    def _text(self, columns: int) -> str:
        if self._total is None:
            return f"{self._label} {self._count:,}"
        share = self._count / self._total if self._total else 1.0
        width = max(min(_BAR, columns - len(self._label) - _BESIDE_BAR), 0)
        left = f"  {duration((monotonic() - self._began_at) * (1 / share - 1))} left" if 0 < share < 1 else ""
        return f"{self._label}  [{'#' * int(share * width):{width}}] {share:4.0%}{left}"


_line: _Line | None = None
"""The line of this process; a command does one act at a time."""


@contextlib.contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield the function to call with each advance; on a terminal, show how far it is on standard error.

    Args:
        total: where it ends; if that is None, how far it has come is shown as a number.
    """
    global _line  # noqa: PLW0603 - see there
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    _line = line = _Line(label, total)
    line.draw()
    try:
        yield line.advance
        line.draw()  # how far it came, also where that was too fast for a line in between
    finally:
        _line = None
        line.erase()


def make_room() -> None:
    """Erase the line before something else is written to the terminal; the next advance draws it again."""
    if _line is not None:
        _line.erase()


def _columns() -> int:
    """Return how wide the terminal of standard error is."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS
