"""Worker processes die by kill -9, and what was in their hands comes back: nothing is lost, nothing buried too."""

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
    """Kills a worker, and returns the (event, job) of each run that was in its hands then."""
    name = worker_name(process)
    process.kill()
    return deployment.held_by(name, app)


def wait_for_calls_or_drain(deployment: Deployment, calls: int) -> None:
    wait_until(lambda: deployment.calls.count() >= calls or not deployment.open_work("load"), 60, what=f"{calls} calls")


@pytest.mark.parametrize("events", [2000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_worker_killed_again_and_again_loses_nothing_and_repeats_only_what_it_held(
    deployment: Deployment, events: int
) -> None:
    """Every run succeeds, and none is called more often than once and once more for each killed worker that held it."""
    ids = deployment.send_many("load", events)
    in_killed_hands: Counter[tuple[str, str]] = Counter()
    settings = {**LEASE, "lease": 1.5, "concurrency": 300, "max_lost": 1000}
    living = [deployment.start_worker("load", **settings), deployment.start_worker("load", **settings)]
    kills = 0
    while deployment.open_work("load"):
        victim = living.pop(0)
        worker_name(victim)
        wait_for_calls_or_drain(deployment, deployment.calls.count() + 700)
        in_killed_hands.update(kill(deployment, victim, "load"))
        kills += 1
        living.append(deployment.start_worker("load", **settings))
    assert kills >= 3
    assert in_killed_hands, "no kill found a run in its worker's hands: the load was too light to show anything"
    counts = deployment.calls.counts()
    assert counts.keys() == {(event, job) for event in ids for job in "abc"}
    without_cause = {run: count for run, count in counts.items() if count > 1 + in_killed_hands[run]}
    assert not without_cause
    for record in deployment.records(ids):
        assert [run.status for run in record.runs] == ["succeeded"] * 3
        assert record.is_settled


def test_a_killed_workers_runs_come_back_on_an_idle_stream(deployment: Deployment) -> None:
    """Nothing new has to arrive: its runs, and events that it had read, go to the living when its lease has ended."""
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


def test_a_poison_run_buries_only_itself(deployment: Deployment, processes: Processes) -> None:
    """Of runs that shared a process with one that kills it, that one alone ends in `dead`; the others succeed."""
    innocents = deployment.send_many("innocent", 50)
    poison = deployment.send("poison")
    # A supervisor ends a dead child's lease at once, so this long one is waited for by nobody.
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
    assert [(entry.run_id, entry.reason) for entry in deployment.client.list_dead_letters().entries] == [
        (run.id, "lost")
    ]
    assert [call.attempt for call in deployment.calls.of(poison)] == [1, 1, 1]
    assert {deployment.statuses(event)["innocent"] for event in innocents} == {"succeeded"}
    assert max(len(deployment.calls.of(event)) for event in innocents) > 1, "no innocent run shared a process with it"


async def test_what_is_in_hands_that_nobody_knows_comes_back(deployment: Deployment) -> None:
    """A read of a worker that is dead and forgotten may still be carried out: its entries are executed all the same."""
    async with deployment.working(deployment.app("gates"), **LEASE):
        pass  # the groups and routes are there
    queued = deployment.send("quick")
    async with deployment.working(App("other"), **LEASE):
        await await_until(
            lambda: deployment.redis.xlen(deployment.queue("gates")) == 1, what="a run that nobody fetches"
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


async def test_a_dead_worker_whose_group_is_gone_keeps_nobody_from_being_rescued(deployment: Deployment) -> None:
    """The leader is told of it first, finds no group, and goes on to the next."""
    async with deployment.working(deployment.app("gates"), **LEASE):
        pass  # the groups and routes are there
    event = deployment.send("quick")
    async with deployment.working(App("other"), **LEASE):
        await await_until(
            lambda: deployment.redis.xlen(deployment.queue("gates")) == 1, what="a run that nobody fetches"
        )
    deployment.register_dead("worker-1", "flaky")
    deployment.register_dead("worker-2", "gates")
    deployment.redis.delete(deployment.queue("flaky"))
    deployment.redis.xreadgroup("workers", "worker-2", {deployment.queue("gates"): ">"})
    async with deployment.working(deployment.app("gates"), **LEASE):
        await deployment.drained("gates")
        await await_until(lambda: "worker-1" not in deployment.workers(), 20, what="the first one to be forgotten")
    assert deployment.statuses(event) == {"quick": "succeeded"}
