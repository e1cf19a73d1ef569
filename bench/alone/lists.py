"""What the first page of each list costs where there is much: round trips, and the longest command of the server."""

from __future__ import annotations

from bench.alone.context import Context, at_most
from bench.lists import fill, first_pages
from bench.results import Figure, Scenario

EVENTS = 1_000_000
WAITING = 200_000
DEAD = 100_000


def measure(context: Context, scenario: Scenario) -> None:
    """Fill a namespace, and ask for the first page of each list."""
    events, waiting, dead = context.number(EVENTS), context.number(WAITING), context.number(DEAD)
    context.fill(events)
    fill(context.server, waiting, dead)
    costs = first_pages(context.server)
    scenario.figures += [
        Figure("recorded events", events, ""),
        Figure("runs that wait, in a queue and in `due` each", waiting, ""),
        Figure("dead letters", dead, ""),
        at_most("round trips of a page", max(cost.round_trips for cost in costs.values()), "", 12),
        at_most("longest command", max(cost.slowest_ms for cost in costs.values()), "ms", 5),
    ]
    scenario.figures += [
        Figure(name, cost.slowest_ms, "ms", note=f"{cost.round_trips} round trips, {cost.seconds * 1000:.0f} ms in all")
        for name, cost in costs.items()
    ]
