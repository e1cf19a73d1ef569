"""A worker that is asked to stop lets its runs end, and releases the rest with nothing counted."""

from __future__ import annotations

from typing import Any

from headrace.scripts import load
from tests.faults.deployment import Deployment, worker_name
from tests.support.proxy import Proxy
from tests.support.waiting import await_until, wait_until

SETTINGS: dict[str, Any] = {"block": 0.5, "concurrency": 10}
LONG_LEASE_S = 60.0
"""No rescue is needed: what comes back in time was released."""


def lives_lost(deployment: Deployment, event: str, job: str) -> int:
    """Return how many workers died with the run in flight, by its record."""
    field: bytes = deployment.redis.hget(deployment.keys.event(event), f"r:{job}")
    return int(field.split()[2])


def test_a_run_longer_than_the_grace_goes_to_another_worker_with_nothing_counted(deployment: Deployment) -> None:
    """The other worker calls it at once, at the same attempt and with no life lost; the stopped worker is forgotten."""
    stopping = deployment.start_worker("gates", **SETTINGS, lease=LONG_LEASE_S, grace=0.2)
    name = worker_name(stopping)
    event = deployment.send("hold", "held")
    wait_until(lambda: deployment.calls.of(event), what="the first call")
    heir = deployment.start_worker("gates", **SETTINGS, lease=LONG_LEASE_S)
    worker_name(heir)
    stopping.terminate()
    assert stopping.wait(30) == 0
    wait_until(lambda: len(deployment.calls.of(event)) == 2, 20, what="the second call")
    assert [(call.pid, call.attempt) for call in deployment.calls.of(event)] == [(stopping.pid, 1), (heir.pid, 1)]
    assert name not in deployment.workers()
    deployment.open_gate("held")
    deployment.wait_drained("gates")
    assert deployment.statuses(event) == {"hold": "succeeded"}
    assert lives_lost(deployment, event, "gates/hold") == 0


def test_a_drain_longer_than_the_lease_loses_nothing(deployment: Deployment) -> None:
    """The lease is renewed until the last run has ended, so the run stays; later events go to other workers."""
    lease_s = 1.0
    stopping = deployment.start_worker("gates", **SETTINGS, lease=lease_s)
    name = worker_name(stopping)
    event = deployment.send("hold", "held")
    wait_until(lambda: deployment.calls.of(event), what="the first call")
    heir = deployment.start_worker("gates", **SETTINGS, lease=lease_s)
    worker_name(heir)
    stopping.terminate()
    stopping.wait_for_line("worker stops")
    until = deployment.now_ms() + 1500 * lease_s
    wait_until(lambda: deployment.now_ms() > until, 30, what="more than a lease", interval=0.05)
    meanwhile = deployment.send("quick")
    wait_until(lambda: deployment.calls.of(meanwhile), 20, what="a run for the other worker")
    assert [call.pid for call in deployment.calls.of(meanwhile)] == [heir.pid]
    assert deployment.held_by(name, "gates") == [(event, "hold")]
    deployment.open_gate("held")
    assert stopping.wait(30) == 0
    (run,) = deployment.client.get_event(event).runs
    assert (run.status, run.output, run.worker) == ("succeeded", stopping.pid, name)
    assert len(deployment.calls.of(event)) == 1
    assert name not in deployment.workers()


async def test_a_lost_reply_on_the_way_out_costs_no_lease(deployment: Deployment, proxy: Proxy) -> None:
    """The stopping worker repeats its last call: its runs are released, and it is forgotten, at once."""
    settings = {**SETTINGS, "lease": LONG_LEASE_S, "grace": 0.0}
    async with deployment.working(deployment.app("gates"), url=proxy.url, **settings) as worker:
        name = worker.name
        event = deployment.send("hold", "held")
        await await_until(lambda: deployment.calls.of(event), what="the first call")
        cuts = [proxy.cut_after_request(load(verb).sha.encode()) for verb in ("release", "leave")]
    assert [cut.done for cut in cuts] == [1, 1]
    assert name not in deployment.workers()
    assert lives_lost(deployment, event, "gates/hold") == 0
    deployment.open_gate("held")
    async with deployment.working(deployment.app("gates"), **settings):
        await deployment.drained("gates")
    assert deployment.statuses(event) == {"hold": "succeeded"}
