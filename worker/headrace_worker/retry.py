"""How often a run is attempted, and how long it waits in between. Pure: the randomness is passed in."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite

import msgspec

from headrace import ConfigurationError


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A job's attempts and the waits between them.

    The wait after failure n is `min(max_delay, min_delay · factor^max(n-2, 0) · r)`, with r drawn evenly from
    1 to 2 where `jitter` is on and 1 where it is off.

    Attributes:
        max_attempts: attempts in all, the first included.
        min_delay: seconds to wait after the first failure, before jitter.
        max_delay: seconds that no wait exceeds.
        factor: what each wait is multiplied with from the third failure on.
    """

    max_attempts: int = 5
    min_delay: float = 1
    max_delay: float = 60
    factor: float = 1.8
    jitter: bool = True

    def __post_init__(self) -> None:
        attempts: object = self.max_attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise ConfigurationError(f"Retry.max_attempts must be a whole number of 1 or more, not {attempts!r}")
        for field, lowest in (("min_delay", 0), ("max_delay", 0), ("factor", 1)):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < lowest:
                raise ConfigurationError(f"Retry.{field} must be a number of {lowest} or more, not {value!r}")

    def delay_s(self, failures: int, draw: Callable[[], float]) -> float:
        """Returns the seconds to wait after so many failures; `draw` gives an even number from 0 to 1."""
        r = 1 + draw() if self.jitter else 1.0
        try:
            growth = float(self.factor) ** max(failures - 2, 0)
        except OverflowError:
            growth = inf
        return min(self.max_delay, self.min_delay * growth * r) if self.min_delay else 0.0
