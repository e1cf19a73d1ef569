"""Whether a long queue drains as fast as a short one, and what it takes of the server's memory."""

from __future__ import annotations

from bench.alone.context import Context, at_least, at_most
from bench.results import Figure, Scenario

EVENTS = 1_000_000


def measure(context: Context, scenario: Scenario) -> None:
    """Send the backlog, drains it, and looks at each tenth."""
    count = context.number(EVENTS, 20_000)
    empty = context.server.memory()
    sent_s = context.fill(count)
    queued = context.server.memory()
    drained = context.drain(count)
    bare = (queued - empty) / count
    kept = (drained.after.memory - empty) / count
    slowest, fastest = min(drained.parts), max(drained.parts)
    scenario.figures += [
        Figure("events", count, ""),
        Figure("sent", count / sent_s, "events/s"),
        at_least("drained", drained.rate, "runs/s", None),
        Figure("slowest tenth", slowest, "runs/s", note=f"fastest {fastest:,.0f}; they run into each other"),
        at_least("last tenth beside the first", drained.parts[-1] / drained.parts[0], "×", None),
        at_most("memory of a queued event", bare, "bytes", 800),
        at_most("memory of a recorded event with one run", kept, "bytes", 800),
        at_most("worker's RSS after it", drained.rss / 2**20, "MB", None),
    ]
    scenario.series["runs a second in each tenth"] = [round(part) for part in drained.parts]
