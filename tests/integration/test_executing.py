"""A worker executes as many runs as it has slots, each with its whole payload."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import redis as redis_py
from structlog.testing import capture_logs

from headrace import Client, Event
from headrace_worker import App, Context, event_trigger
from tests.support.single_run import SOON, TRIGGER
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

# Bodies.


@pytest.mark.parametrize("size", [8_000, 9_000, 1_048_000])
async def test_a_large_payload_reaches_every_job_whole(
    host: WorkerHost, client: Client, redis: redis_py.Redis, size: int
) -> None:
    """Large ones are stored once, in the record; a retry and a replay get them as well."""
    app, seen = App("app"), []
    payload = "x" * size
    for job_id in ("first", "second", "third"):

        @app.job(id=job_id, trigger=event_trigger("asked", filter={}), retry=SOON)
        async def job(payload: str, ctx: Context) -> None:
            seen.append(payload)
            if ctx.run.attempt == 1:
                raise ValueError

    client.send_event(Event("asked", payload=payload))
    prefix = f"headrace:{{{host.namespace}:0}}:"
    await host.settle(app)
    assert len(seen) == 6
    assert all(each == payload for each in seen)
    assert redis.xlen(f"{prefix}queue:app/default") == 0


async def test_many_large_payloads_are_read_in_groups(host: WorkerHost, client: Client) -> None:
    """More than 8 MB in one read, each to its own run."""
    app, seen = App("app"), []

    @app.job(id="job", trigger=TRIGGER)
    async def job(payload: list[Any]) -> None:
        seen.append((payload[0], len(payload[1])))

    sizes = [900_000] * 12 + [10] * 3
    client.send_events([Event("asked", payload=[n, "x" * size]) for n, size in enumerate(sizes)])
    await host.settle(app)
    assert sorted(seen) == list(enumerate(sizes))


# Slots.


@pytest.mark.parametrize("queues", [1, 3])
async def test_never_more_functions_execute_than_there_are_slots(host: WorkerHost, client: Client, queues: int) -> None:
    """And all slots are used while there is work; async and plain functions share them."""
    app = App("app")
    lock, executing, most = threading.Lock(), 0, []

    def enter(by: int) -> None:
        nonlocal executing
        with lock:
            executing += by
            most.append(executing)

    async def coroutine() -> None:
        enter(1)
        await asyncio.sleep(0.005)
        enter(-1)

    def plain() -> None:
        enter(1)
        threading.Event().wait(0.005)
        enter(-1)

    for place_ in range(queues):
        app.job(id=f"async-{place_}", trigger=TRIGGER, queue=f"q{place_}")(coroutine)
        app.job(id=f"plain-{place_}", trigger=TRIGGER, queue=f"q{place_}")(plain)
    client.send_events([Event("asked") for _ in range(60 // queues)])
    await host.settle(app, concurrency=5)
    assert len(most) == 240
    assert max(most) == 5


async def test_an_app_without_jobs_still_dispatches(host: WorkerHost, client: Client) -> None:
    """Its worker dispatches for the other apps, and stops as any worker."""
    sent = client.send_event(Event("asked"))
    async with host.working(App("empty")):
        await await_until(lambda: client.get_event(sent.id).is_settled)


def test_a_worker_is_named_anew_at_every_start(host: WorkerHost) -> None:
    """It has no name before it runs."""
    assert host.make(App("app")).name is None


async def test_a_worker_says_once_which_job_it_has_not(host: WorkerHost, client: Client) -> None:
    """Two code bases use one app name: runs wait for a worker with their job, and the log says so."""
    one, two = App("app"), App("app")
    one.job(id="one", trigger=TRIGGER, queue="shared")(lambda: None)
    one.job(id="idle", trigger=event_trigger("idle"), queue="idle")(lambda: None)
    two.job(id="two", trigger=event_trigger("two"), queue="shared")(lambda: None)
    with capture_logs() as lines:
        async with host.working(one, queues=("idle",)), host.working(two):
            ids = [client.send_event(Event("asked")).id for _ in range(3)]
            await await_until(lambda: all(_waits(client, each) for each in ids), 20, what="runs that wait")
    told = [line for line in lines if line["event"] == "this worker has no job 'one'; its run waits for one that has"]
    assert [(line["log_level"], line["app"], line["job"]) for line in told] == [("warning", "app", "one")]
    async with host.working(one):
        await await_until(lambda: all(client.get_event(each).is_settled for each in ids), 30, what="settled events")


def _waits(client: Client, event_id: str) -> bool:
    return [run.status for run in client.get_event(event_id).runs] == ["waiting"]
