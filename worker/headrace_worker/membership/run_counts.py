"""What became of the runs of a worker, by job, since it was last taken: added up on the event loop, taken elsewhere."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable

from headrace_worker.protocol.settling import Ended, Retried, Settled

_KIND_OF = {"s": "s", "f": "f", "t": "f", "i": "f", "c": "c", "w": "r"}


class RunCounts:
    """Counts by `<job id>:<what>`, and by `@<queue>:n` all that were in a queue.

    What is `s` succeeded, `f` ended without success, `c` canceled, `r` retried, `ms` took. No job is counted that the
    app does not have: names in entries may be anything.
    """

    def __init__(self, jobs: Collection[str]) -> None:
        self._jobs = jobs
        self._counts = Counter[str]()
        self._lock = threading.Lock()

    def add(self, ended: Iterable[Ended]) -> None:
        """Count attempts that have ended, and whose outcome is recorded."""
        with self._lock:
            for each in ended:
                if each.job_id in self._jobs:
                    self._counts[f"{each.job_id}:{_KIND_OF[each.letter]}"] += each.count
                    self._counts[f"{each.job_id}:ms"] += each.elapsed_ms * each.count
                    self._counts[f"@{each.queue}:n"] += each.count

    def take(self) -> Counter[str]:
        """Return what was counted since the last time."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken


def ended_of(records: Iterable[Settled | Retried]) -> list[Ended]:
    """Return the ends of attempts, one by one. A run also waits, unattempted, for a worker that has its job."""
    ended: list[Ended] = []
    for record in records:
        delivery = record.delivery
        if isinstance(record, Settled):
            ended.append(Ended(delivery.job_id, delivery.queue.name, record.letter, record.elapsed_ms, 1))
        elif record.trail is not None and record.trail.kind:
            ended.append(Ended(delivery.job_id, delivery.queue.name, "w", record.elapsed_ms, 1))
    return ended
