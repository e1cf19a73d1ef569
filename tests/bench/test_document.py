"""The page of the benchmarks tells what is kept, also where a part of it was measured since."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from bench import document
from bench.environments import ROOT
from bench.results import Figure, Machine, Results, Scenario, read, renewed, write

MACHINE = Machine("a processor", 2, 4, "Linux 6", "CPython 3.13.0", "Valkey 9.1.2", 0.1)
ORDER = ["sending", "lists", "bulk", "soak"]


def results(commit: str, *names: str, day: int = 1, machine: Machine = MACHINE, failed: str = "") -> Results:
    """Return results of scenarios, each with one figure."""
    return Results(
        taken_at=f"2026-01-{day:02}T09:00:00+00:00",
        command="make bench-headrace",
        commit=commit,
        machine=machine,
        plan={},
        scenarios=[Scenario(name, f"The {name}", [Figure(commit, day, "ms")], failed=failed) for name in names],
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with text around its generated part."""
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- alone: begin -->\nold\n<!-- alone: end -->\nafter\n")
    return path


def test_the_page_tells_the_kept_results(tmp_path: Path) -> None:
    """What stands between its markers is what the file of results gives."""
    page = tmp_path / "benchmarks.md"
    shutil.copy(document.PAGE, page)
    document.fill_alone(read(ROOT / "bench" / "results" / "alone.json"), page)
    assert page.read_text() == document.PAGE.read_text()


def test_a_scenario_measured_since_replaces_its_own_section_alone(page: Path) -> None:
    """Each section says its commit and day, unless they are those of the whole."""
    kept = results("aaa", "sending", "soak")
    kept = renewed(kept, results("bbb", "soak", "lists", day=2), ORDER)
    kept = renewed(kept, results("ccc", "lists", day=3), ORDER)
    document.fill_alone(kept, page)
    text = page.read_text()
    assert text.startswith("before\n<!-- alone: begin -->\n\nMeasured 2026-01-01 at commit `aaa`")
    assert text.endswith("<!-- alone: end -->\nafter\n")
    _, sending, lists, soak = text.split("### The ")
    assert sending.startswith("sending\n\n| |")
    assert "| aaa | 1 ms |" in sending
    assert lists.startswith("lists\n\nMeasured 2026-01-03 at commit `ccc` with `make bench-headrace`.\n\n| |")
    assert soak.startswith("soak\n\nMeasured 2026-01-02 at commit `bbb` with")


def test_a_section_says_its_machine_if_it_was_another(page: Path) -> None:
    """Figures of two machines are not to be compared."""
    other = msgspec.structs.replace(MACHINE, cores=8)
    document.fill_alone(renewed(results("aaa", "soak"), results("bbb", "lists", machine=other), ORDER), page)
    assert "with `make bench-headrace`, on a processor, 8 cores" in page.read_text().split("### The lists")[1]


def test_a_scenario_that_failed_leaves_what_was_measured_before() -> None:
    """Its section stays."""
    kept = results("aaa", "lists")
    assert renewed(kept, results("bbb", "lists", failed="no worker"), ORDER) == kept


def test_results_survive_their_file(tmp_path: Path) -> None:
    """With when each scenario was measured."""
    kept = renewed(results("aaa", "sending"), results("bbb", "lists", day=2), ORDER)
    write(kept, tmp_path / "kept.json")
    assert read(tmp_path / "kept.json") == kept
