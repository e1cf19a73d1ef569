"""How long records are kept: a plain value that workers, clients and the calls of both hold. Pure."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any

import msgspec

from headrace.errors import ConfigurationError
from headrace.model.moments import MAX_DURATION_S, seconds_of


class Retention(msgspec.Struct, frozen=True):
    """How long a record is kept once nothing of it is open. Durations are seconds or a timedelta.

    Attributes:
        success: how long after all runs succeeded, or none matched; 0 drops the contents at once.
        failure: how long after a run failed, and how long dead letters stay.
        dedupe_client: how long at least an id that the client made is remembered.
        dedupe_sender: how long at least an id that the sender gave is remembered.
    """

    success: float | timedelta = 3_600
    failure: float | timedelta = 7 * 86_400
    dedupe_client: float | timedelta = 900
    dedupe_sender: float | timedelta = 86_400

    def __post_init__(self) -> None:
        """Refuse, with ConfigurationError, what is no duration."""
        for name, value in zip(self.__struct_fields__, msgspec.structs.astuple(self), strict=True):
            seconds = seconds_of(value)
            if seconds is None or not 0 <= seconds <= MAX_DURATION_S:
                raise ConfigurationError(f"retention: {name} must be 0 to 100 years of seconds, not {value!r}")
            msgspec.structs.force_setattr(self, name, seconds)

    def millis(self) -> tuple[int, int, int, int, int]:
        """Return the policy as the scripts read it; derived ids are remembered as long as failures are kept."""
        return _millis(self.success, self.failure, self.dedupe_client, self.dedupe_sender)


@lru_cache(maxsize=64)  # asked for with each batch
def _millis(*durations: Any) -> tuple[int, int, int, int, int]:
    success, failure, client, sender = (round(seconds * 1000) for seconds in durations)
    return success, failure, client, sender, failure
