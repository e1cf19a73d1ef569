"""Adds up what all worker processes have counted, from the files that they leave, those of killed ones too."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from tests.faults.chaos.history import Counted
from tests.support.metrics import scrape_here


def read_counted(folder: Path) -> Counted:
    """Return what the metrics in the folder say."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    seen = scrape_here(registry)
    settled: Counter[str] = Counter()
    for sample in seen.samples:
        if sample.name == "headrace_runs_settled_total":
            settled[sample.labels["status"]] += int(sample.value)
    names = ("dead_letters_total", "events_dispatched_total", "settles_stale_total", "dispatches_stale_total")
    pids = tuple(int(file.stem.rpartition("_")[2]) for file in folder.glob("counter_*.db"))
    return Counted(pids, dict(settled), *(int(seen.sum(name)) for name in names))
