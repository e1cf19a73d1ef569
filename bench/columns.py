"""The columns of the comparison, one definition for the terminal and the documentation. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bench.results import PeerResult

Value = float | None


class Column(msgspec.Struct, frozen=True):
    """One figure of every peer.

    Attributes:
        head: the lines of its heading.
        value: takes the figure out of a result; None where there is none.
        digits: how many after the point.
        ratio: show its ratio to Headrace's beside it.
    """

    head: tuple[str, str]
    value: Callable[[PeerResult], Value]
    digits: int = 0
    ratio: bool = False

    def cell(self, result: PeerResult, base: PeerResult | None) -> tuple[str, str]:
        """Return the figure and its ratio to Headrace's as text, either of them empty where there is none."""
        value = self.value(result)
        if value is None:
            return "–", ""
        text = f"{value:,.{self.digits}f}"
        of = self.value(base) if base is not None and self.ratio else None
        return text, "" if not of else _times(value / of)


def _times(ratio: float) -> str:
    if ratio >= 100:
        return f"{ratio:,.0f}×"
    return f"{ratio:.2g}×" if ratio >= 0.01 else f"{ratio:.3f}×"


def _median(field: str, scale: float = 1.0) -> Callable[[PeerResult], Value]:
    def value(result: PeerResult) -> Value:
        found = result.median(field)
        return None if found is None else found * scale

    return value


def _count(field: str) -> Callable[[PeerResult], Value]:
    return lambda result: None if result.counts is None else getattr(result.counts, field)


def _cpu(result: PeerResult) -> Value:
    sending, draining = result.median("server_cpu_send_us"), result.median("server_cpu_drain_us")
    return None if sending is None or draining is None else sending + draining


COLUMNS = (
    Column(("sent a second", "one by one"), _median("send_one_s"), ratio=True),
    Column(("sent a second", "batches of 500"), _median("send_many_s"), ratio=True),
    Column(("drained a second", "one process"), _median("drain_s"), ratio=True),
    Column(("idle latency", "p50, ms"), _median("p50_ms"), 2, ratio=True),
    Column(("idle latency", "p99, ms"), _median("p99_ms"), 2),
    Column(("commands", "a job"), _count("commands"), 2),
    Column(("idle commands", "a second"), _count("idle_commands_s"), 1),
    Column(("server's CPU", "a job, µs"), _cpu, 1, ratio=True),
    Column(("worker's CPU", "a job, µs"), _median("worker_cpu_us"), 1, ratio=True),
    Column(("server's bytes", "a queued job"), _median("memory_job")),
    Column(("worker's RSS", "MB"), _median("rss", 1 / 2**20)),
)
"""Commands are those over the wire while a worker drains; the server's CPU is that of the send and of the drain."""
