"""How long to wait between attempts."""

from __future__ import annotations

import random

from headrace.errors import OUTAGE, CallError
from headrace.transport.deadline import Deadline

_LEAST_S = 0.05
"""What an attempt needs: one that has less would only hide what the attempt before it has said."""


class Backoff:
    """Waits between attempts: doubling from 50 ms to 1 s, with jitter, for `attempts` of them."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts

    def delay_s(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row."""
        return min(1.0, 0.05 * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1)  # noqa: S311 - no secret

    def pause_s(self, failures: int, deadline: Deadline | None) -> float | None:
        """Return how long to wait before the next attempt; None without one: the attempts are used up, or the time."""
        if failures >= self.attempts:
            return None
        delay_s = self.delay_s(failures)
        return delay_s if deadline is None or delay_s + _LEAST_S < deadline.left_s() else None

    def pause_or_raise(self, error: CallError, failures: int, deadline: Deadline | None) -> float:
        """Return how long to wait before the next attempt; raise the error if there is none, or if it is no outage."""
        if not isinstance(error, OUTAGE):
            raise error
        pause_s = self.pause_s(failures, deadline)
        if pause_s is not None:
            return pause_s
        if deadline is not None:
            deadline.explain(error, failures)
        raise error
