"""What a send costs, beside a bare round trip of the same client."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

import redis

from bench.alone.context import Context, at_least, at_most
from bench.results import Scenario
from bench.side import PAYLOAD
from headrace import Client, Event
from headrace.calls import sending
from headrace.calls.call import Argument, Call
from headrace.plans.prepare import SendOptions, prepare
from headrace.scripts import Script
from headrace.transport.single import Transport

_NOTHING = "return 1"
_ROUNDS = 5


def measure(context: Context, scenario: Scenario) -> None:
    """Send one by one and in batches, in turn with the bare round trip."""
    count = context.number(4_000, 500)
    with context.client() as client, redis.Redis.from_url(context.server.url) as redis_py:

        def send() -> None:
            client.send_event(Event("bench", PAYLOAD))

        trips = [_trip_of_redis_py(redis_py, client), _trip_of_transport(context, client), send]
        redis_py_us, transport_us, send_us = _interleaved(trips, count)
    scenario.figures += [
        at_most("send_event", send_us, "µs", None, f"{1e6 / send_us:,.0f} a second"),
        at_most("a bare EVALSHA round trip of redis-py", redis_py_us, "µs", None, "the same arguments, `return 1`"),
        at_most("send_event beside it", send_us / redis_py_us, "×", 1.3),
        at_most("the same over Headrace's own transport", transport_us, "µs", None, "redis-py's connections alone"),
    ]
    events = context.number(200_000, 5_000)
    context.server.reset()
    before = context.server.snapshot()
    seconds = context.fill(events)
    after = context.server.snapshot()
    scenario.figures += [
        at_least("send_events, batches of 500", events / seconds, "events/s", 100_000),
        at_most("server's CPU an event in batches", (after.cpu_s - before.cpu_s) / events * 1e6, "µs", None),
        at_most("server's memory an event, undispatched", (after.memory - before.memory) / events, "bytes", None),
    ]


def _interleaved(functions: list[Callable[[], None]], count: int) -> list[float]:
    """Return the µs a call of each, the best of some rounds in turn, so that what else the machine does hits both."""
    best = [float("inf")] * len(functions)
    for _ in range(_ROUNDS):
        for place, function in enumerate(functions):
            begun = time.perf_counter()
            for _ in range(count):
                function()
            best[place] = min(best[place], (time.perf_counter() - begun) / count * 1e6)
    return best


def _send_arguments(client: Client) -> tuple[Argument, ...]:
    """Return what one send_event sends behind the script's name."""
    events = prepare([Event("bench", PAYLOAD)], SendOptions(), now=lambda: datetime.now(UTC))
    return sending.send(client.partitions.first, events, "token").args[2:]


def _trip_of_transport(context: Context, client: Client) -> Callable[[], None]:
    transport = Transport(context.server.url)
    script = Script("nothing", _NOTHING, hashlib.sha1(_NOTHING.encode(), usedforsecurity=False).hexdigest())
    call: Call[int] = Call(("EVALSHA", script.sha, *_send_arguments(client)), int, script)
    transport.run([call])
    return lambda: _ignore(transport.run([call]))


def _trip_of_redis_py(bare: redis.Redis, client: Client) -> Callable[[], None]:
    arguments = [str(argument) if isinstance(argument, int) else argument for argument in _send_arguments(client)]
    number_of_keys, rest = int(arguments[0]), arguments[1:]
    sha = bare.script_load(_NOTHING)
    return lambda: _ignore(bare.evalsha(sha, number_of_keys, *rest))


def _ignore(_: object) -> None:
    pass
