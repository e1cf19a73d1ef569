"""Two versions of an app side by side, in any order of starts: which jobs an event reaches."""

from __future__ import annotations

from typing import Any

from headrace_worker import App, Context, event_trigger
from tests.faults.deployment import Deployment
from tests.support.waiting import await_until

SETTINGS: dict[str, Any] = {"lease": 5.0, "block": 0.2}


def shop(deployment: Deployment, **jobs: str) -> App:
    """Return a version of the app `shop` with these jobs, each with its event's name and a queue of its own."""
    app = App("shop")
    for name, heard in jobs.items():
        _add(app, deployment, name, heard)
    return app


def _add(app: App, deployment: Deployment, name: str, heard: str) -> None:
    @app.job(id=name, trigger=event_trigger(heard), queue=name)
    async def job(ctx: Context) -> None:
        deployment.calls.add(ctx.event.id, name, ctx.run.attempt)


def old_version(deployment: Deployment) -> App:
    return shop(deployment, kept="order", dropped="order", moved="order")


def new_version(deployment: Deployment) -> App:
    return shop(deployment, kept="order", added="order", moved="order.moved")


async def jobs_reached(deployment: Deployment, name: str) -> set[str]:
    """Send an event, and return the jobs that have a run of it once it is dispatched."""
    event = deployment.send(name)
    await await_until(lambda: deployment.redis.xlen(deployment.keys.events) == 0, what="the event to be dispatched")
    return set(deployment.statuses(event))


async def settled(deployment: Deployment) -> None:
    """Every run has settled, and was called once."""
    await deployment.drained("shop", "kept", "dropped", "moved", "added")
    assert set(deployment.calls.counts().values()) == {1}


async def test_the_old_version_restarted_last_takes_no_event_from_the_new_one(deployment: Deployment) -> None:
    """The newest live version decides where a job's events go; a job that it lacks stays with its older version."""
    async with deployment.working(old_version(deployment), **SETTINGS):
        assert await jobs_reached(deployment, "order") == {"kept", "dropped", "moved"}
        async with deployment.working(new_version(deployment), **SETTINGS):
            assert await jobs_reached(deployment, "order") == {"kept", "dropped", "added"}
            await settled(deployment)
    async with deployment.working(new_version(deployment), **SETTINGS):
        async with deployment.working(old_version(deployment), **SETTINGS):
            assert await jobs_reached(deployment, "order") == {"kept", "dropped", "added"}
            assert await jobs_reached(deployment, "order.moved") == {"moved"}
            await settled(deployment)
        assert await jobs_reached(deployment, "order") == {"kept", "added"}
        await settled(deployment)


async def test_the_last_versions_jobs_stay_when_no_worker_lives(deployment: Deployment) -> None:
    """Events that are dispatched while an app has no worker at all wait for its next one."""
    async with (
        deployment.working(new_version(deployment), **SETTINGS),
        deployment.working(old_version(deployment), **SETTINGS),
    ):
        pass  # the old one leaves first
    async with deployment.working(App("other"), **SETTINGS, queues=("default",)):
        assert await jobs_reached(deployment, "order") == {"kept", "added"}
    assert not deployment.calls.read()
    async with deployment.working(new_version(deployment), **SETTINGS):
        await settled(deployment)
