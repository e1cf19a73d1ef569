"""Worker processes die by kill -9; their pending entries come back, and nothing is lost or dead-lettered."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from headrace_worker import App
from tests.faults.deployment import Deployment, worker_name
from tests.support.processes import Process, Processes
from tests.support.waiting import await_until, wait_until

LEASE: dict[str, Any] = {"lease": 1.0, "block": 0.5}


def kill(deployment: Deployment, process: Process, app: str) -> list[tuple[str, str]]:
    """Kill a worker, and return the (event, job) of each run that was pending under its name."""
    name = worker_name(process)
    process.kill()
    return deployment.held_by(name, app)


def wait_for_calls_or_drain(deployment: Deployment, calls: int) -> None:
    wait_until(lambda: deployment.calls.count() >= calls or not deployment.open_work("load"), 60, what=f"{calls} calls")


@pytest.mark.parametrize("events", [2000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_worker_killed_again_and_again_repeats_only_its_own_runs(deployment: Deployment, events: int) -> None:
    """Every run succeeds. A run is called at most once, and once more for each killed worker that had it in flight."""
    ids: list[str] = []
    in_killed: Counter[tuple[str, str]] = Counter()
    settings = {**LEASE, "lease": 1.5, "concurrency": 300, "max_lost": 1000}
    living = [deployment.start_worker("load", **settings), deployment.start_worker("load", **settings)]
    waves = 4
    for _ in range(waves):
        victim = living.pop(0)
        worker_name(victim)
        ids += deployment.send_many("load", events // waves)
        wait_for_calls_or_drain(deployment, deployment.calls.count() + 700)
        in_killed.update(kill(deployment, victim, "load"))
        living.append(deployment.start_worker("load", **settings))
    deployment.wait_drained("load")
    assert in_killed, "no killed worker had a run in flight: the load was too light to show anything"
    counts = deployment.calls.counts()
    assert counts.keys() == {(event, job) for event in ids for job in "abc"}
    without_cause = {run: count for run, count in counts.items() if count > 1 + in_killed[run]}
    assert not without_cause
    for record in deployment.records(ids):
        assert [run.status for run in record.runs] == ["succeeded"] * 3
        assert record.is_settled


def test_a_killed_workers_runs_come_back_on_an_idle_stream(deployment: Deployment) -> None:
    """Live workers get its runs and its undispatched events when its lease expires, without any new entry."""
    victim = deployment.start_worker("gates", **LEASE)
    name = worker_name(victim)
    event = deployment.send("hold", "held")
    wait_until(lambda: deployment.calls.of(event), what="the first call")
    heir = deployment.start_worker("gates", **LEASE)
    worker_name(heir)
    assert kill(deployment, victim, "gates") == [(event, "hold")]
    wait_until(lambda: len(deployment.calls.of(event)) == 2, 20, what="the second call")
    assert [call.pid for call in deployment.calls.of(event)] == [victim.pid, heir.pid]
    deployment.open_gate("held")
    deployment.wait_drained("gates")
    (run,) = deployment.client.get_event(event).runs
    assert (run.status, run.attempt, run.output) == ("succeeded", 1, heir.pid)
    wait_until(
        lambda: not deployment.redis.exists(deployment.keys.worker(name)), 20, what="the dead worker to be forgotten"
    )
    assert name not in deployment.workers()
    assert name not in deployment.consumers(deployment.queue("gates"), "workers")
    assert name not in deployment.consumers(deployment.keys.events, "dispatch")


def test_a_canceled_run_of_a_killed_worker_never_comes_back(deployment: Deployment) -> None:
    """The worker dies right after the cancellation; the leader's rescue finds no run of it, and frees its place."""
    victim = deployment.start_worker("gates", **LEASE)
    name = worker_name(victim)
    event = deployment.send("hold", "held")
    wait_until(lambda: deployment.calls.of(event), what="the first call")
    canceled = deployment.client.cancel_run(f"{event}:gates/hold")
    assert (kill(deployment, victim, "gates"), canceled.answer) == ([], "asked")
    worker_name(deployment.start_worker("gates", **LEASE))
    wait_until(lambda: not deployment.redis.exists(deployment.keys.worker(name)), 20, what="the rescue")
    deployment.open_gate("held")
    deployment.wait_drained("gates")
    (run,) = deployment.client.get_event(event).runs
    assert (run.status, run.lost, len(deployment.calls.of(event))) == ("canceled", 0, 1)
    assert not list(deployment.client.iter_dead_letters())
    assert deployment.redis.xpending(deployment.queue("gates"), "workers")["pending"] == 0


