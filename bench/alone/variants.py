"""What records and metrics cost, and plain functions in threads."""

from __future__ import annotations

from typing import Any

from bench.alone.context import Context
from bench.results import Figure, Scenario


def measure(context: Context, scenario: Scenario) -> None:
    """Drains the same events with records kept and dropped, counted and not, by a coroutine and by a plain function."""
    cases: tuple[tuple[str, int, dict[str, Any]], ...] = (
        ("async job, records kept an hour", 100_000, {}),
        ("async job, metrics counted", 100_000, {"metrics": 1}),
        ("async job, retention 0", 100_000, {"retention_s": 0}),
        ("async job, concurrency 100 (default)", 100_000, {"concurrency": 100}),
        ("plain function in threads, concurrency 32", 20_000, {"plain": 1, "concurrency": 32}),
    )
    for name, usual, options in cases:
        count = context.number(usual, 2_000)
        context.server.reset()
        context.fill(count)
        drained = context.drain(count, **options)
        cpu_us = (drained.after.cpu_s - drained.before.cpu_s) / count * 1e6
        kept = (drained.after.memory - drained.before.memory) / count
        note = f"{cpu_us:.1f} µs of the server's CPU a run; memory changes by {kept:,.0f} bytes a run"
        scenario.figures.append(Figure(name, drained.rate, "runs/s", note=note))
