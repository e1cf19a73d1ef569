"""How long records are kept: a plain value that workers, clients and the calls of both hold. Pure."""

from __future__ import annotations

import msgspec

from headrace.errors import ConfigurationError
from headrace.model.moments import MAX_DURATION_S


class Retention(msgspec.Struct, frozen=True):
    """How long a record is kept once nothing of it is open.

    Attributes:
        success_s: seconds after all runs succeeded, or none matched; 0 drops the contents at once.
        failure_s: seconds after a run failed, and how long dead letters stay.
        dedupe_client_s: seconds for which an id that the client made is remembered at least.
        dedupe_sender_s: seconds for which an id that the sender gave is remembered at least.
    """

    success_s: float = 3_600
    failure_s: float = 7 * 86_400
    dedupe_client_s: float = 900
    dedupe_sender_s: float = 86_400

    def __post_init__(self) -> None:
        """Refuse, with ConfigurationError, what is no number of seconds."""
        for name, value in zip(self.__struct_fields__, msgspec.structs.astuple(self), strict=True):
            if not isinstance(value, int | float) or not 0 <= value <= MAX_DURATION_S:
                raise ConfigurationError(f"retention: {name} must be 0 to 100 years of seconds, not {value!r}")

    def millis(self) -> tuple[int, int, int, int, int]:
        """Return the policy as the scripts read it; derived ids are remembered as long as failures are kept."""
        failure = round(self.failure_s * 1000)
        return (
            round(self.success_s * 1000),
            failure,
            round(self.dedupe_client_s * 1000),
            round(self.dedupe_sender_s * 1000),
            failure,
        )
