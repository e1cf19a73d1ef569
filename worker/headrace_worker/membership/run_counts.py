"""What became of the runs of a worker, by job, since it was last taken: added up on the event loop, taken elsewhere."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from operator import attrgetter

from headrace_worker.protocol.settling import Retried, Settled

_END_OF = attrgetter("delivery.job_id", "letter", "elapsed_ms")  # C's: no function of ours is called for a run
_KIND_OF = {"s": "s", "f": "f", "t": "f", "i": "f", "c": "c", "w": "r"}


class RunCounts:
    """Counts by `<job id>:<what>`: `s` succeeded, `f` ended without success, `c` canceled, `r` retried, `ms` took.

    It counts no job that the app does not have: names in entries may be anything.
    """

    def __init__(self, jobs: Collection[str]) -> None:
        self._jobs = jobs
        self._counts = Counter[str]()
        self._lock = threading.Lock()

    def add(self, records: Sequence[Settled | Retried], missed: Collection[int]) -> None:
        """Count recorded outcomes of one kind, settled or retried, except at the places `missed`."""
        if missed:
            records = [record for place, record in enumerate(records) if place not in missed]
        if records and isinstance(records[0], Retried):
            ends = Counter(_retried(records))
        else:
            ends = Counter(map(_END_OF, records))
        counts = Counter[str]()
        for (job, letter, elapsed_ms), count in ends.items():
            if job in self._jobs:
                counts[f"{job}:{_KIND_OF[letter]}"] += count
                counts[f"{job}:ms"] += elapsed_ms * count
        with self._lock:
            self._counts.update(counts)

    def take(self) -> Counter[str]:
        """Return what was counted since the last time."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken


def _retried(records: Sequence[Settled | Retried]) -> Iterator[tuple[str, str, int]]:
    """Return the attempts among waits: a run also waits, unattempted, for a worker that has its job."""
    for record in records:
        if record.trail is not None and record.trail.kind:
            yield record.delivery.job_id, "w", record.elapsed_ms
