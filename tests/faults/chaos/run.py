"""Runs a schedule of faults under load, lets everything drain, and returns what the checker says of the history."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

import msgspec

from tests.faults.chaos import remains
from tests.faults.chaos.app import BLOCK, BLOCK_S, BLOCKADE, ENDS, GRACE_S, LEASE_S, NAME, RETENTION_S
from tests.faults.chaos.checker import Report, Rules, check
from tests.faults.chaos.faults import FAULTS, Pids, all_kinds
from tests.faults.chaos.history import AnyLine, Began, History, Injected, Moment, Remains, Sending, now
from tests.faults.chaos.operator import is_replay, second_of
from tests.faults.chaos.report import ChaosResult
from tests.faults.chaos.schedule import Step, schedule
from tests.faults.chaos.system import System
from tests.faults.deployment import OUTAGE
from tests.support.waiting import wait_until

RULES = Rules(ENDS, LEASE_S, GRACE_S, (BLOCKADE,), (BLOCK,))
_DRAIN_S = 90.0
_FORGOTTEN_S = 8 * LEASE_S + 2 * (LEASE_S + BLOCK_S) + 60.0
_LOOK_S = 0.02
_LAST = ("power lost", "replies lost")


class _Active(msgspec.Struct, frozen=True):
    step: Step
    began: Moment
    pids: Pids
    fault: AbstractContextManager[Pids]


class FaultRunner:
    """Begins and ends each fault at its time, and minds the workers in between."""

    def __init__(self, system: System, seed: int, duration_s: float) -> None:
        self._system = system
        self._duration_s = duration_s
        self._steps = list(schedule(seed, duration_s, all_kinds(), _LAST))
        self._active: list[_Active] = []

    def run(self) -> None:
        """Return when the time is over and every fault too; the second half is one of `everysec`."""
        start = time.monotonic()
        while True:
            passed = time.monotonic() - start
            self._end_faults(passed >= self._duration_s)
            if passed >= self._duration_s:
                return
            if passed >= self._duration_s / 2 and self._system.fsync == "always" and not self._is_server_busy:
                self._system.set_fsync("everysec")
            self._begin_faults(passed)
            self._system.mark()
            self._system.mind()
            if not self._is_server_busy:
                self._system.listing.follow()
            time.sleep(_LOOK_S)

    @property
    def _is_server_busy(self) -> bool:
        return any(FAULTS[active.step.kind][0].is_servers for active in self._active)

    def _begin_faults(self, passed: float) -> None:
        while self._steps and self._steps[0].at_s <= passed:
            step = self._steps[0]
            kind, make = FAULTS[step.kind]
            if kind.is_servers and self._is_server_busy:
                return  # it waits, and those behind it too, so that their order stays
            del self._steps[0]
            fault, began = make(self._system, Random(step.draw)), now()
            self._active.append(_Active(step, began, fault.__enter__(), fault))

    def _end_faults(self, is_over: bool) -> None:  # noqa: FBT001
        for active in list(self._active):
            if is_over or now()["at"] - active.began["at"] >= active.step.lasts_s:
                self._active.remove(active)
                active.fault.__exit__(None, None, None)
                ended = now()["at"]
                self._system.diary.add(Injected(**active.began, kind=active.step.kind, until=ended, pids=active.pids))


def run_chaos(
    folder: Path, seed: int, duration_s: float, *, rate: float = 60.0, binary: Path | None = None
) -> ChaosResult:
    """Return what a run of so many seconds came to; its files are in the folder."""
    system = System(folder, seed, rate, binary)
    try:
        report = run_on(system, FaultRunner(system, seed, duration_s).run)
        return ChaosResult(seed, duration_s, _server_of(system), report)
    finally:
        system.close()


def run_on(system: System, act: Callable[[], None]) -> Report:
    """Return what the checker says of all that happened under load, from before the act until all had drained."""
    system.mind()
    system.wait_until_manned()
    memory_before = remains.memory(system.redis, system.deployment)
    system.start_producers()
    act()
    system.stop_producers()
    system.wait_until_manned()
    found = _drain(system, memory_before)
    history = History(system.lines(), found)
    return check(history, RULES)


def _drain(system: System, memory_before: int) -> Remains:
    """Everything that was sent ends; then what is remembered of it is read, the workers stop, and retention passes."""
    redis, deployment = system.redis, system.deployment
    system.undo_controls()

    def open_work() -> dict[str, int]:
        system.mind()  # a run that ends its process may still have lives
        return remains.open_work(redis, deployment)

    undrained = remains.wait_until_none(open_work, _DRAIN_S)
    ids = {line.id: None for line in system.lines() if isinstance(line, Sending)}
    ids |= {second_of(event_id): None for event_id in ids if is_replay(event_id)}
    read = remains.read_remains(system.client, ids)
    system.listing.follow()  # after the records, so that what they say has settled is listed
    strangers = remains.wait_until_none(lambda: remains.strangers(redis, deployment, system.names()), _FORGOTTEN_S)
    system.stop_workers()
    left = remains.leftovers(redis, deployment, round(RETENTION_S * 1000), memory_before)
    return msgspec.structs.replace(read, open=undrained | strangers | left, counted=system.counted())


def _server_of(system: System) -> str:
    info = system.redis.info("server")
    kind = "valkey" if "valkey_version" in info else "redis"
    return f"{kind} {info[f'{kind}_version']}"


def run_emptied(folder: Path, empty: Callable[[System], None], *, binary: Path | None = None) -> Report:
    """Return what the checker says of all that was sent after the server had lost everything under load.

    Only what was sent once every worker was known again counts: before, an event may find no job.
    """
    system = System(folder, 2, 40.0, binary)
    try:
        system.mind()
        system.wait_until_manned()
        memory_before = remains.memory(system.redis, system.deployment)
        system.start_producers()
        wait_until(lambda: _called(system) > 20, 60, what="calls before", interval=0.1)
        empty(system)
        wait_until(lambda: system.redis.hlen(system.deployment.keys.routes(NAME)), 60, what="routes", ignoring=OUTAGE)
        since = now()["at"]
        wait_until(lambda: _called(system, since) > 100, 60, what="calls after", interval=0.1)
        system.stop_producers()
        found = _drain(system, memory_before)
        return check(_since(since, History(system.lines(), found)), RULES)
    finally:
        system.close()


def _called(system: System, since: float = 0.0) -> int:
    return sum(isinstance(line, Began) and line.at >= since for line in system.lines())


def _since(moment: float, history: History) -> History:
    """Return what the history has of events that were sent after the moment."""
    sent = {line.id for line in history.lines if isinstance(line, Sending) and line.at >= moment}

    def is_told(line: AnyLine) -> bool:
        event = getattr(line, "id", "") or getattr(line, "event", "") or getattr(line, "run", "").rpartition(":")[0]
        return not event or event in sent

    told = msgspec.structs.replace(
        history.remains,
        events={name: event for name, event in history.remains.events.items() if name in sent},
        dead=tuple(run for run in history.remains.dead if run.rpartition(":")[0] in sent),
        counted=None,
    )
    return History(tuple(line for line in history.lines if is_told(line)), told)
