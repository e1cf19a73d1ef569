"""Which functions were called, and why one was called again. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from math import inf

import msgspec

from tests.faults.chaos.history import (
    AnyLine,
    Began,
    Died,
    Ended,
    Injected,
    Named,
    OfLastRelease,
    RolledBack,
    Settled,
)

BREAKING = frozenset({"loop ended", "event loop blocked", "memory refused"})
"""Faults after which a worker that does not work may end itself."""
CUT_OFF = frozenset({"line cut", "line half open", "line slow", "replies lost"})
"""Faults that may keep a worker from renewing its lease."""
_ENDED_BY_JOB = frozenset({"poisoned", "exited"})
"""Deaths that are written down with the moment at which the job began that ended the process: calls may begin after."""
TERMINATED = "worker terminated"
STOPPED = frozenset({"worker stopped", "worker stopped for a moment"})
GROUPS = "groups destroyed"
ROLLED_BACK = "rolled back"
_SETTLED_MS = 1_000
"""A call's outcome may be recorded so long after its end."""
_NOTICED_S = 2.0
"""So long after it goes on, a worker may begin earlier deliveries, until it learns that it is fenced."""
_LET_GO_S = 3.0
"""So long before its end is seen a worker that does not work lets go of its runs."""
_ROUNDED_S = 0.002
"""Times of the server are off by so much, as it counts in milliseconds."""
_HELD_MS = 1_000
"""A run may be in flight so long before its function begins, while its worker does not stand still."""


class Call(msgspec.Struct, frozen=True):
    """One call of a function, from its beginning to its end; `how` is empty if that was never written down."""

    event: str
    job: str
    attempt: int
    pid: int
    worker: str
    at: float
    ms: int
    until: float | None = None
    until_ms: int | None = None
    how: str = ""


class Repeat(msgspec.Struct, frozen=True):
    """A second call at one attempt of a run.

    Attributes:
        cause: why it was allowed, or empty.
        since: when what caused it happened.
    """

    before: Call
    call: Call
    cause: str
    since: float


def calls_in(lines: Iterable[AnyLine]) -> dict[tuple[str, str], list[Call]]:
    """Return the calls of each run, by (event, job), in the order of their beginnings."""
    ends: dict[tuple[int, str, str, float], Ended] = {}
    begun: list[Began] = []
    for line in lines:
        if isinstance(line, Ended):
            ends[line.pid, line.event, line.job, line.began] = line
        elif isinstance(line, Began):
            begun.append(line)
    found: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for line in begun:
        end = ends.get((line.pid, line.event, line.job, line.at))
        over = (end.at, end.ms, end.how) if end else (None, None, "")
        call = Call(line.event, line.job, line.attempt, line.pid, line.worker, line.at, line.ms, *over)
        found[line.event, line.job].append(call)
    return found


