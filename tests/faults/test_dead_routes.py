"""The workers of a version die; its subscriptions count until their leases have expired, and no longer."""

from __future__ import annotations

from typing import Any

from headrace_worker import App, event_trigger
from tests.faults.deployment import Deployment, worker_name
from tests.support.waiting import await_until

_SETTINGS: dict[str, Any] = {"lease": 2.0, "block": 2.0}
"""A dead name is forgotten after the longest read and a lease, which is too late for its routes."""


def old_gates() -> App:
    """Return a version whose job has another event than that of the processes."""
    app = App("gates")

    @app.job(id="quick", trigger=event_trigger("quick.old"))
    async def quick() -> None:
        pass

    return app


def _reaches(deployment: Deployment, name: str) -> set[str]:
    event_id = deployment.send(name)
    deployment.wait_drained("gates")
    return set(deployment.statuses(event_id))


async def test_subscriptions_of_a_dead_version_end_with_its_fencing(deployment: Deployment) -> None:
    """The subscriptions of live workers count at once, not only when the dead name is forgotten."""
    async with deployment.working(old_gates(), **_SETTINGS):
        process = deployment.start_worker("gates", **_SETTINGS)
        dead = worker_name(process)
        process.kill()
        await await_until(lambda: deployment.is_fenced(dead), 30, what="the end of the dead worker's lease")
        event_id = deployment.send("quick.old")
        await await_until(lambda: deployment.redis.xlen(deployment.keys.events) == 0, what="a dispatch")
        assert dead in deployment.workers()
        assert set(deployment.statuses(event_id)) == {"quick"}
        other = deployment.send("quick")
        await await_until(lambda: deployment.redis.xlen(deployment.keys.events) == 0, what="a dispatch")
        assert deployment.statuses(other) == {}


async def test_subscriptions_of_an_app_without_live_workers_stay(deployment: Deployment) -> None:
    """Events are dispatched to its jobs while its workers are fenced, when they are forgotten, and after that."""
    async with deployment.working(App("other"), **_SETTINGS):
        process = deployment.start_worker("gates", **_SETTINGS)
        dead = worker_name(process)
        process.kill()
        for what, is_so in (
            ("a fenced worker", lambda: deployment.is_fenced(dead)),
            ("a forgotten worker", lambda: dead not in deployment.workers()),
        ):
            await await_until(is_so, 30, what=what)
            event_id = deployment.send("quick")
            await await_until(lambda: deployment.redis.xlen(deployment.keys.events) == 0, what="a dispatch")
            assert deployment.statuses(event_id) == {"quick": "queued"}
    async with deployment.working(deployment.app("gates"), **_SETTINGS):
        await deployment.drained("gates")