def test_a_poison_run_is_dead_lettered_alone(deployment: Deployment, processes: Processes) -> None:
    """Only the run that kills its process ends in `dead`; the runs beside it succeed."""
    innocents = deployment.send_many("innocent", 50)
    poison = deployment.send("poison")
    # A supervisor ends a dead child's lease at once, so no process waits for this long one.
    options = ("--processes", "2", "--lease", "600", "--max-lost", "3", "--log-format", "json")
    supervisor = processes.worker("tests.faults.poisoned:app", *options, env=deployment.environment())
    wait_until(
        lambda: {run.status for run in deployment.client.get_event(poison).runs} == {"failed"}, 60, what="its end"
    )
    deployment.wait_drained("poison")
    supervisor.terminate()
    assert supervisor.wait() == 0
    assert supervisor.output.count("worker process ended and is replaced") == 3
    (run,) = deployment.client.get_event(poison).runs
    assert (run.status, run.error and run.error.type) == ("failed", "LostWorker")
    assert [(entry.run_id, entry.reason) for entry in deployment.client.list_dead_letters().items] == [(run.id, "lost")]
    assert [call.attempt for call in deployment.calls.of(poison)] == [1, 1, 1]
    assert {deployment.statuses(event)["innocent"] for event in innocents} == {"succeeded"}
    assert max(len(deployment.calls.of(event)) for event in innocents) > 1, "no innocent run shared a process with it"


async def test_pending_entries_of_a_forgotten_name_come_back(deployment: Deployment) -> None:
    """A blocked read of a dead, forgotten worker can still complete later: its entries are executed."""
    async with deployment.working(deployment.app("gates"), **LEASE):
        pass  # the groups and routes are there
    queued = deployment.send("quick")
    async with deployment.working(App("other"), **LEASE):
        await await_until(
            lambda: deployment.redis.xlen(deployment.queue("gates")) == 1, what="a run that no worker fetches"
        )
    undispatched = deployment.send("quick")
    queue, events = (deployment.queue("gates"), "workers"), (deployment.keys.events, "dispatch")
    for stream, group in (queue, events):
        assert deployment.redis.xreadgroup(group, "forgotten", {stream: ">"})
    async with deployment.working(deployment.app("gates"), **LEASE):
        await deployment.drained("gates")
        await await_until(lambda: "forgotten" not in deployment.consumers(*queue), 20, what="it to be forgotten")
        await await_until(lambda: "forgotten" not in deployment.consumers(*events), 20, what="it to be forgotten")
    for event in (queued, undispatched):
        assert deployment.statuses(event) == {"quick": "succeeded"}


async def test_a_missing_group_stops_no_other_rescue(deployment: Deployment) -> None:
    """The leader gets its name first, finds no group, and rescues the next worker."""
    async with deployment.working(deployment.app("gates"), **LEASE):
        pass  # the groups and routes are there
    event = deployment.send("quick")
    async with deployment.working(App("other"), **LEASE):
        await await_until(
            lambda: deployment.redis.xlen(deployment.queue("gates")) == 1, what="a run that no worker fetches"
        )
    deployment.register_dead("worker-1", "flaky")
    deployment.register_dead("worker-2", "gates")
    deployment.redis.delete(deployment.queue("flaky"))
    deployment.redis.xreadgroup("workers", "worker-2", {deployment.queue("gates"): ">"})
    async with deployment.working(deployment.app("gates"), **LEASE):
        await deployment.drained("gates")
        await await_until(lambda: "worker-1" not in deployment.workers(), 20, what="the first one to be forgotten")
    assert deployment.statuses(event) == {"quick": "succeeded"}
