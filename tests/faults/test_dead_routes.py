"""The workers of a version die: its subscriptions count until their leases are over, and no longer."""

from __future__ import annotations

from typing import Any

from headrace_worker import App, event_trigger
from tests.faults.scene import Scene, worker_name
from tests.support.waiting import await_until

_SETTINGS: dict[str, Any] = {"lease": 2.0, "block": 2.0}
"""A dead name is forgotten after the longest read and a lease, which is too late for its routes."""


def old_gates() -> App:
    """Returns a version whose job hears another event than that of the processes."""
    app = App("gates")

    @app.job(id="quick", trigger=event_trigger("quick.old"))
    async def quick() -> None:
        pass

    return app


def _reaches(scene: Scene, name: str) -> set[str]:
    event_id = scene.send(name)
    scene.wait_drained("gates")
    return set(scene.statuses(event_id))


async def test_a_dead_version_is_heard_no_more_once_it_is_fenced(scene: Scene) -> None:
    """What lives is heard then, at once, and not when the dead name is forgotten."""
    async with scene.working(old_gates(), **_SETTINGS):
        process = scene.start_worker("gates", **_SETTINGS)
        dead = worker_name(process)
        process.kill()
        await await_until(lambda: scene.is_fenced(dead), 30, what="the end of the dead worker's lease")
        event_id = scene.send("quick.old")
        await await_until(lambda: scene.redis.xlen(scene.keys.events) == 0, what="a dispatch")
        assert dead in scene.workers()
        assert set(scene.statuses(event_id)) == {"quick"}
        other = scene.send("quick")
        await await_until(lambda: scene.redis.xlen(scene.keys.events) == 0, what="a dispatch")
        assert scene.statuses(other) == {}


async def test_an_app_whose_workers_are_all_dead_is_heard_on(scene: Scene) -> None:
    """Events go on to wait for its jobs, while its workers are fenced, when they are forgotten, and after."""
    async with scene.working(App("other"), **_SETTINGS):
        process = scene.start_worker("gates", **_SETTINGS)
        dead = worker_name(process)
        process.kill()
        for what, is_so in (
            ("a fenced worker", lambda: scene.is_fenced(dead)),
            ("a forgotten worker", lambda: dead not in scene.workers()),
        ):
            await await_until(is_so, 30, what=what)
            event_id = scene.send("quick")
            await await_until(lambda: scene.redis.xlen(scene.keys.events) == 0, what="a dispatch")
            assert scene.statuses(event_id) == {"quick": "queued"}
    async with scene.working(scene.app("gates"), **_SETTINGS):
        await scene.drained("gates")
