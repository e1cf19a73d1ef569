"""Makes moments and durations plain, whatever library they are of. Pure.

A subclass has operators of its own (pendulum's differences, pandas' NaT), so what comes from outside is made a datetime
of Python's own before anything is calculated with it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

MAX_DURATION_S: Final = 100 * 366 * 86_400
"""The longest delay, wait or retention that can be asked for: 100 years."""
_OWN: Final[list[type[datetime]]] = [each for each in datetime.__mro__ if each.__module__ == "datetime"][:1]
"""Python's own class: in a list, where a test that stops time puts no fake in its place."""


def plain_moment(moment: datetime) -> datetime:
    """Return a datetime of Python's own class that is the same moment, zone and fold.

    Raises:
        ValueError, TypeError: the object is a datetime by its class alone, as pandas.NaT is, or out of Python's range.
    """
    own = _OWN[0]
    if type(moment) is own:
        return moment
    return own(
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond,
        moment.tzinfo,
        fold=moment.fold,
    )


def aware_moment(given: object) -> datetime:
    """Return a plain datetime with an offset from UTC; raise ValueError that says what is wrong with the given one."""
    if not isinstance(given, datetime):
        raise ValueError(f"must be a datetime, not {type(given).__name__}")  # noqa: TRY004 - one error for every wrong value
    try:
        moment = plain_moment(given)
        offset = moment.utcoffset()
    except Exception as exc:
        raise ValueError(f"is no moment: a {type(given).__name__} that says {type(exc).__name__}: {exc}") from exc
    if offset is None:
        raise ValueError("is a naive datetime; give it a time zone, such as datetime.now(timezone.utc)")
    return moment


def seconds_of(given: object) -> float | None:
    """Return a number of seconds or a timedelta as seconds, possibly infinite or NaN; None for anything else."""
    number: Any = given
    if isinstance(given, timedelta):
        try:
            number = given.total_seconds()
        except Exception:  # noqa: BLE001 - a subclass's own code may raise anything
            return None
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
