"""Whether many delayed events make those that are due cost more, and how soon 10,000 due at one instant begin."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import msgspec

from bench.alone.context import Context, at_most
from bench.results import Figure, Scenario

WAITING = 1_000_000
DUE = 10_000


class Instant(msgspec.Struct, frozen=True):
    """What an instant with many due events took: ms until the last was dispatched, ms until its job began, CPU each."""

    dispatched_ms: float
    begun_ms: float
    server_us: float


def measure(context: Context, scenario: Scenario) -> None:
    """Let the same number of events be due at one instant, with few others waiting and with many."""
    due = context.number(DUE, 1_000)
    waiting = context.number(WAITING, 20_000)
    alone = _instant(context, due)
    context.server.reset()
    empty = context.server.memory()
    filled_s = context.fill(waiting, deliver_after=timedelta(days=1))
    memory = (context.server.memory() - empty) / waiting
    among = _instant(context, due)
    scenario.figures += [
        Figure("delayed events that wait", waiting, "", note=f"sent at {waiting / filled_s:,.0f} a second"),
        at_most("memory of one", memory, "bytes", 800),
        Figure("events due at one instant", due, ""),
        at_most("until the last of them was dispatched", among.dispatched_ms, "ms", 1000),
        Figure("until the last of their jobs began", among.begun_ms, "ms"),
        Figure("the same with no others waiting", alone.dispatched_ms, "ms", note=f"jobs: {alone.begun_ms:,.0f} ms"),
        Figure("server's CPU a due event", among.server_us, "µs", note="its promotion, dispatch and settling"),
        Figure("the same with no others waiting", alone.server_us, "µs"),
    ]


def _instant(context: Context, due: int) -> Instant:
    server = context.server
    others = int(server.client.zcard("headrace:{default:0}:due"))
    with context.worker(due) as worker:
        context.probe(20)
        at = time.time() + 1.5 + due / 20_000
        context.fill(due, deliver_at=datetime.fromtimestamp(at, UTC))
        if time.time() > at - 0.2:
            context.say("sending took so long that the instant was nearly there; the figures are of no use")
        time.sleep(max(0, at - 0.1 - time.time()))
        before = server.snapshot()
        while int(server.client.zcard("headrace:{default:0}:due")) > others or server.client.xlen(_EVENTS):
            time.sleep(0.002)
        dispatched = time.time()
        to_wall = time.time() - time.monotonic()
        begun = worker.wait_done(due, 60).ns / 1e9 + to_wall
        context.wait_until_drained()
        after = server.snapshot()
    return Instant((dispatched - at) * 1000, (begun - at) * 1000, (after.cpu_s - before.cpu_s) / due * 1e6)


_EVENTS = "headrace:{default:0}:events"
