"""Workers take runs from the queues of their apps, and a wake-up reaches one that can take them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace_worker import App, Context, Retry, event_trigger
from headrace_worker.testing import NotSettled
from tests.support.queues import await_blocked, queues_app
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

LONG = {"block": 60.0, "lease": 60.0}
"""With these nothing happens by itself within a test: whatever does was woken."""


# Queues.


async def test_a_worker_takes_only_from_its_queues(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """Runs of other queues wait for a worker that takes from them."""
    seen: list[Any] = []
    app = queues_app(seen, "a", "b", "c")
    sent = client.send_events([Event(queue) for queue in "abc"])
    async with host.working(app, queues=("a", "c")):
        await await_until(lambda: len(seen) == 2)
        await await_until(lambda: redis.xlen(f"headrace:{{{host.namespace}:0}}:queue:app/b") == 1)
    assert sorted(seen) == [("a", None), ("c", None)]
    assert client.get_event(sent[1].id).runs[0].status == "queued"
    await host.settle(app, queues=("b",))
    assert seen[-1] == ("b", None)


async def test_a_busy_queue_does_not_starve_the_next(host: WorkerHost, client: Client) -> None:
    """The worker takes from each queue in turn, so the last run of the other queue is not the last to execute."""
    seen: list[Any] = []
    app = queues_app(seen, "busy", "calm")
    client.send_events([Event("busy", payload=n) for n in range(60)] + [Event("calm")])
    with suppress(NotSettled):  # dispatches, and takes no queue: everything is there before the first take
        await host.settle(app, queues=("another",), timeout=0.5)
    await host.settle(app, concurrency=2)
    assert len(seen) == 61
    assert seen.index(("calm", None)) < 10


async def test_an_idle_worker_of_several_queues_is_woken(
    host: WorkerHost, client: Client, redis: redis_py.Redis
) -> None:
    """By a dispatch, by a delayed event, by a retry, and by a run that is started again."""
    app, seen = App("app"), []

    @app.job(id="a", trigger=event_trigger("a"), queue="a", retry=Retry(max_attempts=2, min_delay=0.02, jitter=False))
    async def job(payload: str, ctx: Context) -> None:
        seen.append((payload, ctx.run.attempt, ctx.run.is_replay))
        if payload == "failing":
            raise ValueError

    app.job(id="b", trigger=event_trigger("b"), queue="b")(lambda: None)
    async with host.working(app, **LONG):
        for count, (payload, delay) in enumerate((("sent", 0.0), ("delayed", 0.05)), 1):
            await await_blocked(redis, "xreadgroup", 2)
            client.send_event(Event("a", payload=payload), deliver_after=delay)
            await await_until(lambda count=count: len(seen) == count)  # type: ignore[misc]
        await await_blocked(redis, "xreadgroup", 2)
        failing = client.send_event(Event("a", payload="failing"))
        await await_until(lambda: client.get_event(failing.id).is_settled)
        await await_blocked(redis, "xreadgroup", 2)
        client.retry_run(f"{failing.id}:app/a")
        await await_until(lambda: seen[-1:] == [("failing", 2, True)])
    assert seen == [
        ("sent", 1, False), ("delayed", 1, False), ("failing", 1, False), ("failing", 2, False),
        ("failing", 1, True), ("failing", 2, True),
    ]  # fmt: skip


@pytest.mark.parametrize("queues", [("a",), ("a", "b")])
async def test_a_released_run_wakes_an_idle_worker(
    host: WorkerHost, client: Client, redis: redis_py.Redis, queues: tuple[str, ...]
) -> None:
    """A stopping worker's run goes to another one at once, with nothing counted."""
    app, seen, let_go = App("app"), [], asyncio.Event()
    for queue in queues:

        @app.job(id=queue, trigger=event_trigger(queue), queue=queue)
        async def job(ctx: Context) -> None:
            seen.append((ctx.worker_id, ctx.run.attempt))
            await let_go.wait()

    async with host.working(app, **LONG) as first:
        sent = client.send_event(Event("a"))
        await await_until(lambda: seen)
        async with host.working(app, **LONG) as second:
            await await_blocked(redis, "xreadgroup", 2)
            first.stop_now()
            await await_until(lambda: len(seen) == 2)
            let_go.set()
            await await_until(lambda: client.get_event(sent.id).is_settled)
            assert seen[1] == (second.name, 1)
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.attempt, run.lost) == ("succeeded", 1, 0)


async def test_a_full_worker_wakes_the_next(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """One wake-up stream serves many runs: a worker that has filled its slots wakes the next for the rest."""
    app, seen, end = App("app"), [], asyncio.Event()
    for queue in ("a", "b"):

        @app.job(id=queue, trigger=event_trigger(queue), queue=queue)
        async def job(ctx: Context) -> None:
            seen.append(ctx.worker_id)
            await end.wait()

    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(host.working(app, concurrency=2, **LONG))
        await await_blocked(redis, "xreadgroup", 6)
        client.send_events([Event("a") for _ in range(6)])
        await await_until(lambda: len(seen) == 6)
        assert len(set(seen)) == 3
        end.set()


async def test_a_slot_is_free_only_when_its_run_is_recorded(host: WorkerHost, client: Client) -> None:
    """With one slot, every earlier run has its outcome when the next one starts."""
    app = App("app")
    earlier: list[str] = []
    unsettled: list[str] = []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(ctx: Context) -> None:
        unsettled.extend(run_id for run_id in earlier if not client.get_run(run_id).is_settled)
        earlier.append(ctx.run.id)

    client.send_events([Event("asked") for _ in range(20)])
    await host.settle(app, concurrency=1)
    assert len(earlier) == 20
    assert unsettled == []


# Apps.


async def test_two_apps_of_a_namespace_both_get_their_runs(host: WorkerHost, client: Client) -> None:
    """Of one event, whichever app's worker dispatches it; a run waits for a worker of its own app."""
    seen: list[Any] = []
    shop, mail = queues_app(seen, "both", "shop", name="shop"), queues_app(seen, "both", "mail", name="mail")
    async with host.working(shop), host.working(mail):
        pass  # both are known now
    sent = client.send_event(Event("both"))
    async with host.working(shop):
        await await_until(lambda: seen)
        assert {run.job: run.status for run in client.get_event(sent.id).runs}["mail/both"] == "queued"
    await host.settle(mail, dispatchers=0)
    assert seen == [("both", None)] * 2
    assert client.get_event(sent.id).is_settled
    other = client.send_event(Event("shop"))
    async with host.working(mail):
        await await_until(lambda: client.get_event(other.id).status in {"dispatched", "settled"})
    await host.settle(shop, dispatchers=0)
    assert seen[-1] == ("shop", None)


async def test_namespaces_do_not_see_each_other(make_namespace: Any, url: str) -> None:
    """Events, runs, ids, leadership and listings are separate."""
    hosts = [WorkerHost(url, make_namespace()) for _ in range(2)]
    seen: list[Any] = []
    for number, host in enumerate(hosts):
        with Client(url, namespace=host.namespace) as client:
            client.send_event(Event("asked", id="same", payload=number))
    for number, host in enumerate(hosts):
        app = App("app")
        app.job(id="job", trigger=event_trigger("asked"))(_noting(seen, number))
        await host.settle(app)
    assert seen == [(number, number, host.namespace) for number, host in enumerate(hosts)]


def _noting(seen: list[Any], number: int) -> Any:
    def job(payload: Any, ctx: Context) -> None:
        seen.append((number, payload, ctx.namespace))

    return job
