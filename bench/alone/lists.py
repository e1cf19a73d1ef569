"""What the reads of the command line cost where there is much: round trips, and the longest command of the server."""

from __future__ import annotations

from bench.alone.context import Context, at_most
from bench.filling import JOBS, WORKERS, fill
from bench.lists import FOUND, LOOKS, NOTHING, Cost, costs
from bench.results import Figure, Scenario
from bench.slow_log import before_others

EVENTS = 1_000_000
WAITING = 200_000
DEAD = 100_000


def measure(context: Context, scenario: Scenario) -> None:
    """Fill a namespace, and read the first page of each list, and what else there is to read."""
    events, waiting, dead = context.number(EVENTS), context.number(WAITING), context.number(DEAD)
    context.fill(events)
    filled = fill(context.server, waiting, dead)
    with before_others(context.server):
        found, nothing, looks = (costs(context.server, asked, filled) for asked in (FOUND, NOTHING, LOOKS))
    everything = found | nothing | looks
    scenario.figures += [
        Figure("recorded events", events, ""),
        Figure("runs that wait, in a queue and in `due` each", waiting, ""),
        Figure("dead letters", dead, ""),
        Figure("live workers", WORKERS, "", note=f"{JOBS} jobs"),
        at_most("round trips of a page", _round_trips(found | nothing), "", 12),
        at_most("round trips where a filter matches nothing", _round_trips(nothing), "", 4, _commands(nothing)),
        at_most("round trips of any other read", _round_trips(looks), "", 20),
        at_most("longest command", max(cost.slowest_ms for cost in everything.values()), "ms", 5),
    ]
    scenario.figures += [Figure(name, cost.slowest_ms, "ms", note=cost.note) for name, cost in everything.items()]


def _round_trips(of: dict[str, Cost]) -> int:
    return max(cost.round_trips for cost in of.values())


def _commands(of: dict[str, Cost]) -> str:
    return f"a page; of {max(cost.commands for cost in of.values())} commands at most, all together"
