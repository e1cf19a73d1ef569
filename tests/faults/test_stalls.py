"""An event loop, a whole worker or the server stands still and goes on: only a silent worker loses its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from headrace.scripts import load
from headrace_worker import Worker
from tests.faults.scene import Scene, worker_name
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.waiting import await_until, wait_until

LEASE_S = 1.0


def wait_leases(scene: Scene, leases: float) -> None:
    """Returns when so many leases have passed by the server's clock."""
    until = scene.now_ms() + leases * LEASE_S * 1000
    wait_until(lambda: scene.now_ms() > until, 30, what=f"{leases:g} leases", interval=0.05)


def test_a_job_that_blocks_the_event_loop_keeps_its_runs_and_gives_up_the_rest(scene: Scene) -> None:
    """Events that its worker had read, its dispatcher slot and its leadership go to another worker; its runs stay."""
    settings: dict[str, Any] = {"lease": LEASE_S, "block": 5.0, "concurrency": 10}
    blocked = scene.start_worker("gates", **settings)
    blocked_name = worker_name(blocked)
    held = scene.send("hold", "never mind")
    wait_until(lambda: scene.calls.of(held), what="the run that is held beside the blocking one")
    blocker = scene.send("block", "blocked")
    wait_until(lambda: scene.calls.of(blocker), what="the blocked event loop")
    unseen = scene.send("quick")
    wait_until(
        lambda: scene.undispatched(blocked_name),
        what="an event that the blocked worker's open read was handed",
    )
    assert scene.leader() == blocked_name

    other = scene.start_worker("gates", **settings)
    wait_until(lambda: scene.calls.of(unseen), 30, what="the event to be dispatched by the other worker")
    assert [call.pid for call in scene.calls.of(unseen)] == [other.pid]
    wait_until(lambda: scene.leader() == worker_name(other), what="the other worker to lead")
    see_a_delayed_event_through(scene)
    wait_leases(scene, 2)
    assert sorted(scene.held_by(blocked_name, "gates")) == sorted([(held, "hold"), (blocker, "block")])

    scene.open_gate("blocked")
    scene.open_gate("never mind")
    scene.wait_drained("gates")
    for event, job in ((held, "hold"), (blocker, "block")):
        assert [call.pid for call in scene.calls.of(event)] == [blocked.pid]
        (run,) = scene.client.get_event(event).runs
        assert (run.job, run.status, run.output, run.worker) == (
            f"gates/{job}", "succeeded", blocked.pid, blocked_name,
        )  # fmt: skip
    assert not scene.is_fenced(blocked_name)


def see_a_delayed_event_through(scene: Scene) -> None:
    event = scene.send("quick", deliver_after=0.2)
    wait_until(lambda: scene.calls.of(event), 30, what="a delayed event to be promoted by the new leader")


def test_a_stopped_worker_loses_its_runs_and_what_its_open_read_is_handed_later(scene: Scene, proxy: Proxy) -> None:
    """Another worker executes both; when the stopped one goes on, it drops its outcome and takes a new name."""
    settings: dict[str, Any] = {"lease": LEASE_S, "block": 1.0, "grace": 0.0}
    stopped = scene.start_worker("gates", url=proxy.url, **settings, concurrency=10)
    stopped_name = worker_name(stopped)
    held = scene.send("hold", "held")
    wait_until(lambda: scene.calls.of(held), what="the first call")
    stopped.pause()

    heir = scene.start_worker("gates", **settings, concurrency=1)
    wait_until(lambda: len(scene.calls.of(held)) == 2, 30, what="the second call")
    assert scene.is_fenced(stopped_name)
    late = hand_a_run_to(scene, stopped_name)
    scene.open_gate("held")
    wait_until(lambda: scene.calls.of(late), 30, what="the run that was handed to a fenced worker")
    scene.wait_drained("gates")
    assert [call.pid for call in scene.calls.of(late)] == [heir.pid]
    before = scene.client.get_event(held)
    assert [(run.status, run.output) for run in before.runs] == [("succeeded", heir.pid)]

    left = leave_a_run_behind(scene, heir, stopped_name)
    proxy.cut_before_request(load("renew").sha.encode())  # it has time to read before it hears of its death
    stopped.resume()
    stopped.wait_for_line("worker goes on under a new name", 30)
    scene.open_gate("left")
    scene.wait_drained("gates")
    assert [call.pid for call in scene.calls.of(left)] == [heir.pid, stopped.pid]
    assert scene.client.get_event(held) == before


