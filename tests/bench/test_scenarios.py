"""Scenarios of Headrace alone do what they measure, at a thousandth of their size; figures are for a quiet machine."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench.worker
from bench.alone import run_scenarios
from bench.alone.canceling import WARM
from bench.alone.sleeping import JOB
from bench.beside import NoCommit, beside
from bench.results import Figure
from bench.server import Server
from headrace import Client

SCALE = 0.001


@pytest.fixture(autouse=True)
def _logs_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs of workers do not go into the checkout."""
    monkeypatch.setattr(bench.worker, "HOME", tmp_path)


def figures_of(server: Server, name: str) -> dict[str, Figure]:
    """Return what a scenario measures, by its names."""
    (scenario,) = run_scenarios(server, [name], SCALE, 10, lambda _: None)
    assert not scenario.failed
    return {figure.name: figure for figure in scenario.figures}


def test_lists(counted: Server) -> None:
    """Every read has its round trips, and those that match nothing have four at most."""
    figures = figures_of(counted, "lists")
    assert figures["recorded events"].value == 1_000
    assert figures["round trips where a filter matches nothing"].met
    assert "round trips, " in figures["doctor"].note


def test_cancel(counted: Server) -> None:
    """Every run ends as canceled, and tells how soon."""
    figures = figures_of(counted, "cancel")
    assert figures["cancel_run to the CancelledError of its function, p99"].value > 0
    with Client(counted.url) as client:
        canceled = client.list_runs(job=JOB, status="canceled").items
    assert len(canceled) == figures["runs canceled, one after the other"].value + WARM


def test_bulk(counted: Server) -> None:
    """Each act is done to all, and leaves nothing; its longest command and the other queue's latency are told."""
    figures = figures_of(counted, "bulk")
    for verb in ("dead retry", "runs cancel", "queues purge", "dead discard"):
        assert {name for name in figures if name.startswith(verb)} >= {
            f"{verb}: longest command",
            f"{verb}: p99 of another queue, beside that before",
        }
    prefix = "headrace:{default:0}:"
    assert [counted.client.xlen(prefix + key) for key in ("events", "dead", "queue:bulk/default")] == [0, 0, 0]


def test_beside_another_commit(counted: Server) -> None:
    """Both drain; of a commit that is not there it says so."""
    table = beside(counted, "HEAD", rounds=2, scale=SCALE, say=lambda _: None)
    names, rates = (list(column.cells) for column in table.columns[:2])
    assert names == ["HEAD", "the working tree", "change"]
    assert all(int(str(rate).replace(",", "")) > 0 for rate in rates[:2])
    with pytest.raises(NoCommit, match=r"none-such can't be had: .*not a valid object name"):
        beside(counted, "none-such", rounds=1, scale=SCALE, say=lambda _: None)
