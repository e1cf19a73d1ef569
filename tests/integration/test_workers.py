"""A worker in a program of its owner runs once, and says why it does not start, settle or go on."""

from __future__ import annotations

import asyncio

import pytest
import redis as redis_py

from headrace import Client, ConfigurationError, Event, ServerUnreachable
from headrace_worker import App, RetryAfter, Worker, event_trigger
from headrace_worker.errors import WorkerFailed
from headrace_worker.testing import NotSettled
from tests.support.queues import queues_app
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


async def test_what_has_not_settled_in_time_is_named(host: WorkerHost, client: Client) -> None:
    """The error says where it is and how much; in-flight runs are released, so that the call returns."""
    app = App("app")

    @app.job(id="stuck", trigger=event_trigger("stuck"), queue="slow")
    async def stuck() -> None:
        await asyncio.sleep(600)

    @app.job(id="waits", trigger=event_trigger("waits"))
    async def waits() -> None:
        raise RetryAfter(600)

    client.send_events([Event("stuck"), Event("stuck"), Event("waits")])
    with pytest.raises(NotSettled) as caught:
        await host.settle(app, timeout=0.5, grace=600)
    assert str(caught.value) == "not settled after 0.5 s: 2 runs in queue app/slow, 1 delayed or waiting"


async def test_a_worker_that_cant_start_says_so(host: WorkerHost) -> None:
    """And not that nothing was left to do."""
    with pytest.raises(ServerUnreachable):
        await WorkerHost("unix:///nowhere.sock", host.namespace).settle(App("app"))
    with pytest.raises(ConfigurationError):
        await WorkerHost("nowhere", host.namespace).settle(App("app"))
    with pytest.raises(ConfigurationError):
        Worker(App("app"), host.url, namespace="no name")


async def test_a_worker_runs_once(host: WorkerHost) -> None:
    """A second run is refused, with what to do; it must not end at once as if it had been stopped."""
    worker = host.make(queues_app([], "a"))
    async with host.running(worker):
        pass
    with pytest.raises(ConfigurationError, match="make another Worker"):
        await worker.run()


async def test_an_embedded_worker_raises_when_a_part_has_ended(host: WorkerHost, redis: redis_py.Redis) -> None:
    """The program goes on: it gets an error that names the part, and the lease has ended by then."""
    worker = host.make(queues_app([], "a"))
    running = asyncio.ensure_future(worker.run())
    await await_until(lambda: worker._running is not None)
    worker._members[0].guard.break_off("settler")
    with pytest.raises(WorkerFailed, match="settler has ended"):
        await asyncio.wait_for(running, 30)
    assert redis.zcard(worker._members[0].setup.keys.workers) == 0
