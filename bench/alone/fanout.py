"""How many runs a second, when an event has more than one job."""

from __future__ import annotations

from bench.alone.context import Context
from bench.results import Figure, Scenario

RUNS = 100_000


def measure(context: Context, scenario: Scenario) -> None:
    """Drains the same number of runs at 1, 3, 10 and 50 jobs an event."""
    for jobs in (1, 3, 10, 50):
        events = max(20, context.number(RUNS, 2_000) // jobs)
        context.server.reset()
        context.fill(events)
        drained = context.drain(events * jobs, fanout=jobs)
        cpu_us = (drained.after.cpu_s - drained.before.cpu_s) / (events * jobs) * 1e6
        memory = (drained.after.memory - drained.before.memory) / events
        note = f"{cpu_us:.1f} µs of the server's CPU a run; the record grows by {memory:,.0f} bytes an event"
        word = "job" if jobs == 1 else "jobs"
        scenario.figures.append(Figure(f"{jobs} {word} an event", drained.rate, "runs/s", note=note))
