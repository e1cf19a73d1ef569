"""Acts on very many by the command line, each beside a worker with a light load: does anything hold the server up?"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from bench.alone import failing
from bench.alone.context import Context, at_most
from bench.compare import percentile
from bench.filling import KEYS, fill_dead
from bench.results import Figure, Scenario
from bench.side import PAYLOAD
from bench.slow_log import SlowLog, before_others
from bench.worker import WorkerFailed, WorkerProcess
from headrace import Client, Event
from headrace_worker.operate.app_client import AppClient

MANY = 1_000_000
FEWER = 100_000
PROBES = 2_000
WARM = 20
PAUSE_S = 0.005
NOTED_US = 250
LONGEST_MS = 5
TIMES = 2


def measure(context: Context, scenario: Scenario) -> None:
    """Retry, cancel, purge and discard, and look at the server and at another queue's runs meanwhile."""
    many, fewer = context.number(MANY), context.number(FEWER)
    with context.worker(), before_others(context.server) as is_before, _Prober(context) as prober:
        word = "goes" if is_before else "may not go"
        note = f"the server {word} before other programs"
        scenario.figures.append(Figure("runs a second of another queue, about", 1 / PAUSE_S, "", note=note))
        scenario.figures.append(_beside_computing(prober, context.number(PROBES)))
        with AppClient(context.server.url) as client:
            client.register_app(failing.make_app())
        act = _Acts(context, scenario, prober)
        _fail(context, fewer)
        act("dead retry", fewer, "--all", "--yes")
        act("runs cancel", fewer, "--job", failing.JOB, "--yes")
        _queue(context, many)
        act("queues purge", many, failing.QUEUE, f"--yes={failing.QUEUE}")
        for count, rate in ((many, None), (many, "full")):
            fill_dead(context.server, count)
            act("dead discard", count, "--all", f"--yes={KEYS.namespace}", rate=rate)


class _Acts:
    """Gives commands one after the other, and measures each."""

    def __init__(self, context: Context, scenario: Scenario, prober: _Prober) -> None:
        self._context = context
        self._scenario = scenario
        self._prober = prober

    def __call__(self, verb: str, count: int, *arguments: str, rate: str | None = None) -> None:
        """Act on so many, and look meanwhile.

        Raises:
            WorkerFailed: it was not done to all of them.
        """
        self._context.say(f"{verb}: {count:,}")
        probes = self._context.number(PROBES)
        before = self._prober.look(lambda asked: asked == probes)
        paced = ("--rate", rate) if rate else ()
        command_line = (*verb.split(), *arguments, *paced)
        with SlowLog(self._context.server, NOTED_US) as log, self._command(command_line, count) as command:
            begun = time.monotonic()
            meanwhile = self._prober.look(lambda _: command.poll() is not None)
            seconds = time.monotonic() - begun
        name = " ".join((verb, *paced))
        self._scenario.figures += [
            Figure(f"{name}: {count:,}", seconds, "s", note=f"{count / seconds:,.0f} a second, its start included"),
            at_most(f"{name}: longest command", log.slowest_ms, "ms", LONGEST_MS, log.note(LONGEST_MS)),
            _beside(name, before, meanwhile, None if rate else TIMES),
        ]

    @contextmanager
    def _command(self, words: tuple[str, ...], count: int) -> Iterator[subprocess.Popen[bytes]]:
        """Give a command; it has to have ended, and to have done its work, at the end."""
        command = [sys.executable, "-m", "headrace_worker.cli", *words]
        command += ["--max", str(count), "--json", "--url", self._context.server.url]
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=errors) as process:
                yield process
            errors.seek(0)
            text = errors.read().decode(errors="replace")
            said.seek(0)
            *_, end = said.readlines() or [b"{}"]
        if process.returncode != 0 or json.loads(end).get("done") != count:
            raise WorkerFailed(
                f"{' '.join(words)} ended with {process.returncode}, and said {end.decode()}{text[-1000:]}"
            )


def _beside(name: str, before: list[float], meanwhile: list[float], target: float | None) -> Figure:
    usual, now = percentile(before, 99), percentile(meanwhile, 99)
    note = f"{usual:.2f} ms before, {now:.2f} ms meanwhile, {len(meanwhile):,} probes"
    return at_most(f"{name}: p99 of another queue, beside that before", now / usual, "×", target, note)


def _beside_computing(prober: _Prober, probes: int) -> Figure:
    """Return what two programs do to the other queue that call no server: an act keeps itself and the server busy."""
    before = prober.look(lambda asked: asked == probes)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        meanwhile = prober.look(lambda asked: asked == probes)
    finally:
        for each in busy:
            each.kill()
            each.wait()
    usual, now = percentile(before, 99), percentile(meanwhile, 99)
    note = f"{usual:.2f} ms before, {now:.2f} ms meanwhile"
    return Figure("p99 of another queue, beside two programs that only compute", now / usual, "×", note=note)


class _Prober:
    """Sends probes to a worker at a light, steady rate, from when it is entered on."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> Self:
        self._client = Client(self._context.server.url)
        self._answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._answers.bind(("127.0.0.1", 0))
        self._answers.settimeout(30)
        self.look(lambda asked: asked == WARM)
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._client.close()

    def look(self, is_over: Callable[[int], bool]) -> list[float]:
        """Return the ms from before each send to the first line of its job, until it is over; probe once at least."""
        found: list[float] = []
        port = self._answers.getsockname()[1]
        while not (found and is_over(len(found))):
            time.sleep(PAUSE_S * random.uniform(0.5, 1.5))
            at = time.monotonic_ns()
            self._client.send_event(Event("bench", {**PAYLOAD, "port": port, "at": at}))
            try:
                found.append((json.loads(self._answers.recv(1024))["ns"] - at) / 1e6)
            except TimeoutError as exc:
                raise WorkerFailed("a probe was not answered within 30 s") from exc
        return found


def _fail(context: Context, count: int) -> None:
    """Let so many runs fail for good, and end their worker."""
    context.fill(count, name=failing.EVENT)
    with WorkerProcess([sys.executable, "-m", "bench.alone.failing"], context.server.url, 0):
        _wait_for("dead letters", KEYS.dead, count, context)


def _queue(context: Context, count: int) -> None:
    """Let so many runs wait in a queue without a worker."""
    context.fill(count, name=failing.EVENT)
    _wait_for("runs in the queue", KEYS.queue(*failing.QUEUE.split("/")), count, context)


def _wait_for(what: str, stream: str, count: int, context: Context) -> None:
    deadline = time.monotonic() + 60 + count / 500
    while (found := int(context.server.client.xlen(stream))) < count:
        if time.monotonic() > deadline:
            raise WorkerFailed(f"there were {found:,} of {count:,} {what} in time")
        time.sleep(0.05)