class Causes:
    """Knows what has happened to workers and to the server, and so why a function had to be called again."""

    def __init__(self, lines: Sequence[AnyLine], grace_s: float, blocking: Collection[str] = ()) -> None:
        """Gather what has happened; the event loop of a worker stands still during calls of `blocking` jobs."""
        self._grace_s = grace_s
        self._blocking = blocking
        self._calls_of: dict[int, list[Call]] = defaultdict(list)
        for calls in calls_in(lines).values():
            for call in calls:
                self._calls_of[call.pid].append(call)
        self._deaths = {line.pid: line for line in lines if isinstance(line, Died)}
        self._names: dict[int, list[Named]] = defaultdict(list)
        self._faults: dict[int, list[Injected]] = defaultdict(list)
        self._of_last_release = {line.pid: line.at for line in lines if isinstance(line, OfLastRelease)}
        self._destroyed = [line for line in lines if isinstance(line, Injected) and line.kind == GROUPS]
        self._rollbacks = [line for line in lines if isinstance(line, RolledBack)]
        self._settles: dict[str, list[Settled]] = defaultdict(list)
        for line in lines:
            if isinstance(line, Named):
                self._names[line.pid].append(line)
            elif isinstance(line, Settled):
                self._settles[line.run].append(line)
            elif isinstance(line, Injected):
                for pid in line.pids:
                    self._faults[pid].append(line)
        self._stood_still = {pid: self._standstills(pid) for pid in self._calls_of}

    def repeats(self, calls: Sequence[Call]) -> list[Repeat]:
        """Return the calls of one run beyond the first at each attempt."""
        last: dict[int, Call] = {}
        found = []
        for call in calls:
            before = last.get(call.attempt)
            if before is not None:
                cause, since = self._cause(before, call)
                found.append(Repeat(before, call, cause, since))
            last[call.attempt] = call
        return found

    def is_broken_by(self, death: Died, blocking: Collection[str]) -> bool:
        """Whether a worker that did not work any more had a cause for that: a fault, or a job that blocks it."""
        faults = self._faults[death.pid]
        return any(fault.kind in BREAKING and fault.at <= death.at for fault in faults) or any(
            call.job in blocking and call.at <= death.at and not call.how for call in self._calls_of[death.pid]
        )

    def is_rolled_back(self, ms: int) -> bool:
        """What the server did at that time it does not know any more."""
        return any(line.since_ms <= ms <= line.ms for line in self._rollbacks)

    def is_of_last_release(self, pid: int) -> bool:
        return pid in self._of_last_release

    def has_last_release(self, since: float, until: float) -> bool:
        """Whether a worker of the last release was there at some time between the two."""
        return any(
            at <= until and (pid not in self._deaths or self._deaths[pid].at >= since)
            for pid, at in self._of_last_release.items()
        )

    def losses(self) -> list[tuple[float, str]]:
        """Return when workers were lost, and how: dead not in order, or fenced."""
        dead = [(line.at, line.how) for line in self._deaths.values() if line.how != "stopped"]
        return sorted(dead + [(at, "fenced") for pid in self._names for at in self._fencings(pid)])

    def fenced_without_fault(self) -> int:
        """Return how many workers were fenced that no fault had kept from renewing."""
        count = 0
        for pid in self._names:
            for at in self._fencings(pid):
                kept = [fault for fault in self._faults[pid] if fault.kind in CUT_OFF | STOPPED and fault.at <= at]
                count += not kept and not self._is_forgotten(at)
        return count

    def _is_forgotten(self, at: float) -> bool:
        """A power loss shortly before may have taken the worker's lease."""
        return any(0 <= at - line.at < 60 for line in self._rollbacks)

    def _fencings(self, pid: int) -> list[float]:
        names = self._names[pid]
        return [after.at for before, after in pairwise(names) if after.name != before.name]

    def _cause(self, before: Call, call: Call) -> tuple[str, float]:
        death = self._deaths.get(before.pid)
        if death is not None and _may_explain(death, before) and death.at <= call.at + _let_go_s(death):
            return f"worker {death.how}", min(death.at, call.at)
        if self.touches_rollback(before) or self._is_of_a_lost_delivery(before, call):
            return ROLLED_BACK, before.at
        if (kept := self._kept_from_renewing(before, call)) is not None:
            return kept
        if self._was_begun_in_ignorance(call):
            return "begun by a worker that was fenced", call.at
        for fault in self._faults[before.pid]:
            over = fault.at + self._grace_s - 0.5
            is_past = before.until is None or before.until >= over or before.how == "cancelled"
            if fault.kind == TERMINATED and is_past and fault.at <= call.at:
                return "worker stopped before the run's end", fault.at
        for fault in self._destroyed:
            if before.at - _HELD_MS / 1000 <= fault.until and fault.at <= call.at:
                return GROUPS, fault.at
        return "", before.at

    def _kept_from_renewing(self, before: Call, call: Call) -> tuple[str, float] | None:
        """Return the fault for which the worker of the first call was fenced, if it was."""
        fencings = [at for at in self._fencings(before.pid) if at >= before.at]
        death = self._deaths.get(before.pid)
        is_silent = death is not None and death.how != "stopped"
        if not fencings and not is_silent:
            return None
        for fault in self._faults[before.pid]:
            if fault.until + _NOTICED_S >= before.at and fault.at <= call.at:
                if fault.kind in STOPPED:
                    return "worker stopped past its lease", max(fault.at, before.at)
                if fault.kind in CUT_OFF:
                    return "worker cut off past its lease", max(fault.at, before.at)
        return ("worker fenced", before.at) if fencings else None

    def _was_begun_in_ignorance(self, call: Call) -> bool:
        """Return whether its worker had been stopped or cut off, was fenced meanwhile, and learned it only later."""
        kept = any(
            fault.kind in STOPPED | CUT_OFF and fault.at <= call.at <= fault.until + _NOTICED_S
            for fault in self._faults[call.pid]
        )
        return kept and any(call.at <= at <= call.at + _NOTICED_S for at in self._fencings(call.pid))

    def was_begun_late(self, call: Call) -> bool:
        """Whether its run may have been delivered well before, to a worker that does not know that it has lost it."""
        is_destroyed = any(fault.at <= call.at <= fault.until + _HELD_MS / 1000 for fault in self._destroyed)
        return is_destroyed or self._was_begun_in_ignorance(call) or self.touches_rollback(call)

    def held_until(self, call: Call) -> float:
        """Return until when the call's run was in flight for sure: until it settled, if its worker had it so long."""
        settles = self._settles[f"{call.event}:{call.job}"]
        return min([self.open_until(call), *(call.at + (each.ms - call.ms) / 1000 - _ROUNDED_S for each in settles)])

    def open_until(self, call: Call) -> float:
        """Return until when its worker was at the call and had the run for sure, unless the run settled before."""
        ends = [call.until or inf]
        if (death := self._deaths.get(call.pid)) is not None:
            ends.append(death.at - _let_go_s(death))
        for fault in self._faults[call.pid]:
            if fault.kind in STOPPED | CUT_OFF and fault.until + _NOTICED_S >= call.at:
                ends.append(fault.at)
            elif fault.kind == TERMINATED:
                ends.append(fault.at + self._grace_s - 0.5)
        ends += [fault.at for fault in self._destroyed if fault.until + _HELD_MS / 1000 >= call.at]
        is_lost = any(at >= call.at for at in self._fencings(call.pid)) or self.touches_rollback(call)
        return call.at if is_lost else min(ends)

    def touches_rollback(self, call: Call) -> bool:
        """Its delivery, the call or the settling of its run was under way when what the server did was lost."""
        until_ms = call.until_ms if call.until_ms is not None else call.ms
        settles = self._settles[f"{call.event}:{call.job}"]
        until_ms += _SETTLED_MS
        since_ms = self._delivered_ms(call)
        return any(line.since_ms <= until_ms and since_ms <= line.ms for line in self._rollbacks) or any(
            self.is_rolled_back(settle.ms) for settle in settles
        )

    def _is_of_a_lost_delivery(self, before: Call, call: Call) -> bool:
        """Whether the second call is late: its run was delivered, that was lost, and it was delivered to the first."""
        since_ms = self._delivered_ms(call)
        return any(since_ms <= line.ms < before.ms for line in self._rollbacks)

    def _delivered_ms(self, call: Call) -> float:
        """Return since when the call's run may have been in flight.

        What a worker was given before it stood still begins when it goes on, whatever has become of the server.
        """
        since, edge = float(call.ms - _HELD_MS), float(call.ms)
        for stopped, went_on in self._stood_still[call.pid]:
            went_on = min(went_on, edge)  # noqa: PLW2901 - no moment counts twice
            if stopped < went_on and since < went_on:
                since, edge = since - (went_on - stopped), stopped
        return since

    def _standstills(self, pid: int) -> list[tuple[float, float]]:
        """Return the times in which a worker's process or its event loop stood still, in ms, the latest first."""
        calls = [call for call in self._calls_of[pid] if call.job in self._blocking]
        found = [(float(call.ms), inf if call.until_ms is None else float(call.until_ms)) for call in calls]
        stops = [fault for fault in self._faults[pid] if fault.kind in STOPPED]
        found += [(float(fault.ms), fault.ms + (fault.until - fault.at) * 1000) for fault in stops]
        return sorted(found, key=lambda times: times[1], reverse=True)


def _may_explain(death: Died, before: Call) -> bool:
    """Return whether a call may have been cut off by a death: by its job's begin, where a job has ended the process."""
    return death.how in _ENDED_BY_JOB or (death.how != "stopped" and before.at <= death.at)


def _let_go_s(death: Died) -> float:
    return _LET_GO_S if death.how == "broken" else 0.0
