"""Everything at once, from a seed: whatever happens to workers, lines and server, the history keeps every promise."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.chaos.faults import FAULTS
from tests.faults.chaos.report import ChaosResult
from tests.faults.chaos.run import run_chaos, run_emptied
from tests.faults.chaos.system import System

SEED = 2026
NEEDED = (
    "acknowledged", "delayed", "canceled", "runs canceled", "… that a worker had", "replays", "with an ordering key",
    "calls begun under a limit", "… that reached it", "runs that waited in a paused queue",
    "events without a disabled job", "runs dead", "workers lost",
)  # fmt: skip
"""Counts of what each run has: the rules about what never was would hold for nothing."""


def assert_sound(result: ChaosResult) -> None:
    """Check that no rule is broken, and that no count is 0 which would make that result worthless."""
    print(result.table())
    assert result.is_sound, f"replay it with: make chaos SEED={result.seed} DURATION={result.duration_s:g}"
    counts, report = result.report.counts, result.report
    assert [name for name in NEEDED if counts[name] == 0] == []
    assert report.repeats, "no function was called twice: no fault met a worker at work"
    assert set(report.faults) == set(FAULTS)


@pytest.mark.timeout(400)
def test_a_minute_of_chaos_breaks_no_promise(tmp_path: Path, server_binary: Path | None) -> None:
    """Every kind of fault, from a fixed seed."""
    assert_sound(run_chaos(tmp_path, SEED, 60, rate=25, binary=server_binary))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_minutes_of_chaos_break_no_promise(tmp_path: Path, server_binary: Path | None) -> None:
    """From another seed each time; the failure names it."""
    assert_sound(run_chaos(tmp_path, random.randrange(1_000_000), 300, binary=server_binary))


def flush(system: System) -> None:
    system.redis.flushall()


def restart_empty(system: System) -> None:
    system.empty_server()
    system.start_server()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("empty", [flush, restart_empty])
def test_a_server_that_lost_everything_works_on(
    tmp_path: Path, server_binary: Path | None, empty: Callable[[System], None]
) -> None:
    """Earlier events are lost with the data; events that are sent after the workers are registered again are not."""
    report = run_emptied(tmp_path, empty, binary=server_binary)
    assert report.violations == ()
    assert report.counts["acknowledged"] > 0
    assert report.counts["runs"] > 0
