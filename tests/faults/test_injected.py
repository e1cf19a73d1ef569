"""Functions inside a worker raise, or never return: the worker works on, or ends and releases its runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.inside.fault import BY_NAME
from tests.faults.inside.report import line, table
from tests.faults.inside.scenario import Case
from tests.faults.inside.series import lives_by_place, play_all, short_series

_ROOMS = 11
_AT_ONCE = 8
_FOUND = (
    Case("run.executor:Executor.end_all", BY_NAME["error-once"]),
    Case("tasks.guard:Guard.part", BY_NAME["memory-once"]),
    Case("membership.watch:Watch.judge", BY_NAME["base-always"]),
    Case("dispatch.run_maker:RunMaker._call", BY_NAME["error-always"]),
    Case("membership.in_flight:InFlight.release", BY_NAME["memory-once"], "troubled"),
)
"""Faults that have broken the promise before."""


@pytest.mark.timeout(240)
def test_a_fault_inside_a_worker_is_survived_or_ends_it(tmp_path: Path, server_binary: Path) -> None:
    """One place of each of a dozen modules, and the places that broke the promise before; `make inject` runs all."""
    reached = lives_by_place(tmp_path, server_binary, lives=("quiet",))
    assert {"membership.lease:Lease._turn", "run.executor:Executor._run", "run.settler:Settler.tick"} <= reached.keys()
    results = play_all([*short_series(reached, _ROOMS), *_FOUND], tmp_path, _AT_ONCE, server_binary)
    print(table(results), *map(line, results), sep="\n")
    assert sum(result.is_struck for result in results) >= _ROOMS
    assert not [line(result) for result in results if result.broken]
