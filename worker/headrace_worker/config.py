"""The settings of a worker: one frozen struct, checked as a whole. Only the command line reads the environment."""

from __future__ import annotations

from math import isfinite

import msgspec

from headrace import ConfigurationError, Retention
from headrace.formats.keys import check_name


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works.

    Attributes:
        concurrency: runs that it executes at once.
        queues: names of the queues it takes runs from; None for all of its app.
        grace_s: seconds that runs have to finish in after a stop; then they are released to other workers.
        lease_s: seconds after its last sign of life at which its runs go to other workers.
        stall_s: seconds that a part of the worker may stand still before the worker ends, as the event loop does in a
            job that blocks it; a run's timeout takes its place. Four leases if None.
        block_s: seconds that a read waits at most for something to arrive.
        max_lost: workers that may die with a run in their hands before it is buried; its last life is alone.
        seats: workers of a partition that dispatch at once; 0: this one never does.
        retention: how long records are kept.
        unknown_job_s: seconds for which a run waits for a worker that has its job.
        max_output_bytes: an output over this size is replaced by a note.
        allow_eviction: work on a server whose eviction policy may drop keys; leases and records can vanish then.
    """

    concurrency: int = 100
    queues: tuple[str, ...] | None = None
    grace_s: float = 30
    lease_s: float = 15
    stall_s: float | None = None
    block_s: float = 5
    max_lost: int = 3
    seats: int = 8
    retention: Retention = Retention()
    unknown_job_s: float = 86_400
    max_output_bytes: int = 65_536
    allow_eviction: bool = False

    def __post_init__(self) -> None:
        for field, lowest in (("concurrency", 1), ("max_lost", 1), ("seats", 0), ("max_output_bytes", 0)):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ConfigurationError(f"{field} must be a whole number of {lowest} or more, not {value!r}")
        for field, low in (("grace_s", 0.0), ("lease_s", 0.3), ("block_s", 0.05), ("unknown_job_s", 0.0)):
            value = getattr(self, field)
            if not _is_number(value) or value < low:
                raise ConfigurationError(f"{field} must be {low:g} seconds or more, not {value!r}")
        if self.stall_s is not None and not (_is_number(self.stall_s) and self.stall_s >= 2 * self.lease_s):
            raise ConfigurationError(
                f"stall_s must be two leases, {2 * self.lease_s:g} seconds, or more, or None, not {self.stall_s!r}"
            )
        if self.queues is not None:
            msgspec.structs.force_setattr(self, "queues", _checked_queues(self.queues))
        if not isinstance(self.retention, Retention):
            raise ConfigurationError(f"retention must be a Retention(…), not {self.retention!r}")

    @property
    def stall_limit_s(self) -> float:
        """Seconds that a part of the worker may stand still before the worker ends."""
        return 4 * self.lease_s if self.stall_s is None else self.stall_s

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return round(self.lease_s * 1000)

    @property
    def look_again_ms(self) -> int:
        """Milliseconds after which nothing that a dead worker had asked for can still be handed to it."""
        return round((self.block_s + self.lease_s) * 1000)


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and isfinite(value)


def _checked_queues(queues: object) -> tuple[str, ...]:
    if not isinstance(queues, tuple | list):
        raise ConfigurationError(f"queues must be a tuple of names, or None for all of the app, not {queues!r}")
    if not queues:
        raise ConfigurationError("queues is empty; name at least one, or leave it None for all of the app")
    return tuple(dict.fromkeys(check_name("queues:", queue) for queue in queues))
