"""The page tells what a run of chaos came to, all of it from one report."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from tests.faults.chaos.checker import Report, Violation
from tests.faults.chaos.page import PAGE, fill_page
from tests.faults.chaos.report import ChaosResult
from tests.support.processes import ROOT

COUNTS = (
    "events", "acknowledged", "delayed", "canceled", "runs", "runs dead", "workers", "workers lost", "calls",
    "calls beyond one", "fenced without a fault", "losses of power", "with an ordering key", "runs canceled",
    "… that a worker had", "runs that waited in a paused queue", "calls begun under a limit", "… that reached it",
    "events without a disabled job",
)  # fmt: skip
SOUND = Report(
    violations=(),
    counts=dict.fromkeys(COUNTS, 1_234),
    faults={"worker killed": 7, "server killed": 8, "line cut": 9},
    repeats={"worker killed": 5},
    excused={"events lost": 3},
    lateness_ms={"p50": 8.0, "p99": 900.0, "worst": 1_250.0},
    recovery_s={},
)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "reliability.md"
    page.write_text("before\n<!-- chaos: begin, filled -->\nold\n<!-- chaos: end -->\nafter\n")
    return page


def test_the_page_tells_a_run(page: Path) -> None:
    """Its counts, each kind of fault with its number, and their sum; what a person has written around it stays."""
    fill_page(ChaosResult(4, 300.0, "valkey 9.1.2", SOUND), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "make chaos SEED=4 DURATION=300" in text
    for row in (
        "| faults injected, of 3 kinds | 24 |",
        "| **all** | **24** |",
        "| … worker killed | 5 |",
        "| lateness of delayed events by the server's clock: p50 · p99 · worst | 0.008 s · 0.900 s · 1.250 s |",
        "| from the loss of a worker to the next call: p50 · p99 · worst | none |",
        "| every rule but the next: lost, not delivered, settled twice, early, too late, left over, … | **0** |",
    ):
        assert row in text
    kinds = [line.split(" | ")[0] for line in text.partition("| fault |")[2].splitlines()[2:-4]]
    assert kinds == ["| line cut", "| worker killed", "| server killed"]


def test_broken_rules_are_told(page: Path) -> None:
    """No zero stands where something was broken."""
    broken = (Violation("lost", "e1"), Violation("called twice", "e2"), Violation("called twice", "e3"))
    fill_page(ChaosResult(4, 60.0, "redis 8.10", msgspec.structs.replace(SOUND, violations=broken)), page)
    text = page.read_text()
    assert "left over, … | **1** |" in text
    assert "| called twice without a cause | **2** |" in text


def test_every_test_that_the_page_names_is_there() -> None:
    """A promise whose test has gone, or has another name, is held by nothing."""
    text = PAGE.read_text()
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)", text)) - {"test_script", "test_repeat"}
    assert {name for name in named if f"def {name}(" not in sources} == set()
    assert set(re.findall(r"`(tests/[\w/.]+)`", text)) <= {
        str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")
    }


def test_the_real_page_can_be_filled(page: Path) -> None:
    """It has the markers."""
    page.write_text(PAGE.read_text())
    fill_page(ChaosResult(4, 60.0, "redis 8.10", SOUND), page)
