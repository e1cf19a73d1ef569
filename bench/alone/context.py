"""What every scenario works with: the server, a client, and a worker of its own making."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from bench.compare import percentile
from bench.field import headrace_left
from bench.results import Figure
from bench.server import Server, Snapshot
from bench.side import PAYLOAD
from bench.worker import WorkerFailed, WorkerProcess, ask
from headrace import Client, Event

SIDE = [sys.executable, "-m", "bench.side", "headrace"]
GATE = "bench:go"
"""The key that a worker started with `gate=1` waits for."""
WORKER = [sys.executable, "-m", "bench.alone.worker"]


class Drained(msgspec.Struct, frozen=True):
    """A drain.

    Attributes:
        rate: runs settled a second, until nothing was left.
        seconds: how long that took.
        parts: runs begun a second in each tenth.
        before: the server just before the worker was started.
        after: the server when nothing was left.
        rss: the worker's resident bytes then.
    """

    rate: float
    seconds: float
    parts: list[float]
    before: Snapshot
    after: Snapshot
    rss: int


class Context:
    """One scenario's means."""

    def __init__(self, server: Server, scale: float, duration_s: float, say: Callable[[str], None]) -> None:
        self.server = server
        self.scale = scale
        self.duration_s = duration_s
        self.say = say

    def number(self, usual: int, least: int = 100) -> int:
        """Return a usual number at the run's scale."""
        return max(least, round(usual * self.scale))

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Give a client of the server."""
        with Client(self.server.url) as client:
            yield client

    def fill(
        self, count: int, payloads: Iterable[Any] = (PAYLOAD,), batch: int = 500, name: str = "bench", **options: Any
    ) -> float:
        """Send so many events, with these payloads in turn; return the seconds that it took."""
        known = list(payloads)
        with self.client() as client:
            client.send_events([])
            begun = time.perf_counter()
            for start in range(0, count, batch):
                size = min(batch, count - start)
                client.send_events([Event(name, known[(start + i) % len(known)]) for i in range(size)], **options)
            return time.perf_counter() - begun

    def worker(self, jobs: int = 0, **options: object) -> WorkerProcess:
        """Return a worker, to be entered; its options are those of `bench.alone.worker`, without BENCH_."""
        env = {f"BENCH_{name.upper()}": str(value) for name, value in options.items()}
        return WorkerProcess(WORKER, self.server.url, jobs, env)

    def drain(self, runs: int, *, from_start: bool = False, **options: object) -> Drained:
        """Start a worker on what was sent and return how it drained, once so many runs have settled.

        Args:
            from_start: count from the worker's start, where the first run begins only when much is done already.
        """
        before = self.server.snapshot()
        with self.worker(runs, gate=1, **options) as worker:
            time.sleep(1.0)  # it has its modules, and waits
            started_ns = self.open_gate()
            first_ns = started_ns if from_start else worker.wait_done(1, 60).ns
            worker.wait_done(runs, 60 + runs / 500)
            ended_ns = self.wait_until_drained()
            after = self.server.snapshot()
            reports = [(each.done, each.ns) for each in worker.progress]
            seconds = (ended_ns - first_ns) / 1e9
            return Drained(
                rate=runs / seconds,
                seconds=seconds,
                parts=[
                    (done - done_before) / max((ns - ns_before) / 1e9, 1e-9)
                    for (done_before, ns_before), (done, ns) in itertools.pairwise(reports)
                ],
                before=before,
                after=after,
                rss=worker.job_process().memory_info().rss,
            )

    def open_gate(self) -> int:
        """The workers that wait at the gate begin; returns the monotonic time in ns."""
        self.server.client.set(GATE, 1)
        return time.monotonic_ns()

    def wait_until_drained(self, timeout_s: float = 60) -> int:
        """Return the monotonic time in ns at which nothing was left to dispatch or to settle."""
        deadline = time.monotonic() + timeout_s
        while left := headrace_left(self.server.client):
            if time.monotonic() > deadline:
                raise WorkerFailed(f"{left} events and runs were left after {timeout_s:g} s")
            time.sleep(0.001)
        return time.monotonic_ns()

    def rate(self, runs: int = 30_000) -> float:
        """Return how many events a second one server and one worker could be sent and drain at once, here and now.

        The server does both, so what each event takes of it adds up.
        """
        self.server.reset()
        count = self.number(runs, 2_000)
        seconds = self.fill(count) + self.drain(count).seconds
        self.server.reset()
        return count / seconds

    def probe(self, count: int, pause_s: float = 0.005) -> list[float]:
        """Return the latencies in ms of so many probes, one at a time."""
        command = [*SIDE, "probe", "--count", str(count), "--pause", str(pause_s)]
        answer = ask(command, self.server.url, timeout_s=60 + count)
        if not answer["ms"]:
            raise WorkerFailed("no probe was answered")
        found: list[float] = answer["ms"]
        return found


def percentiles(name: str, values: list[float], targets: dict[int, float] | None = None) -> list[Figure]:
    """Return the figures of a distribution in ms: median, 99th percentile and the worst."""
    figures = []
    for percent, word in ((50, "p50"), (99, "p99"), (100, "worst")):
        value = percentile(values, percent)
        target = (targets or {}).get(percent)
        figures.append(at_most(f"{name}, {word}", value, "ms", target))
    return figures


def at_most(name: str, value: float, unit: str, target: float | None, note: str = "") -> Figure:
    """Return a figure that should not be more than its target."""
    if target is None:
        return Figure(name, value, unit, note=note)
    return Figure(name, value, unit, f"≤ {target:g} {unit}".strip(), value <= target, note)


def at_least(name: str, value: float, unit: str, target: float | None, note: str = "") -> Figure:
    """Return a figure that should not be less than its target."""
    if target is None:
        return Figure(name, value, unit, note=note)
    return Figure(name, value, unit, f"≥ {target:,g} {unit}".strip(), value >= target, note)
