"""A run that has cost its workers executes alone, and stops no worker for long."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace_worker import App, Retry, event_trigger
from tests.support.queues import pending_count, queues_app, send_and_dispatch
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


def _take_out(redis: redis_py.Redis, prefix: str, event_id: str, queue: str) -> Any:
    """Take the event's run out of its queue, and return its fields as if it had cost two workers."""
    entries: list[tuple[bytes, dict[bytes, bytes]]] = redis.xrange(f"{prefix}queue:app/{queue}")  # type: ignore[assignment]
    ((entry, fields),) = [each for each in entries if each[1][b"e"] == event_id.encode()]
    redis.xdel(f"{prefix}queue:app/{queue}", entry)
    return fields | {b"s": b"1 2 0 0 0"}


_PUT_IN = """
local entry = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
redis.call('HSET', KEYS[2], ARGV[1], 'q 1 2 0 0 ' .. ARGV[2] .. ' ' .. entry .. ' - 0 0')
"""


def _put_in(redis: redis_py.Redis, prefix: str, queue: str, fields: dict[bytes, bytes]) -> None:
    """Add the run to its queue again, and write the entry's id to its record."""
    keys = (f"{prefix}queue:app/{queue}", f"{prefix}event:{fields[b'e'].decode()}")
    flat = [part for pair in fields.items() for part in pair]
    redis.eval(_PUT_IN, 2, *keys, f"r:app/{fields[b'j'].decode()}", queue, *flat)


@pytest.mark.parametrize(("one", "other"), ["ab", "ba"])
async def test_a_quarantined_run_executes_alone(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str, one: str, other: str
) -> None:
    """Nothing of its own queue or of another one executes beside it, and all run in the end."""
    app, executing, beside, seen = App("app"), set(), [], []
    for queue in ("a", "b"):

        @app.job(id=queue, trigger=event_trigger(queue), queue=queue)
        async def job(payload: str) -> None:
            executing.add(payload)
            await asyncio.sleep(0.01)
            if payload == "poison" or "poison" in executing:
                beside.append(set(executing))
            executing.discard(payload)
            seen.append(payload)

    events = [Event(one, payload=f"{one}{n}") for n in range(5)] + [Event(one, payload="poison")]
    events += [Event(other, payload=f"{other}{n}") for n in range(5)]
    ids = await send_and_dispatch(host, app, client, events)
    _put_in(redis, prefix, one, _take_out(redis, prefix, ids[5], one))
    await host.settle(app)
    assert beside == [{"poison"}]
    assert sorted(seen) == sorted(each.payload for each in events)


async def test_a_stop_requeues_a_quarantined_run_that_waits(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It is released like an in-flight run at the end of the grace; nothing more is counted."""
    app, started = App("app"), asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(payload: str) -> None:
        assert payload == "long"
        started.set()
        await asyncio.sleep(600)

    long, poison = await send_and_dispatch(host, app, client, [Event("asked", each) for each in ("long", "poison")])
    last_life = _take_out(redis, prefix, poison, "default")
    async with host.working(app, grace=0.05):
        await started.wait()
        _put_in(redis, prefix, "default", last_life)
        await await_until(lambda: pending_count(redis, f"{prefix}queue:app/default") == 2)
    runs = [client.get_event(each).runs[0] for each in (long, poison)]
    assert [(run.status, run.lost) for run in runs] == [("queued", 0), ("queued", 2)]
    assert redis.xlen(f"{prefix}queue:app/default") == 2
    redis.delete(f"{prefix}queue:app/default", *(f"{prefix}event:{each}" for each in (long, poison)))


async def test_a_quarantined_run_stops_no_worker_for_long(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It is delayed with nothing counted while another run takes long; then it executes alone."""
    app, end, seen = App("app"), asyncio.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(payload: str) -> None:
        seen.append(payload)
        if payload == "long":
            await end.wait()

    long, poison = await send_and_dispatch(host, app, client, [Event("asked", each) for each in ("long", "poison")])
    last_life = _take_out(redis, prefix, poison, "default")
    async with host.working(app, lease=0.5):
        await await_until(lambda: seen == ["long"])
        _put_in(redis, prefix, "default", last_life)
        await await_until(lambda: client.get_event(poison).runs[0].status == "waiting")
        client.send_event(Event("asked", payload="innocent"))
        await await_until(lambda: seen == ["long", "innocent"])
        end.set()
        await await_until(lambda: client.get_event(poison).is_settled)
    assert seen == ["long", "innocent", "poison"]
    runs = [client.get_event(each).runs[0] for each in (long, poison)]
    assert [(run.status, run.attempt, run.lost) for run in runs] == [("succeeded", 1, 0), ("succeeded", 1, 2)]


async def test_an_endless_thread_delays_no_quarantined_run(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """The thread's run is recorded, so the process may die. An endless quarantined run delays no other either."""
    app, end, seen = App("app"), threading.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"), timeout=0.05, retry=Retry(max_attempts=1))
    def job(payload: str) -> None:
        seen.append(payload)
        if payload != "innocent":
            end.wait(30)

    stuck, poison = await send_and_dispatch(
        host, app, client, [Event("asked", payload=each) for each in ("stuck", "poison")]
    )
    last_life = _take_out(redis, prefix, poison, "default")
    async with host.working(app, lease=30):
        await await_until(lambda: client.get_event(stuck).is_settled)
        _put_in(redis, prefix, "default", last_life)
        await await_until(lambda: client.get_event(poison).is_settled)
        client.send_event(Event("asked", payload="innocent"))
        await await_until(lambda: seen == ["stuck", "poison", "innocent"])
        end.set()


async def test_a_run_that_lost_too_many_workers_is_not_called(
    host: WorkerHost, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It is failed and dead, with the reason; a retry counts its lost workers from zero."""
    seen: list[Any] = []
    app = queues_app(seen, "default")
    (event_id,) = await send_and_dispatch(host, app, client, [Event("default")])
    _put_in(redis, prefix, "default", _take_out(redis, prefix, event_id, "default"))
    await host.settle(app, max_lost=2)
    assert seen == []
    (dead,) = client.list_dead_letters().items
    assert (dead.reason, dead.run_id) == ("lost", f"{event_id}:app/default")
    assert client.retry_run(f"{event_id}:app/default").lost == 0
    await host.settle(app, max_lost=2)
    assert seen == [("default", None)]
