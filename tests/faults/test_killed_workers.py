"""Worker processes die by kill -9, and what was in their hands comes back: nothing is lost, nothing buried too."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from headrace_worker import App
from tests.faults.scene import Scene, worker_name
from tests.support.processes import Process, Processes
from tests.support.waiting import await_until, wait_until

LEASE: dict[str, Any] = {"lease": 1.0, "block": 0.5}


def kill(scene: Scene, process: Process, app: str) -> list[tuple[str, str]]:
    """Kills a worker, and returns the (event, job) of each run that was in its hands then."""
    name = worker_name(process)
    process.kill()
    return scene.held_by(name, app)


def wait_for_calls_or_drain(scene: Scene, calls: int) -> None:
    wait_until(lambda: scene.calls.count() >= calls or not scene.open_work("load"), 60, what=f"{calls} calls")


@pytest.mark.parametrize("events", [2000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_worker_killed_again_and_again_loses_nothing_and_repeats_only_what_it_held(scene: Scene, events: int) -> None:
    """Every run succeeds, and none is called more often than once and once more for each killed worker that held it."""
    ids = scene.send_many("load", events)
    in_killed_hands: Counter[tuple[str, str]] = Counter()
    settings = {**LEASE, "lease": 1.5, "concurrency": 300, "max_lost": 1000}
    living = [scene.start_worker("load", **settings), scene.start_worker("load", **settings)]
    kills = 0
    while scene.open_work("load"):
        victim = living.pop(0)
        worker_name(victim)
        wait_for_calls_or_drain(scene, scene.calls.count() + 700)
        in_killed_hands.update(kill(scene, victim, "load"))
        kills += 1
        living.append(scene.start_worker("load", **settings))
    assert kills >= 3
    assert in_killed_hands, "no kill found a run in its worker's hands: the load was too light to show anything"
    counts = scene.calls.counts()
    assert counts.keys() == {(event, job) for event in ids for job in "abc"}
    without_cause = {run: count for run, count in counts.items() if count > 1 + in_killed_hands[run]}
    assert not without_cause
    for record in scene.records(ids):
        assert [run.status for run in record.runs] == ["succeeded"] * 3
        assert record.is_settled


def test_a_killed_workers_runs_come_back_on_an_idle_stream(scene: Scene) -> None:
    """Nothing new has to arrive: its runs, and events that it had read, go to the living when its lease has ended."""
    victim = scene.start_worker("gates", **LEASE)
    name = worker_name(victim)
    event = scene.send("hold", "held")
    wait_until(lambda: scene.calls.of(event), what="the first call")
    heir = scene.start_worker("gates", **LEASE)
    worker_name(heir)
    assert kill(scene, victim, "gates") == [(event, "hold")]
    wait_until(lambda: len(scene.calls.of(event)) == 2, 20, what="the second call")
    assert [call.pid for call in scene.calls.of(event)] == [victim.pid, heir.pid]
    scene.open_gate("held")
    scene.wait_drained("gates")
    (run,) = scene.client.get_event(event).runs
    assert (run.status, run.attempt, run.output) == ("succeeded", 1, heir.pid)
    wait_until(lambda: not scene.redis.exists(scene.keys.worker(name)), 20, what="the dead worker to be forgotten")
    assert name not in scene.workers()
    assert name not in scene.consumers(scene.queue("gates"), "workers")
    assert name not in scene.consumers(scene.keys.events, "dispatch")


def test_a_poison_run_buries_only_itself(scene: Scene, processes: Processes) -> None:
    """Of runs that shared a process with one that kills it, that one alone ends in `dead`; the others succeed."""
    innocents = scene.send_many("innocent", 50)
    poison = scene.send("poison")
    # A supervisor ends a dead child's lease at once, so this long one is waited for by nobody.
    options = ("--processes", "2", "--lease", "600", "--max-lost", "3", "--log-format", "json")
    supervisor = processes.worker("tests.faults.poisoned:app", *options, env=scene.environment())
    wait_until(lambda: {run.status for run in scene.client.get_event(poison).runs} == {"failed"}, 60, what="its end")
    scene.wait_drained("poison")
    supervisor.terminate()
    assert supervisor.wait() == 0
    assert supervisor.output.count("worker process ended and is replaced") == 3
    (run,) = scene.client.get_event(poison).runs
    assert (run.status, run.error and run.error.type) == ("failed", "LostWorker")
    assert [(entry.run_id, entry.reason) for entry in scene.client.list_dead_letters().entries] == [(run.id, "lost")]
    assert [call.attempt for call in scene.calls.of(poison)] == [1, 1, 1]
    assert {scene.statuses(event)["innocent"] for event in innocents} == {"succeeded"}
    assert max(len(scene.calls.of(event)) for event in innocents) > 1, "no innocent run shared a process with it"


async def test_what_is_in_hands_that_nobody_knows_comes_back(scene: Scene) -> None:
    """A read of a worker that is dead and forgotten may still be carried out: its entries are executed all the same."""
    async with scene.working(scene.app("gates"), **LEASE):
        pass  # the groups and routes are there
    queued = scene.send("quick")
    async with scene.working(App("other"), **LEASE):
        await await_until(lambda: scene.redis.xlen(scene.queue("gates")) == 1, what="a run that nobody fetches")
    undispatched = scene.send("quick")
    queue, events = (scene.queue("gates"), "workers"), (scene.keys.events, "dispatch")
    for stream, group in (queue, events):
        assert scene.redis.xreadgroup(group, "forgotten", {stream: ">"})
    async with scene.working(scene.app("gates"), **LEASE):
        await scene.drained("gates")
        await await_until(lambda: "forgotten" not in scene.consumers(*queue), 20, what="it to be forgotten")
        await await_until(lambda: "forgotten" not in scene.consumers(*events), 20, what="it to be forgotten")
    for event in (queued, undispatched):
        assert scene.statuses(event) == {"quick": "succeeded"}


async def test_a_dead_worker_whose_group_is_gone_keeps_nobody_from_being_rescued(scene: Scene) -> None:
    """The leader is told of it first, finds no group, and goes on to the next."""
    async with scene.working(scene.app("gates"), **LEASE):
        pass  # the groups and routes are there
    event = scene.send("quick")
    async with scene.working(App("other"), **LEASE):
        await await_until(lambda: scene.redis.xlen(scene.queue("gates")) == 1, what="a run that nobody fetches")
    scene.register_dead("worker-1", "flaky")
    scene.register_dead("worker-2", "gates")
    scene.redis.delete(scene.queue("flaky"))
    scene.redis.xreadgroup("workers", "worker-2", {scene.queue("gates"): ">"})
    async with scene.working(scene.app("gates"), **LEASE):
        await scene.drained("gates")
        await await_until(lambda: "worker-1" not in scene.workers(), 20, what="the first one to be forgotten")
    assert scene.statuses(event) == {"quick": "succeeded"}
