"""Whether what workers have counted agrees with what the server's records say. Pure.

A worker counts when the server has answered. So what it counts is recorded, but for what a loss of power took back and
what was then done and counted once more. And what is recorded is counted, but for one batch of a process that ended
before the answer, and where a reply was lost: then the same was asked for again, and counted as stale.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf

from headrace_worker.protocol.reading import MAX_READ
from tests.faults.chaos.calls import Call
from tests.faults.chaos.history import AnyLine, Counted, Died, Named, Remains, RolledBack, Sending, Settled

FINAL = ("succeeded", "failed", "timed_out", "invalid_payload")
"""How runs end that workers count; of those that are canceled they count what they had begun."""
_UNCOUNTED_MS = 5_000
"""The answer to what was recorded so long before a process ended may not have come, on a line that is slow."""
_NEAR_MS = 1_000
"""A call may begin so long after its delivery, and its outcome be recorded so long after its end."""
Calls = Mapping[tuple[str, str], Sequence[Call]]


class Agreement:
    """What was counted, what is recorded, and what lies between the two."""

    def __init__(self, counted: Counted, remains: Remains, calls: Calls, lines: Iterable[AnyLine]) -> None:
        self._counted = counted
        self._remains = remains
        self._calls = calls
        self._deaths: list[Died] = []
        self._rollbacks: list[RolledBack] = []
        self._settled_ms: dict[str, int] = {}
        self._silent: dict[int, int] = {}
        """When processes that have not counted came to life, in ms."""
        self._lost: list[str] = []
        """Events that have no record and no call."""
        called = {event for event, _ in calls}
        for line in lines:
            if isinstance(line, Died):
                self._deaths.append(line)
            elif isinstance(line, RolledBack):
                self._rollbacks.append(line)
            elif isinstance(line, Named) and line.pid not in counted.pids:
                self._silent.setdefault(line.pid, line.ms)
            elif isinstance(line, Sending) and line.id not in remains.events and line.id not in called:
                self._lost.append(line.id)
            elif isinstance(line, Settled):
                self._settled_ms[line.run] = line.ms
        self._recorded = Counter(run.status for event in remains.events.values() for run in event.runs)

    def breaches(self) -> Iterator[tuple[str, str]]:
        """Yield what does not agree, and how."""
        counted, recorded = self._counted, self._recorded
        uncounted, again = self._uncounted(), self._counted_again()
        for status in FINAL:
            told = counted.settled.get(status, 0)
            slack = uncounted[status] + counted.stale
            yield from _outside(f"runs {status}", told, recorded[status], slack, again)
        dead = sum(uncounted[status] for status in FINAL[1:]) + counted.stale
        yield from _outside("dead letters", counted.dead, len(self._remains.dead), dead, again)
        events, slack = self._dispatched(), self._undispatched() + counted.stale_dispatches
        yield from _outside("events dispatched", counted.dispatched, events, slack, self._dispatched_again())

    def counts(self) -> dict[str, int]:
        """Return how far both are apart."""
        counted = self._counted
        runs, settled = (sum(of.get(status, 0) for status in FINAL) for of in (self._recorded, counted.settled))
        return {
            "runs counted": settled,
            "runs recorded and not counted": max(runs - settled, 0),
            "outcomes counted as stale": counted.stale,
        }

    def _uncounted(self) -> Counter[str]:
        """Return how many runs, by status, processes may have recorded and not counted.

        That is the last batch of each, and all of those that do not count; they may also have buried what had cost
        others their lives.
        """
        by_pid: dict[int, list[tuple[Call, str]]] = defaultdict(list)
        for event in self._remains.events.values():
            for run in event.runs:
                if calls := self._calls.get((event.id, run.job)):
                    by_pid[calls[-1].pid].append((calls[-1], run.status))
        found = Counter(
            run.status
            for event in self._remains.events.values()
            for run in event.runs
            if self._silent and (run.lost or self._last_pid(event.id, run.job) in self._silent)
        )
        for death in self._deaths:
            # What one script has settled has one time.
            sizes = Counter((status, self._settled_at(call)) for call, status in by_pid[death.pid])
            largest: dict[str, int] = defaultdict(int)
            for (status, settled_ms), size in sizes.items():
                if settled_ms >= death.ms - _UNCOUNTED_MS:
                    largest[status] = max(largest[status], size)
            found.update(largest)
        return found

    def _last_pid(self, event: str, job: str) -> int:
        calls = self._calls.get((event, job))
        return calls[-1].pid if calls else 0

    def _settled_at(self, call: Call) -> int:
        return self._settled_ms.get(f"{call.event}:{call.job}", 0)

    def _counted_again(self) -> int:
        """Return how many runs may have been recorded twice, as the server forgot the first time, at most."""
        return sum(
            any(_touches(call, line) for call in calls) for line in self._rollbacks for calls in self._calls.values()
        )

    def _dispatched(self) -> int:
        return sum(event.status in {"dispatched", "settled"} for event in self._remains.events.values())

    def _undispatched(self) -> int:
        """Return how many events processes may have dispatched and not counted: see `_uncounted`."""
        spans = list(self._dispatch_spans().values())
        under_way = (sum(since <= death.ms <= until + _NEAR_MS for since, until in spans) for death in self._deaths)
        ended = {death.pid: death.ms for death in self._deaths}
        silent = [(born_ms, ended.get(pid, inf)) for pid, born_ms in self._silent.items()]
        by_silent = sum(any(born <= until and since <= died for born, died in silent) for since, until in spans)
        return sum(min(count, MAX_READ) for count in under_way) + by_silent

    def _dispatched_again(self) -> int:
        """Return how many events may have been dispatched twice, or are lost, as the server forgot, at most."""
        spans = list(self._dispatch_spans().values())
        again = sum(
            since <= line.ms and line.since_ms - _NEAR_MS <= until for line in self._rollbacks for since, until in spans
        )
        return again + (len(self._lost) if self._rollbacks else 0)

    def _dispatch_spans(self) -> dict[str, tuple[int, int]]:
        """Return for each event the time between which it was dispatched: from its delivery, if known, to a call.

        A delayed event that a loss of power took back was delivered before, too, once it was due.
        """
        spans: dict[str, tuple[int, int]] = {}
        for (event, _), calls in self._calls.items():
            known = self._remains.events.get(event)
            since, until = spans.get(event, ((known.due_ms or known.delivered_ms) if known else 0, calls[0].ms))
            spans[event] = since, min(calls[0].ms, until)
        return spans


def _touches(call: Call, line: RolledBack) -> bool:
    until_ms = (call.ms if call.until_ms is None else call.until_ms) + _NEAR_MS
    return line.since_ms <= until_ms and call.ms - _NEAR_MS <= line.ms


def _outside(what: str, counted: int, recorded: int, fewer: int, more: int) -> Iterator[tuple[str, str]]:
    """Yield the metric if it is further below or above the records than that."""
    if not recorded - fewer <= counted <= recorded + more:
        yield what, f"{counted} counted, {recorded} recorded; {fewer} fewer or {more} more would have a cause"
