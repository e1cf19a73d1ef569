"""How fast an act on many goes: in small portions, with rests, so that workers find the server free. No output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Rate = float | Literal["full"]
"""So many a second at most, or as many as it can."""
PORTION = 10
"""So many go to the server at once: another command waits for one portion at most."""
FULL_PORTION = 200
LONGEST_REST_S = 1.0
"""A step that waits through an outage of the server has taken nothing from it."""
_LOOK_S = 0.1


class Pace:
    """Has steps, and rests after each for as long as it took, so that the act has half of the server's time at most.

    Attributes:
        portion: so many are done in one step.
    """

    def __init__(
        self,
        rate: Rate | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without a rest.

        Args:
            rate: it rests so that no more than this are done in a second; `full`: it does not rest.
            sleep: waits for so many seconds.
            clock: tells the seconds.
        """
        self._rate = rate
        self._sleep = sleep
        self._clock = clock
        self._rests_until = 0.0
        if rate == "full":
            self.portion = FULL_PORTION
        else:
            self.portion = PORTION if rate is None else max(min(PORTION, int(rate)), 1)

    def rest(self, is_interrupted: Callable[[], bool] = lambda: False) -> None:
        """Rest for the step before, or until `is_interrupted` says so, which is asked again and again."""
        while (left_s := self._rests_until - self._clock()) > 0 and not is_interrupted():
            self._sleep(min(left_s, _LOOK_S))

    @contextmanager
    def step(self, done: int = 0) -> Iterator[None]:
        """Do the next step, which counts for so many; for none if it only reads."""
        began = self._clock()
        yield
        ended = self._clock()
        if self._rate == "full":
            return
        if done and self._rate:
            self._rests_until = began + done / self._rate
        else:
            self._rests_until = ended + min(ended - began, LONGEST_REST_S)
