"""Whether memory and latency hold over minutes at half load, and memory comes back when all has drained."""

from __future__ import annotations

import time

from bench.alone.context import Context, at_most
from bench.alone.generator import steady
from bench.compare import percentile
from bench.field import headrace_left
from bench.results import Figure, Scenario

RETENTION_S = 20
EVERY_S = 10.0
COLUMNS = ("seconds", "rss_mb", "server_mb", "p50_ms", "p99_ms", "backlog")


def measure(context: Context, scenario: Scenario) -> None:
    """Watches a worker for as long as the run's duration says, with records kept for 20 s."""
    half = context.rate(60_000) / 2
    empty = context.server.memory()
    series: dict[str, list[float]] = {name: [] for name in COLUMNS}
    with context.worker(retention_s=RETENTION_S) as worker:
        context.probe(20)
        process = worker.process()
        begun = time.monotonic()
        with steady(context.server.url, half, context.duration_s + 60):
            while (now := time.monotonic()) < begun + context.duration_s:
                latencies = context.probe(100)
                row = (
                    round(now - begun),
                    process.memory_info().rss / 2**20,
                    context.server.memory() / 2**20,
                    percentile(latencies, 50),
                    percentile(latencies, 99),
                    float(headrace_left(context.server.client)),
                )
                for name, value in zip(series, row, strict=True):
                    series[name].append(round(value, 3))
                time.sleep(max(0, EVERY_S - (time.monotonic() - now)))
        context.wait_until_drained()
        left = _memory_after_retention(context)
    scenario.series = series
    scenario.figures += _figures(series, half, (left - empty) / 2**20)


def _memory_after_retention(context: Context) -> int:
    """Return the server's memory once the records are gone; expiry works a little at a time."""
    deadline = time.monotonic() + RETENTION_S + 60
    while int(context.server.client.dbsize()) > 30 and time.monotonic() < deadline:
        time.sleep(0.5)
    return context.server.memory()


def _figures(series: dict[str, list[float]], load: float, left_mb: float) -> list[Figure]:
    settled = [rss for at, rss in zip(series["seconds"], series["rss_mb"], strict=True) if at >= RETENTION_S]
    rss = settled or series["rss_mb"]
    growth = rss[-1] / rss[0]
    return [
        Figure("the load", load, "events/s", note="half of what can be sent and drained at once, measured just before"),
        Figure("most that was waiting at a look", max(series["backlog"]), "", note="more than a moment's is too much"),
        at_most("worker's RSS at its end", rss[-1], "MB", None),
        at_most("its growth once settled", (growth - 1) * 100, "%", 5, f"from {rss[0]:.1f} MB"),
        at_most("latency p50 at its worst", max(series["p50_ms"]), "ms", None, f"best {min(series['p50_ms']):.2f}"),
        at_most("latency p99 at its worst", max(series["p99_ms"]), "ms", None, f"best {min(series['p99_ms']):.2f}"),
        at_most("server's memory after it", left_mb, "MB", None, "above an empty server, when retention has passed"),
    ]
