"""How soon a run is called again after its worker was killed."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time

from bench.alone.context import Context, at_most
from bench.alone.generator import steady
from bench.alone.worker import HANG
from bench.results import Scenario
from bench.side import PAYLOAD
from bench.worker import WorkerFailed, WorkerProcess
from headrace import Event

LEASE_S = 15.0
CROWD = 1_000


def measure(context: Context, scenario: Scenario) -> None:
    """Kill a worker with a run in flight: on an idle server, beside a thousand leases, under load."""
    target = LEASE_S + 1
    scenario.figures.append(at_most("kill -9 to the call again, idle", _recover(context), "s", target))
    context.server.reset()
    crowd = context.number(CROWD, 50)
    command = [sys.executable, "-m", "bench.alone.leases", str(crowd)]
    with WorkerProcess(command, context.server.url, 0):
        _wait_for_leases(context, crowd)
        seconds = _recover(context)
    scenario.figures.append(at_most(f"the same beside {crowd:,} live leases", seconds, "s", target))
    context.server.reset()
    load = 2_000
    with steady(context.server.url, load, 120):
        seconds = _recover(context)
    scenario.figures.append(at_most(f"the same while {load:,} events a second arrive", seconds, "s", target))


def _recover(context: Context) -> float:
    """Return the seconds from the kill of a worker to the second call of the run that it had."""
    with contextlib.ExitStack() as stack:
        answers = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        answers.bind(("127.0.0.1", 0))
        client = stack.enter_context(context.client())
        victim = stack.enter_context(context.worker())
        context.probe(5)
        payload = {**PAYLOAD, "port": answers.getsockname()[1], "at": 0, "seconds": 120}
        client.send_event(Event(HANG, payload))
        _await_call(answers, 10)
        stack.enter_context(context.worker())
        time.sleep(2)  # the second is there and has renewed
        killed_ns = time.monotonic_ns()
        victim.kill()
        return (_await_call(answers, LEASE_S * 4) - killed_ns) / 1e9


def _await_call(answers: socket.socket, timeout_s: float) -> int:
    answers.settimeout(timeout_s)
    try:
        return int(json.loads(answers.recv(1024))["ns"])
    except TimeoutError as exc:
        raise WorkerFailed(f"the run was not called within {timeout_s:g} s") from exc


def _wait_for_leases(context: Context, count: int) -> None:
    deadline = time.monotonic() + 30
    while int(context.server.client.zcard("headrace:{default:0}:workers")) < count:
        if time.monotonic() > deadline:
            raise WorkerFailed("the leases are not there after 30 s")
        time.sleep(0.05)
