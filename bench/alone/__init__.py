"""Headrace alone: one module a scenario, each a function that fills a Scenario. `make bench-headrace`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.alone import (
    backlog,
    bulk,
    canceling,
    delayed,
    fanout,
    idle,
    lateness,
    lists,
    load,
    payloads,
    processes,
    recovery,
    sending,
    soak,
    variants,
)
from bench.alone.context import Context
from bench.results import Scenario
from bench.server import Server
from bench.worker import WorkerFailed
from headrace import HeadraceError

SCENARIOS: dict[str, tuple[str, Callable[[Context, Scenario], None]]] = {
    "sending": ("Sending", sending.measure),
    "idle": ("A worker with nothing to do", idle.measure),
    "fanout": ("Fan-out: jobs an event", fanout.measure),
    "payloads": ("Payloads", payloads.measure),
    "variants": ("Records off, plain functions", variants.measure),
    "processes": ("Worker processes", processes.measure),
    "load": ("Latency under half load", load.measure),
    "lateness": ("Lateness of delayed events", lateness.measure),
    "backlog": ("A backlog of 1,000,000 events", backlog.measure),
    "delayed": ("1,000,000 delayed events, 10,000 due at one instant", delayed.measure),
    "lists": ("Lists on 1,000,000 recorded events", lists.measure),
    "bulk": ("Acts on 1,000,000, beside another queue", bulk.measure),
    "cancel": ("Cancellation of runs that execute", canceling.measure),
    "recovery": ("Recovery after kill -9", recovery.measure),
    "soak": ("Soak at half load", soak.measure),
}
"""Title and function of each, in the order in which they run."""


def run_scenarios(
    server: Server, only: Sequence[str], scale: float, duration_s: float, say: Callable[[str], None]
) -> list[Scenario]:
    """Return what was measured; one that fails says why, and the others go on."""
    measured = []
    for name, (title, measure) in SCENARIOS.items():
        if only and name not in only:
            continue
        say(title)
        scenario = Scenario(name, title)
        server.reset()
        try:
            measure(Context(server, scale, duration_s, say), scenario)
        except (WorkerFailed, HeadraceError) as exc:
            scenario.failed = str(exc)
            say(f"{title} failed: {exc}")
        measured.append(scenario)
    return measured
