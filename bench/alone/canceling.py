"""How soon the function of a run that executes hears that it was canceled."""

from __future__ import annotations

import json
import random
import socket
import sys
import time

from bench.alone.context import Context, percentiles
from bench.alone.generator import steady
from bench.alone.sleeping import EVENT, JOB, make_app
from bench.results import Figure, Scenario
from bench.side import PAYLOAD
from bench.worker import WorkerFailed, WorkerProcess
from headrace import Client, Event
from headrace.model.ids import run_id
from headrace_worker.operate.app_client import AppClient

RUNS = 200
WARM = 5
LOAD = 200
LOAD_S = 600
ANSWER_S = 30.0
PAUSE_S = 0.05
COMMAND = [sys.executable, "-m", "bench.alone.sleeping"]


def measure(context: Context, scenario: Scenario) -> None:
    """Cancel runs that sleep, one after the other, while another app's queue has a light load."""
    with (
        AppClient(context.server.url) as client,
        context.worker(),
        steady(context.server.url, LOAD, LOAD_S),
        WorkerProcess(COMMAND, context.server.url, 0),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answers,
    ):
        answers.bind(("127.0.0.1", 0))
        answers.settimeout(ANSWER_S)
        client.register_app(make_app(lambda _: None))
        for _ in range(WARM):
            _cancel_one(client, answers)
        found = [_cancel_one(client, answers) for _ in range(context.number(RUNS, 20))]
    scenario.figures += [
        Figure("runs a second of another queue, about", LOAD, ""),
        Figure("runs canceled, one after the other", len(found), ""),
        *percentiles("cancel_run to the CancelledError of its function", found, {99: 1_000}),
    ]


def _cancel_one(client: Client, answers: socket.socket) -> float:
    """Return the ms from before the call to the CancelledError of a run that slept."""
    payload = {**PAYLOAD, "port": answers.getsockname()[1], "at": 0}
    event = client.send_event(Event(EVENT, payload))
    _await_answer(answers)
    time.sleep(random.uniform(0, PAUSE_S))  # at any moment of the worker's own rounds
    called_ns = time.monotonic_ns()
    client.cancel_run(run_id(event.id, JOB))
    return (_await_answer(answers) - called_ns) / 1e6


def _await_answer(answers: socket.socket) -> int:
    try:
        return int(json.loads(answers.recv(1024))["ns"])
    except TimeoutError as exc:
        raise WorkerFailed(f"a run neither began nor was canceled within {ANSWER_S:g} s") from exc
