"""Runs one fault from inside: the struck worker works alone, or ends; then a whole one joins, and all must settle."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from pathlib import Path

import msgspec

from headrace import HeadraceError
from tests.faults.inside import promise
from tests.faults.inside.fault import EVERYWHERE, KINDS, REACHED, STRUCK, Kind, Life
from tests.faults.inside.system import System, open_system
from tests.support.processes import Process
from tests.support.waiting import WaitedInVain, wait_until

_ALONE_S = 25.0
"""How long the struck worker alone may take for a load, or for its end."""
_TOGETHER_S = 30.0
"""How long it may take until all is settled once a whole worker is there: a run waits as long as it has waited."""
_STOP_S = 20.0


class Case(msgspec.Struct, frozen=True):
    """A fault, and what befalls the worker besides."""

    place: str
    kind: Kind
    life: Life = "quiet"


class Result(msgspec.Struct):
    """What came of a fault.

    Attributes:
        broken: what of the promise does not hold.
        is_struck: the place was reached.
        code: with which the struck worker has ended.
        failed: runs whose attempts have failed by the fault, as their records say.
        seconds: how long it took.
    """

    case: Case
    broken: list[str] = msgspec.field(default_factory=list)
    is_struck: bool = False
    code: int | None = None
    failed: int = 0
    seconds: float = 0.0


def run_scenario(case: Case, folder: Path, binary: Path | None = None) -> Result:
    """Return what came of a fault; the folder stays where it has broken the promise, with the output of all."""
    began_at = time.monotonic()
    folder.mkdir(parents=True)
    with open_system(folder, binary) as system:
        scenario = _Scenario(system, case)
        try:
            scenario.run()
        except (AssertionError, HeadraceError) as exc:
            scenario.result.broken.append(f"{type(exc).__name__}: {str(exc)[:300]}")
        result = scenario.result
        result.broken = [each for each in result.broken if not promise.is_allowed(case.place, each)]
        result.is_struck = system.struck is not None and STRUCK in system.struck.output
        if result.broken:
            (folder / "outputs").write_text("\n".join([*result.broken, system.outputs()]))
    result.seconds = time.monotonic() - began_at
    if not result.broken:
        shutil.rmtree(folder)
    return result


def reached_places(folder: Path, life: Life, binary: Path | None = None) -> list[str]:
    """Return the places that a worker without a fault reaches, once it has started, with this life.

    Raises:
        AssertionError: the promise does not hold without a fault.
    """
    folder.mkdir(parents=True)
    with open_system(folder, binary) as system:
        scenario = _Scenario(system, Case(EVERYWHERE, KINDS[0], life))
        scenario.run()
        assert not scenario.result.broken, f"{scenario.result.broken}\n{system.outputs()}"
        assert system.struck is not None
        lines = system.struck.output.splitlines()
    shutil.rmtree(folder)
    return sorted({line.removeprefix(REACHED) for line in lines if line.startswith(REACHED)})


class _Scenario:
    def __init__(self, system: System, case: Case) -> None:
        self._system = system
        self._case = case
        self.result = Result(case)

    def run(self) -> None:
        system, case = self._system, self._case
        struck = system.start_struck(case.place, case.kind, case.life)
        system.send_load()
        system.arm(struck)
        self._work_alone(struck)
        joined_at = system.now()
        whole = system.start_whole()
        system.send_load()
        self._end(struck, whole)
        self._wait_settled(_TOGETHER_S, "a whole worker is there, and not all is settled")
        self._judge(struck, joined_at)
        whole.terminate()
        if (code := whole.wait(_STOP_S)) != 0:
            self.result.broken.append(f"the whole worker has ended with {code}")

    def _work_alone(self, struck: Process) -> None:
        """Let the struck worker work as long as it lives, with everything that may befall a worker's connection."""
        for befalls in ("nothing", "cut", "fenced"):
            if befalls == "cut":
                self._system.cut_lines()
            elif befalls == "fenced":
                self._system.fence(struck)
            self._system.send_load()
            try:
                wait_until(lambda: not struck.is_running or self._system.is_drained(), _ALONE_S, interval=0.05)
            except WaitedInVain:
                self.result.broken.append(f"alone, the worker neither works nor ends within {_ALONE_S:g} s")
                return
            if not struck.is_running:
                return

    def _end(self, struck: Process, whole: Process) -> None:
        """See the struck worker to its end, while both have work."""
        broken = self.result.broken
        if struck.is_running:
            whole.wait_for_line("worker started", 60)
            broken += promise.repeated(self._system.calls())
        was_running = struck.is_running
        if was_running and self._case.life == "blocked":
            self._system.block(struck)
        elif was_running:
            struck.terminate()
        try:
            self.result.code = code = struck.wait(_STOP_S)
        except WaitedInVain:
            broken.append(f"the worker goes on {_STOP_S:g} s after its end was due")
            struck.kill()
            return
        if code != 0 or not was_running:
            broken += promise.silent_end(code, struck.output)

    def _wait_settled(self, seconds: float, what: str) -> None:
        try:
            wait_until(self._system.is_drained, seconds, interval=0.05)
        except WaitedInVain:
            self.result.broken.append(what)

    def _judge(self, struck: Process, joined_at: datetime) -> None:
        records, kind = self._system.records(), self._case.kind
        broken = self.result.broken
        broken += promise.wrong_runs(records, self._system.sent, kind)
        broken += promise.late_events(records, joined_at)
        self.result.failed = promise.failed_runs(records, kind)
        if self.result.code == 0 and "grace is over" not in struck.output:
            broken += promise.repeated(self._system.calls())
