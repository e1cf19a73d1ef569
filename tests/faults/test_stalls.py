"""An event loop, a worker or the server stands still and goes on: only a silent worker loses its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from headrace.scripts import load
from headrace_worker import Worker
from tests.faults.deployment import Deployment, worker_name
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.waiting import await_until, wait_until

LEASE_S = 1.0


def wait_leases(deployment: Deployment, leases: float) -> None:
    """Return when so many leases have passed by the server's clock."""
    until = deployment.now_ms() + leases * LEASE_S * 1000
    wait_until(lambda: deployment.now_ms() > until, 30, what=f"{leases:g} leases", interval=0.05)


def test_a_job_that_blocks_the_event_loop_keeps_its_runs_and_gives_up_the_rest(deployment: Deployment) -> None:
    """Another worker gets its undispatched events, its dispatcher slot and its leadership; its runs stay."""
    settings: dict[str, Any] = {"lease": LEASE_S, "block": 5.0, "concurrency": 10, "stall": 60.0}
    blocked = deployment.start_worker("gates", **settings)
    blocked_name = worker_name(blocked)
    held = deployment.send("hold", "never mind")
    wait_until(lambda: deployment.calls.of(held), what="the run that is held beside the blocking one")
    blocker = deployment.send("block", "blocked")
    wait_until(lambda: deployment.calls.of(blocker), what="the blocked event loop")
    unseen = deployment.send("quick")
    wait_until(
        lambda: deployment.undispatched(blocked_name),
        what="an event for the blocked worker's open read",
    )
    assert deployment.leader() == blocked_name

    other = deployment.start_worker("gates", **settings)
    wait_until(lambda: deployment.calls.of(unseen), 30, what="the event to be dispatched by the other worker")
    assert [call.pid for call in deployment.calls.of(unseen)] == [other.pid]
    wait_until(lambda: deployment.leader() == worker_name(other), what="the other worker to lead")
    see_a_delayed_event_through(deployment)
    wait_leases(deployment, 2)
    assert sorted(deployment.held_by(blocked_name, "gates")) == sorted([(held, "hold"), (blocker, "block")])

    deployment.open_gate("blocked")
    deployment.open_gate("never mind")
    deployment.wait_drained("gates")
    for event, job in ((held, "hold"), (blocker, "block")):
        assert [call.pid for call in deployment.calls.of(event)] == [blocked.pid]
        (run,) = deployment.client.get_event(event).runs
        assert (run.job, run.status, run.output, run.worker) == (
            f"gates/{job}", "succeeded", blocked.pid, blocked_name,
        )  # fmt: skip
    assert not deployment.is_fenced(blocked_name)


def see_a_delayed_event_through(deployment: Deployment) -> None:
    event = deployment.send("quick", deliver_after=0.2)
    wait_until(lambda: deployment.calls.of(event), 30, what="a delayed event to be promoted by the new leader")


def test_a_stopped_worker_loses_its_runs_and_later_deliveries(deployment: Deployment, proxy: Proxy) -> None:
    """Another worker executes both. When the stopped worker goes on, it drops its outcome and takes a new name."""
    settings: dict[str, Any] = {"lease": LEASE_S, "block": 1.0, "grace": 0.0}
    stopped = deployment.start_worker("gates", url=proxy.url, **settings, concurrency=10)
    stopped_name = worker_name(stopped)
    held = deployment.send("hold", "held")
    wait_until(lambda: deployment.calls.of(held), what="the first call")
    stopped.pause()

    heir = deployment.start_worker("gates", **settings, concurrency=1)
    wait_until(lambda: len(deployment.calls.of(held)) == 2, 30, what="the second call")
    assert deployment.is_fenced(stopped_name)
    late = hand_a_run_to(deployment, stopped_name)
    deployment.open_gate("held")
    wait_until(lambda: deployment.calls.of(late), 30, what="the run that was delivered to a fenced worker")
    deployment.wait_drained("gates")
    assert [call.pid for call in deployment.calls.of(late)] == [heir.pid]
    before = deployment.client.get_event(held)
    assert [(run.status, run.output) for run in before.runs] == [("succeeded", heir.pid)]

    left = leave_a_run_behind(deployment, heir, stopped_name)
    proxy.cut_before_request(load("renew").sha.encode())  # it has time to read before it hears of its death
    stopped.resume()
    stopped.wait_for_line("worker goes on under a new name", 30)
    deployment.open_gate("left")
    deployment.wait_drained("gates")
    assert [call.pid for call in deployment.calls.of(left)] == [heir.pid, stopped.pid]
    assert deployment.client.get_event(held) == before


