"""How often a run is attempted, and how long it waits in between. Pure: the randomness is passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from math import inf
from typing import Any, Self

import msgspec

from headrace.model.moments import MAX_DURATION_S, seconds_of
from headrace_worker.errors import DefinitionError


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A job's attempts and the waits between them.

    The wait after failure n is `min(max_delay, min_delay · factor^max(n-2, 0) · r)`, with r drawn evenly from
    1 to 2 where `jitter` is on and 1 where it is off.

    Attributes:
        max_attempts: attempts in all, the first included.
        min_delay: seconds to wait after the first failure, or a timedelta; before jitter. Not above `max_delay`.
        max_delay: seconds that no wait exceeds, or a timedelta; 100 years at most.
        factor: multiplies each wait from the third failure on.
        jitter: stretch each wait at random, up to twice.
        retry_on: classes of the exceptions after which there is another attempt; empty for all. An attempt that runs
            out of time raises TimeoutError. Of a group, each exception counts.
        no_retry_on: classes of the exceptions after which there is none; they count before `retry_on`, and `RetryAfter`
            and `Abort` before both.
    """

    max_attempts: int = 5
    min_delay: float | timedelta = 1
    max_delay: float | timedelta = 60
    factor: float = 1.8
    jitter: bool = True
    retry_on: tuple[type[BaseException], ...] = ()
    no_retry_on: tuple[type[BaseException], ...] = ()

    @classmethod
    def none(cls) -> Self:
        """Return the policy of one attempt in all."""
        return cls(max_attempts=1)

    @classmethod
    def fixed(
        cls,
        seconds: float | timedelta,
        *,
        max_attempts: int = 5,
        retry_on: tuple[type[BaseException], ...] = (),
        no_retry_on: tuple[type[BaseException], ...] = (),
    ) -> Self:
        """Return the policy that waits so many seconds, or a timedelta, after each failure."""
        return cls(
            max_attempts=max_attempts,
            min_delay=seconds,
            max_delay=seconds,
            factor=1,
            jitter=False,
            retry_on=retry_on,
            no_retry_on=no_retry_on,
        )

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
        if self.min_delay > self.max_delay:  # type: ignore[operator] # both are numbers now
            raise DefinitionError(
                f"Retry.min_delay is {self.min_delay:g} s and above Retry.max_delay, {self.max_delay:g} s; give both"
            )
        factor: object = self.factor
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= MAX_DURATION_S:
            raise DefinitionError(f"Retry.factor must be a number of 1 or more, not {factor!r}")
        for field in ("retry_on", "no_retry_on"):
            msgspec.structs.force_setattr(self, field, _checked_classes(field, getattr(self, field)))

    def allows(self, exc: BaseException) -> bool:
        """Return whether there may be another attempt after an exception, or after each exception of a group."""
        kinds = list(_kinds_in(exc)) if self.retry_on or self.no_retry_on else []
        if any(issubclass(kind, self.no_retry_on) for kind in kinds):
            return False
        return not self.retry_on or all(issubclass(kind, self.retry_on) for kind in kinds)

    def delay_s(self, failures: int, draw: Callable[[], float]) -> float:
        """Return the seconds to wait after so many failures; `draw` returns an evenly drawn number from 0 to 1."""
        r = 1 + draw() if self.jitter else 1.0
        try:
            growth = float(self.factor) ** max(failures - 2, 0)
        except OverflowError:
            growth = inf
        shortest, longest = seconds_of(self.min_delay) or 0.0, seconds_of(self.max_delay) or 0.0
        return min(longest, shortest * growth * r) if shortest else 0.0


def _kinds_in(exc: Any) -> Iterator[type[BaseException]]:
    unseen = [exc]
    while unseen:
        each = unseen.pop()
        kind = type(each)  # isinstance would call the exception's own code for its class
        if issubclass(kind, BaseExceptionGroup):
            unseen += each.exceptions
        else:
            yield kind


def _checked_classes(field: str, given: Any) -> tuple[type[BaseException], ...]:
    kinds = tuple(given) if isinstance(given, tuple | list) else (None,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise DefinitionError(f"Retry.{field} must be a tuple of exception classes, not {given!r}")
    return kinds
