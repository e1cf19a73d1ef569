"""How late a delayed event's job begins, by the server's clock, which here is the machine's."""

from __future__ import annotations

import json
import random
import socket
import time
from datetime import UTC, datetime

from bench.alone.context import Context, percentiles
from bench.alone.generator import steady
from bench.results import Scenario
from bench.side import PAYLOAD
from bench.worker import WorkerFailed
from headrace import Client, Event

AHEAD_S = 1.0
SPREAD_S = 0.02


def measure(context: Context, scenario: Scenario) -> None:
    """Send events that are due one after the other, to an idle worker and to one under half load."""
    count = context.number(500, 50)
    with context.worker():
        context.probe(20)
        idle = lateness(context, count)
    context.server.reset()
    half = context.rate() / 2
    with context.worker(), steady(context.server.url, half, 120):
        time.sleep(1)
        loaded = lateness(context, count)
    scenario.figures += percentiles("idle", idle, {99: 5})
    scenario.figures += percentiles(f"while {half:,.0f} events a second arrive", loaded)


def lateness(context: Context, count: int) -> list[float]:
    """Return for each of so many delayed events the ms from its due time to the first line of its job."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answers, context.client() as client:
        answers.bind(("127.0.0.1", 0))
        answers.settimeout(AHEAD_S + count * SPREAD_S + 10)
        due = _send_delayed(client, answers.getsockname()[1], count)
        late: list[float] = []
        while len(late) < count:
            try:
                answer = json.loads(answers.recv(1024))
            except TimeoutError as exc:
                raise WorkerFailed(f"{count - len(late)} of {count} delayed events did not arrive") from exc
            late.append((answer["now"] - due[answer["at"]]) * 1000)
    return late


def _send_delayed(client: Client, port: int, count: int) -> list[float]:
    """Send events that are due some ms apart, and return their due times; whole ms, as the server keeps them."""
    begin = time.time() + AHEAD_S
    due = [round(begin + SPREAD_S * (number + random.random() / 2), 3) for number in range(count)]
    for number, at in enumerate(due):
        event = Event("bench", {**PAYLOAD, "port": port, "at": number})
        client.send_event(event, deliver_at=datetime.fromtimestamp(at, UTC))
    return due