def hand_a_run_to(scene: Scene, stopped_name: str) -> str:
    """Sends an event whose run goes into the hands of the stopped worker, as nobody else has a free slot."""
    event = scene.send("quick")
    wait_until(lambda: scene.redis.xlen(scene.queue("gates")) == 2, what="the second run")
    if not scene.held_by(stopped_name, "gates"):  # its read is no longer open: we do what the server did for it
        scene.redis.xreadgroup("workers", stopped_name, {scene.queue("gates"): ">"})
    assert scene.held_by(stopped_name, "gates") == [(event, "quick")]
    return event


def leave_a_run_behind(scene: Scene, heir: Process, stopped_name: str) -> str:
    """Once the stopped worker is forgotten, its heir stops too, and gives back a run that nobody is there to take."""
    wait_until(lambda: not scene.redis.exists(scene.keys.worker(stopped_name)), 30, what="it to be forgotten")
    event = scene.send("hold", "left")
    wait_until(lambda: scene.calls.of(event), what="the heir's call")
    heir.terminate()
    assert heir.wait() == 0
    assert scene.redis.xpending(scene.queue("gates"), "workers")["pending"] == 0
    return event


@pytest.mark.parametrize(("lease_s", "leases"), [(3.0, 1.2), pytest.param(5.0, 2.2, marks=pytest.mark.slow)])
async def test_a_server_stopped_for_longer_than_a_lease_costs_no_living_worker_its_runs(
    make_scene: Callable[..., Scene], lease_s: float, leases: float
) -> None:
    """All leases have run out when it goes on, and one worker comes back later than the other: it is not rescued."""
    scene = make_scene()
    settings: dict[str, Any] = {"lease": lease_s, "block": 0.5, "concurrency": 3}
    with Proxy(scene.url) as slow_line, capture_logs() as lines:
        async with (
            scene.working(scene.app("gates"), **settings) as prompt,
            scene.working(scene.app("gates"), url=slow_line.url, **settings) as late,
        ):
            names = (prompt.name, late.name)
            events = [scene.send("hold", "held") for _ in range(6)]
            await await_until(lambda: scene.calls.count() == 6, what="six runs in two workers' hands")
            slow_line.drop_all()
            scene.server.pause()
            await asyncio.sleep(leases * lease_s)
            scene.server.resume()
            await await_until(
                lambda: "lease is renewed again" in events_of(lines), 30, what="an answer to the prompt one"
            )
            assert not holds_lease(scene, late)
            await scene.passed(0.2)  # long enough for a rescue, if there were one
            assert not scene.is_fenced(names[1])
            slow_line.restore()
            await await_until(lambda: holds_lease(scene, late), 30, what="the late one's renewal")
            scene.open_gate("held")
            await scene.drained("gates")
            assert (prompt.name, late.name) == names
    assert set(scene.calls.counts().values()) == {1}
    assert {scene.statuses(event)["hold"] for event in events} == {"succeeded"}


def events_of(lines: Sequence[MutableMapping[str, Any]]) -> list[str]:
    """Returns what the log lines say, without their values."""
    return [str(line["event"]) for line in lines]


def holds_lease(scene: Scene, worker: Worker) -> bool:
    end_ms = scene.redis.zscore(scene.keys.workers, worker.name)
    return end_ms is not None and end_ms > scene.now_ms()
