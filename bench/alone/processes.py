"""What more worker processes bring on this machine, which the server and they share."""

from __future__ import annotations

import contextlib
import time

from bench.alone.context import Context
from bench.results import Figure, Scenario


def measure(context: Context, scenario: Scenario) -> None:
    """Drains the same events with 1, 2 and 4 worker processes that start together."""
    count = context.number(150_000, 5_000)
    for processes in (1, 2, 4):
        context.server.reset()
        context.fill(count)
        before = context.server.snapshot()
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(context.worker(count, gate=1)) for _ in range(processes)]
            time.sleep(1.5)  # each has its modules, and waits
            context.open_gate()
            workers[0].wait_done(1, 60)
            first_ns = min(worker.wait_done(1, 60).ns for worker in workers)
            seconds = (context.wait_until_drained(60 + count / 500) - first_ns) / 1e9
            after = context.server.snapshot()
        word = "process" if processes == 1 else "processes"
        share = (after.cpu_s - before.cpu_s) / seconds
        note = f"the server took {share:.0%} of a core"
        scenario.figures.append(Figure(f"{processes} {word}", count / seconds, "runs/s", note=note))
