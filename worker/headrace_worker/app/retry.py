"""How often a run is attempted, and how long it waits in between. Pure: the randomness is passed in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from math import inf

import msgspec

from headrace.model.moments import MAX_DURATION_S, seconds_of
from headrace_worker.errors import DefinitionError


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A job's attempts and the waits between them.

    The wait after failure n is `min(max_delay, min_delay · factor^max(n-2, 0) · r)`, with r drawn evenly from
    1 to 2 where `jitter` is on and 1 where it is off.

    Attributes:
        max_attempts: attempts in all, the first included.
        min_delay: seconds to wait after the first failure, or a timedelta; before jitter.
        max_delay: seconds that no wait exceeds, or a timedelta; 100 years at most.
        factor: multiplies each wait from the third failure on.
    """

    max_attempts: int = 5
    min_delay: float | timedelta = 1
    max_delay: float | timedelta = 60
    factor: float = 1.8
    jitter: bool = True

    def __post_init__(self) -> None:
        attempts: object = self.max_attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise DefinitionError(f"Retry.max_attempts must be a whole number of 1 or more, not {attempts!r}")
        for field in ("min_delay", "max_delay"):
            given = getattr(self, field)
            seconds = seconds_of(given)
            if seconds is None or not 0 <= seconds <= MAX_DURATION_S:
                raise DefinitionError(f"Retry.{field} must be 0 to 100 years of seconds, not {given!r}")
            if isinstance(given, timedelta):
                msgspec.structs.force_setattr(self, field, seconds)
        factor: object = self.factor
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= MAX_DURATION_S:
            raise DefinitionError(f"Retry.factor must be a number of 1 or more, not {factor!r}")

    def delay_s(self, failures: int, draw: Callable[[], float]) -> float:
        """Return the seconds to wait after so many failures; `draw` returns an evenly drawn number from 0 to 1."""
        r = 1 + draw() if self.jitter else 1.0
        try:
            growth = float(self.factor) ** max(failures - 2, 0)
        except OverflowError:
            growth = inf
        shortest, longest = seconds_of(self.min_delay) or 0.0, seconds_of(self.max_delay) or 0.0
        return min(longest, shortest * growth * r) if shortest else 0.0
