"""Measures the field side by side: a counting pass that also proves that everyone works, then interleaved rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bench.environments import Missing, SetupFailed
from bench.field import Peer
from bench.monitor import Monitor
from bench.results import Counts, PeerResult, Round
from bench.server import Server
from bench.worker import Progress, WorkerFailed, WorkerProcess, ask

BATCH = 500
IDLE_S = 6.0
PROBE_PAUSE_S = 0.005


class Plan(msgspec.Struct, frozen=True):
    """How much is measured: the share of each peer's usual number of jobs, how many rounds, how many probes."""

    scale: float = 1.0
    rounds: int = 3
    probes: int = 500

    def jobs(self, peer: Peer) -> tuple[int, int]:
        """Return how many jobs a drain of the peer has that are sent one by one, and in batches."""
        one = max(200, round(peer.one * self.scale))
        many = max(200, round((peer.jobs - peer.one) * self.scale)) if peer.batches else 0
        return one, many


def compare(server: Server, field: Sequence[Peer], plan: Plan, say: Callable[[str], None]) -> list[PeerResult]:
    """Return the measurements of each, in the field's order; a peer that fails says why, and the next is measured."""
    results = {peer.name: PeerResult(peer.name, peer.title) for peer in field}
    running: list[tuple[Peer, list[str]]] = []
    for peer in field:
        result = results[peer.name]
        try:
            command = peer.command()
            about = ask([*command, "about"], server.url)
            result.settings, result.runtime, result.versions = about["settings"], about["runtime"], about["versions"]
            say(f"counting: {peer.title}")
            result.counts = _count(server, peer, command, plan)
        except Missing as exc:
            result.skipped = str(exc)
        except (SetupFailed, WorkerFailed) as exc:
            result.failed = str(exc)
        else:
            running.append((peer, command))
        if result.skipped or result.failed:
            say(f"{peer.title}: {result.skipped or result.failed}")
    for number in range(1, plan.rounds + 1):
        for peer, command in running:
            say(f"round {number} of {plan.rounds}: {peer.title}")
            try:
                results[peer.name].rounds.append(_measure(server, peer, command, plan))
            except WorkerFailed as exc:
                results[peer.name].failed = str(exc)
                say(f"{peer.title}: {exc}")
    return list(results.values())


def _count(server: Server, peer: Peer, command: list[str], plan: Plan) -> Counts:
    """Count the commands and bytes of a smaller drain, and of an idle worker after it."""
    one, many = plan.jobs(peer)
    one, many = max(200, one // 5), many // 5
    server.reset()
    sent = _send(server, command, one, many)["sent"]
    with WorkerProcess([*command, "work"], server.url, sent) as worker:
        with Monitor(server) as drain:
            _drain(server, peer, worker, sent)
        time.sleep(1)  # what follows a busy time, such as acknowledging the last jobs, is over
        with Monitor(server) as idle:
            time.sleep(IDLE_S)
    return Counts(
        commands=drain.outer.total() / sent,
        script_commands=drain.inner.total() / sent,
        idle_commands_s=idle.outer.total() / IDLE_S,
        by_command=dict(drain.outer.most_common(8)),
    )


def _measure(server: Server, peer: Peer, command: list[str], plan: Plan) -> Round:
    server.reset()
    before = server.snapshot()
    sends = _send(server, command, *plan.jobs(peer))
    queued = server.snapshot()
    sent: int = sends["sent"]
    with WorkerProcess([*command, "work"], server.url, sent) as worker:
        first, last_ns, cpu_s = _drain(server, peer, worker, sent)
        drained = server.snapshot()
        probes = ask([*command, "probe", "--count", str(plan.probes), "--pause", str(PROBE_PAUSE_S)], server.url)
        rss = worker.job_process().memory_info().rss
    if not probes["ms"]:
        raise WorkerFailed("no probe was answered within its 5 seconds")
    return Round(
        jobs=sent,
        send_one_s=sends["one"] / sends["one_s"],
        send_many_s=sends["many"] / sends["many_s"] if sends["many_s"] else None,
        drain_s=(sent - first.done) / ((last_ns - first.ns) / 1e9),
        p50_ms=statistics.median(probes["ms"]),
        p99_ms=percentile(probes["ms"], 99),
        probes_lost=probes["lost"],
        server_cpu_send_us=(queued.cpu_s - before.cpu_s) / sent * 1e6,
        server_cpu_drain_us=(drained.cpu_s - queued.cpu_s) / sent * 1e6,
        worker_cpu_us=cpu_s / sent * 1e6,
        bytes_in=(drained.received - queued.received) / sent,
        bytes_out=(drained.sent - queued.sent) / sent,
        memory_job=(queued.memory - before.memory) / sent,
        memory_left=(drained.memory - before.memory) / sent,
        rss=rss,
    )


def _send(server: Server, command: list[str], one: int, many: int) -> Any:
    options = ["--one", str(one), "--many", str(many), "--batch", str(BATCH)]
    return ask([*command, "send", *options], server.url)


def _drain(server: Server, peer: Peer, worker: WorkerProcess, jobs: int) -> tuple[Progress, int, float]:
    """Return the moment of the first job, that of the end in ns, and the worker's CPU seconds between them."""
    timeout_s = 60 + jobs / 100
    first = worker.wait_done(1, timeout_s)
    process = worker.job_process()
    cpu_before = sum(process.cpu_times()[:2])
    last_ns = worker.wait_done(jobs, timeout_s).ns
    if peer.left is not None:
        deadline = time.monotonic() + 30
        while peer.left(server.client) > 0:
            if time.monotonic() > deadline:
                raise WorkerFailed(f"{peer.left(server.client)} jobs were begun and not settled after 30 s")
            time.sleep(0.001)
        last_ns = time.monotonic_ns()
    return first, last_ns, sum(process.cpu_times()[:2]) - cpu_before


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