def hand_a_run_to(deployment: Deployment, stopped_name: str) -> str:
    """Send an event whose run the server delivers to the stopped worker, as no other worker has a free slot."""
    event = deployment.send("quick")
    wait_until(lambda: deployment.redis.xlen(deployment.queue("gates")) == 2, what="the second run")
    if not deployment.held_by(stopped_name, "gates"):  # its read is no longer open: we do what the server did for it
        deployment.redis.xreadgroup("workers", stopped_name, {deployment.queue("gates"): ">"})
    assert deployment.held_by(stopped_name, "gates") == [(event, "quick")]
    return event


def leave_a_run_behind(deployment: Deployment, heir: Process, stopped_name: str) -> str:
    """Stop the second worker once the first one is forgotten; it releases a run that no worker is there to take."""
    wait_until(lambda: not deployment.redis.exists(deployment.keys.worker(stopped_name)), 30, what="it to be forgotten")
    event = deployment.send("hold", "left")
    wait_until(lambda: deployment.calls.of(event), what="the heir's call")
    heir.terminate()
    assert heir.wait() == 0
    assert deployment.redis.xpending(deployment.queue("gates"), "workers")["pending"] == 0
    return event


@pytest.mark.parametrize(("lease_s", "leases"), [(3.0, 1.2), pytest.param(5.0, 2.2, marks=pytest.mark.slow)])
async def test_a_server_stopped_for_longer_than_a_lease_costs_no_living_worker_its_runs(
    make_deployment: Callable[..., Deployment], lease_s: float, leases: float
) -> None:
    """All leases have expired when it goes on. One worker comes back later than the other, and is not rescued."""
    deployment = make_deployment()
    settings: dict[str, Any] = {"lease": lease_s, "block": 0.5, "concurrency": 3}
    with Proxy(deployment.url) as slow_line, capture_logs() as lines:
        async with (
            deployment.working(deployment.app("gates"), **settings) as prompt,
            deployment.working(deployment.app("gates"), url=slow_line.url, **settings) as late,
        ):
            names = (prompt.name, late.name)
            events = [deployment.send("hold", "held") for _ in range(6)]
            await await_until(lambda: deployment.calls.count() == 6, what="six runs in flight in two workers")
            slow_line.drop_all()
            deployment.server.pause()
            await asyncio.sleep(leases * lease_s)
            deployment.server.resume()
            await await_until(
                lambda: "lease is renewed again" in events_of(lines), 30, what="an answer to the prompt one"
            )
            assert not holds_lease(deployment, late)
            await deployment.passed(0.2)  # long enough for a rescue, if there were one
            assert not deployment.is_fenced(names[1])
            slow_line.restore()
            await await_until(lambda: holds_lease(deployment, late), 30, what="the late one's renewal")
            deployment.open_gate("held")
            await deployment.drained("gates")
            assert (prompt.name, late.name) == names
    assert set(deployment.calls.counts().values()) == {1}
    assert {deployment.statuses(event)["hold"] for event in events} == {"succeeded"}


def events_of(lines: Sequence[MutableMapping[str, Any]]) -> list[str]:
    """Return the messages of the log lines, without their values."""
    return [str(line["event"]) for line in lines]


def holds_lease(deployment: Deployment, worker: Worker) -> bool:
    end_ms = deployment.redis.zscore(deployment.keys.workers, worker.name)
    return end_ms is not None and end_ms > deployment.now_ms()
