"""Two versions of an app side by side, in any order of starts: which jobs an event reaches."""

from __future__ import annotations

from typing import Any

from headrace_worker import App, Context, event_trigger
from tests.faults.scene import Scene
from tests.support.waiting import await_until

SETTINGS: dict[str, Any] = {"lease": 5.0, "block": 0.2}


def shop(scene: Scene, **jobs: str) -> App:
    """Returns a version of the app `shop`, with the name of the event that each job hears. Each job has its queue."""
    app = App("shop")
    for name, heard in jobs.items():
        _add(app, scene, name, heard)
    return app


def _add(app: App, scene: Scene, name: str, heard: str) -> None:
    @app.job(id=name, trigger=event_trigger(heard), queue=name)
    async def job(ctx: Context) -> None:
        scene.calls.add(ctx.event.id, name, ctx.run.attempt)


def old_version(scene: Scene) -> App:
    return shop(scene, kept="order", dropped="order", moved="order")


def new_version(scene: Scene) -> App:
    return shop(scene, kept="order", added="order", moved="order.moved")


async def jobs_reached(scene: Scene, name: str) -> set[str]:
    """Sends an event, and returns the jobs that have a run of it once it is dispatched."""
    event = scene.send(name)
    await await_until(lambda: scene.redis.xlen(scene.keys.events) == 0, what="the event to be dispatched")
    return set(scene.statuses(event))


async def settled(scene: Scene) -> None:
    """Every run has settled, and was called once."""
    await scene.drained("shop", "kept", "dropped", "moved", "added")
    assert set(scene.calls.counts().values()) == {1}


async def test_the_old_version_restarted_last_takes_no_event_from_the_new_one(scene: Scene) -> None:
    """Each job's events go where the newest living version says; what only an older one has stays while it lives."""
    async with scene.working(old_version(scene), **SETTINGS):
        assert await jobs_reached(scene, "order") == {"kept", "dropped", "moved"}
        async with scene.working(new_version(scene), **SETTINGS):
            assert await jobs_reached(scene, "order") == {"kept", "dropped", "added"}
            await settled(scene)
    async with scene.working(new_version(scene), **SETTINGS):
        async with scene.working(old_version(scene), **SETTINGS):
            assert await jobs_reached(scene, "order") == {"kept", "dropped", "added"}
            assert await jobs_reached(scene, "order.moved") == {"moved"}
            await settled(scene)
        assert await jobs_reached(scene, "order") == {"kept", "added"}
        await settled(scene)


async def test_the_last_versions_jobs_stay_when_no_worker_lives(scene: Scene) -> None:
    """Events that are dispatched while an app has no worker at all wait for its next one."""
    async with scene.working(new_version(scene), **SETTINGS), scene.working(old_version(scene), **SETTINGS):
        pass  # the old one leaves first
    async with scene.working(App("other"), **SETTINGS, queues=("default",)):
        assert await jobs_reached(scene, "order") == {"kept", "added"}
    assert not scene.calls.read()
    async with scene.working(new_version(scene), **SETTINGS):
        await settled(scene)
