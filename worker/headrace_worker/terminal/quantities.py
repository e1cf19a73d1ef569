"""Writes quantities for people: durations, sizes, and rows of numbers as small charts."""

from __future__ import annotations

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))
_LONG = 2
"""So many of a unit are said in that unit."""


def duration(seconds: float | None) -> str | None:
    """Return a duration in one unit, None for none."""
    if seconds is None:
        return None
    for unit, length in _UNITS:
        if abs(seconds) >= _LONG * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def size(count: int | None) -> str | None:
    """Return a number of bytes in MiB, None for none."""
    return None if count is None else f"{count / 2**20:.0f} MiB"


def limit_in_words(limit: int | str | None) -> str:
    """Return how many runs may be in flight at once, in words."""
    return "no limit" if limit is None else f"{limit:,}" if isinstance(limit, int) else limit


def going_on(canceled: int) -> str | None:
    """Return how many functions of canceled runs go on, in words; None for none."""
    if not canceled:
        return None
    return "1 function goes on" if canceled == 1 else f"{canceled:,} functions go on"


def chart(numbers: Sequence[int], width: int) -> str:
    """Return the last numbers as bars, the highest as a full one and 0 as a blank."""
    shown = numbers[-width:]
    top = max(shown, default=0)
    return "".join(_BARS[min(number * len(_BARS) // (top + 1), len(_BARS) - 1)] if number else " " for number in shown)
