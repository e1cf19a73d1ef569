"""How soon a run begins while others arrive at half the rate that a worker can drain."""

from __future__ import annotations

import time

from bench.alone.context import Context, percentiles
from bench.alone.generator import steady
from bench.results import Figure, Scenario


def measure(context: Context, scenario: Scenario) -> None:
    """Probes a worker under half load."""
    half = context.rate(60_000) / 2
    with context.worker(), steady(context.server.url, half, 120):
        time.sleep(1)
        latencies = context.probe(context.number(1_000))
    scenario.figures.append(
        Figure("the load", half, "events/s", note="half of what can be sent and drained at once, measured just before")
    )
    scenario.figures += percentiles("send_event to the first line of the job", latencies)
