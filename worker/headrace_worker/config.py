"""The settings of a worker: one frozen struct, checked as a whole. Only the command line reads the environment."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, cast

import msgspec

from headrace import ConfigurationError, Retention
from headrace.formats.keys import check_name
from headrace.model.moments import MAX_DURATION_S, seconds_of


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works. Durations are seconds or a timedelta.

    Attributes:
        concurrency: runs that the worker executes at once.
        queues: names of the queues from which the worker takes runs; None for all of its app.
        grace: how long runs may go on after a stop; then they are released to other workers.
        lease: how long after its last sign of life a worker's runs go to other workers.
        stall: how long a part of the worker may stand still before the worker ends, for example the event loop in a
            job that blocks it; a run's timeout replaces this limit. Four leases if None.
        block: how long a read waits at most for entries.
        max_lost: workers that may die with a run in flight before it is dead-lettered; its last try is quarantined.
        dispatchers: workers of a partition that dispatch at once; 0: this worker never does.
        retention: how long records are kept.
        unknown_job: how long a run waits for a worker that has its job.
        max_output_bytes: a note replaces an output over this size.
        allow_eviction: work on a server whose eviction policy may drop keys; leases and records can vanish then.
        tracebacks: whether the log shows the traceback of a run's last attempt, or of every failed one.
    """

    concurrency: int = 100
    queues: tuple[str, ...] | None = None
    grace: float | timedelta = 30
    lease: float | timedelta = 15
    stall: float | timedelta | None = None
    block: float | timedelta = 5
    max_lost: int = 3
    dispatchers: int = 8
    retention: Retention = Retention()
    unknown_job: float | timedelta = 86_400
    max_output_bytes: int = 65_536
    allow_eviction: bool = False
    tracebacks: Literal["last", "every"] = "last"

    def __post_init__(self) -> None:
        for field, lowest in (("concurrency", 1), ("max_lost", 1), ("dispatchers", 0), ("max_output_bytes", 0)):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ConfigurationError(f"{field} must be a whole number of {lowest} or more, not {value!r}")
        for field, low in (("grace", 0.0), ("lease", 0.3), ("block", 0.05), ("unknown_job", 0.0)):
            self._check_duration(field, low, f"{low:g} seconds or more")
        if self.stall is not None:
            low = 2 * self.lease_s
            self._check_duration("stall", low, f"two leases, {low:g} seconds, or more, or None")
        if self.queues is not None:
            msgspec.structs.force_setattr(self, "queues", _checked_queues(self.queues))
        if self.tracebacks not in ("last", "every"):
            raise ConfigurationError(f"tracebacks must be 'last' or 'every', not {self.tracebacks!r}")
        if not isinstance(self.retention, Retention):
            raise ConfigurationError(f"retention must be a Retention(…), not {self.retention!r}")

    def _check_duration(self, field: str, low: float, rule: str) -> None:
        given = getattr(self, field)
        seconds = seconds_of(given)
        if seconds is None or not low <= seconds <= MAX_DURATION_S:
            raise ConfigurationError(f"{field} must be {rule}, not {given!r}")
        msgspec.structs.force_setattr(self, field, seconds)

    @property
    def grace_s(self) -> float:
        """The grace in seconds."""
        return cast("float", self.grace)

    @property
    def lease_s(self) -> float:
        """The lease in seconds."""
        return cast("float", self.lease)

    @property
    def block_s(self) -> float:
        """The longest wait of a read in seconds."""
        return cast("float", self.block)

    @property
    def unknown_job_s(self) -> float:
        """Seconds for which a run waits for a worker that has its job."""
        return cast("float", self.unknown_job)

    @property
    def stall_limit_s(self) -> float:
        """Seconds that a part of the worker may stand still before the worker ends."""
        return 4 * self.lease_s if self.stall is None else cast("float", self.stall)

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return round(self.lease_s * 1000)

    @property
    def look_again_ms(self) -> int:
        """Milliseconds after which no read of a dead worker can still deliver entries."""
        return round((self.block_s + self.lease_s) * 1000)


def _checked_queues(queues: object) -> tuple[str, ...]:
    if not isinstance(queues, tuple | list):
        raise ConfigurationError(f"queues must be a tuple of names, or None for all of the app, not {queues!r}")
    if not queues:
        raise ConfigurationError("queues is empty; name at least one, or leave it None for all of the app")
    return tuple(dict.fromkeys(check_name("queues:", queue) for queue in queues))
