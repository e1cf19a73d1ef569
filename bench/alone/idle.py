"""What a worker costs while there is nothing to do, and how soon it begins a run then."""

from __future__ import annotations

import time

from bench.alone.context import Context, at_most, percentiles
from bench.monitor import Monitor
from bench.results import Scenario


def measure(context: Context, scenario: Scenario) -> None:
    """Watches an idle worker, then probes it."""
    seconds = max(6.0, 30 * min(context.scale, 1))
    with context.worker() as worker:
        context.probe(20)  # it has started, and every path was gone once
        time.sleep(1)
        process = worker.process()
        rss = process.memory_info().rss
        cpu = sum(process.cpu_times()[:2])
        before = context.server.snapshot()
        with Monitor(context.server) as monitor:
            time.sleep(seconds)
        after = context.server.snapshot()
        cpu = sum(process.cpu_times()[:2]) - cpu
        latencies = context.probe(context.number(2_000))
    commands = monitor.outer.total() / seconds
    names = ", ".join(f"{name} {count}" for name, count in monitor.outer.most_common())
    scenario.figures += [
        at_most("worker's RSS", rss / 2**20, "MB", 60),
        at_most("commands", commands, "a second", 1, names),
        at_most("worker's CPU", cpu / seconds * 1000, "ms a second", None),
        at_most("server's CPU", (after.cpu_s - before.cpu_s) / seconds * 1000, "ms a second", None),
        *percentiles("send_event to the first line of the job", latencies, {50: 0.35, 99: 1}),
    ]
