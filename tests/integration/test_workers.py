"""Workers share the work of a namespace: queues, apps, seats and the leadership, and leave nothing when they stop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec
import pytest
import redis as redis_py
from structlog.testing import capture_logs

from headrace import Client, ConfigurationError, Event, ServerUnreachable
from headrace_worker import App, Context, Retry, RetryAfter, Worker, event_trigger
from headrace_worker.errors import WorkerFailed
from headrace_worker.testing import NotSettled
from tests.support.waiting import await_until
from tests.support.workers import Place

LONG = {"block": 60.0, "lease": 60.0}
"""With these nothing happens by itself within a test: whatever does was woken."""


@pytest.fixture
def prefix(namespace: str) -> str:
    return f"headrace:{{{namespace}:0}}:"


def _queues_app(seen: list[Any], *queues: str, name: str = "app") -> App:
    """An app with one job a queue, of the queue's name, which listens to an event of that name."""
    app = App(name)
    for queue in queues:

        @app.job(id=queue, trigger=event_trigger(queue), queue=queue)
        async def job(payload: Any, ctx: Context) -> None:
            seen.append((ctx.job.id, payload))

    return app


async def _blocked(redis: redis_py.Redis, command: str, count: int) -> None:
    """So many clients wait in a blocking read."""

    def waiting() -> bool:
        clients: list[dict[str, str]] = redis.client_list()
        return sum("b" in client["flags"] and client["cmd"].startswith(command) for client in clients) >= count

    await await_until(waiting, what=f"{count} clients in {command}")


# Queues.


async def test_a_worker_takes_only_from_its_queues(place: Place, client: Client, redis: redis_py.Redis) -> None:
    """What is in the others waits for a worker that takes from them."""
    seen: list[Any] = []
    app = _queues_app(seen, "a", "b", "c")
    sent = client.send_events([Event(queue) for queue in "abc"])
    async with place.working(app, queues=("a", "c")):
        await await_until(lambda: len(seen) == 2)
        await await_until(lambda: redis.xlen(f"headrace:{{{place.namespace}:0}}:queue:app/b") == 1)
    assert sorted(seen) == [("a", None), ("c", None)]
    assert client.get_event(sent[1].id).runs[0].status == "queued"
    await place.settle(app, queues=("b",))
    assert seen[-1] == ("b", None)


async def test_a_busy_queue_does_not_starve_the_next(place: Place, client: Client) -> None:
    """The worker takes from them in turn, so what came last into the other one is not the last to run."""
    seen: list[Any] = []
    app = _queues_app(seen, "busy", "calm")
    client.send_events([Event("busy", payload=n) for n in range(60)] + [Event("calm")])
    with suppress(NotSettled):  # dispatches, and takes no queue: everything is there before the first take
        await place.settle(app, queues=("another",), timeout=0.5)
    await place.settle(app, concurrency=2)
    assert len(seen) == 61
    assert seen.index(("calm", None)) < 10


async def test_an_idle_worker_of_several_queues_is_woken(place: Place, client: Client, redis: redis_py.Redis) -> None:
    """By a dispatch, by a delayed event, by a retry, and by a run that is started again."""
    app, seen = App("app"), []

    @app.job(id="a", trigger=event_trigger("a"), queue="a", retry=Retry(max_attempts=2, min_delay=0.02, jitter=False))
    async def job(payload: str, ctx: Context) -> None:
        seen.append((payload, ctx.run.attempt, ctx.run.is_replay))
        if payload == "failing":
            raise ValueError

    app.job(id="b", trigger=event_trigger("b"), queue="b")(lambda: None)
    async with place.working(app, **LONG):
        for count, (payload, delay) in enumerate((("sent", 0.0), ("delayed", 0.05)), 1):
            await _blocked(redis, "xreadgroup", 2)
            client.send_event(Event("a", payload=payload), deliver_after=delay)
            await await_until(lambda count=count: len(seen) == count)  # type: ignore[misc]
        await _blocked(redis, "xreadgroup", 2)
        failing = client.send_event(Event("a", payload="failing"))
        await await_until(lambda: client.get_event(failing.id).is_settled)
        await _blocked(redis, "xreadgroup", 2)
        client.retry_run(f"{failing.id}:app/a")
        await await_until(lambda: seen[-1:] == [("failing", 2, True)])
    assert seen == [
        ("sent", 1, False), ("delayed", 1, False), ("failing", 1, False), ("failing", 2, False),
        ("failing", 1, True), ("failing", 2, True),
    ]  # fmt: skip


@pytest.mark.parametrize("queues", [("a",), ("a", "b")])
async def test_a_released_run_wakes_an_idle_worker(
    place: Place, client: Client, redis: redis_py.Redis, queues: tuple[str, ...]
) -> None:
    """A stopping worker's run goes to another one at once, with nothing counted."""
    app, seen, let_go = App("app"), [], asyncio.Event()
    for queue in queues:

        @app.job(id=queue, trigger=event_trigger(queue), queue=queue)
        async def job(ctx: Context) -> None:
            seen.append((ctx.worker_id, ctx.run.attempt))
            await let_go.wait()

    async with place.working(app, **LONG) as first:
        sent = client.send_event(Event("a"))
        await await_until(lambda: seen)
        async with place.working(app, **LONG) as second:
            await _blocked(redis, "xreadgroup", 2)
            first.stop_now()
            await await_until(lambda: len(seen) == 2)
            let_go.set()
            await await_until(lambda: client.get_event(sent.id).is_settled)
            assert seen[1] == (second.name, 1)
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.attempt, run.lost) == ("succeeded", 1, 0)


async def test_a_full_worker_rings_on_for_the_next(place: Place, client: Client, redis: redis_py.Redis) -> None:
    """One wake-up stream for many runs: whoever takes as much as it can lets the next one take the rest."""
    app, seen, end = App("app"), [], asyncio.Event()
    for queue in ("a", "b"):

        @app.job(id=queue, trigger=event_trigger(queue), queue=queue)
        async def job(ctx: Context) -> None:
            seen.append(ctx.worker_id)
            await end.wait()

    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(place.working(app, concurrency=2, **LONG))
        await _blocked(redis, "xreadgroup", 6)
        client.send_events([Event("a") for _ in range(6)])
        await await_until(lambda: len(seen) == 6)
        assert len(set(seen)) == 3
        end.set()


async def test_a_slot_is_free_only_when_its_run_is_recorded(place: Place, client: Client) -> None:
    """With one slot, every earlier run has its outcome when the next one starts."""
    app = App("app")
    earlier: list[str] = []
    unsettled: list[str] = []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(ctx: Context) -> None:
        unsettled.extend(run_id for run_id in earlier if not client.get_run(run_id).is_settled)
        earlier.append(ctx.run.id)

    client.send_events([Event("asked") for _ in range(20)])
    await place.settle(app, concurrency=1)
    assert len(earlier) == 20
    assert unsettled == []


# Apps.


async def test_two_apps_of_a_namespace_both_get_their_runs(place: Place, client: Client) -> None:
    """Of one event, whichever app's worker dispatches it; a run waits for a worker of its own app."""
    seen: list[Any] = []
    shop, mail = _queues_app(seen, "both", "shop", name="shop"), _queues_app(seen, "both", "mail", name="mail")
    async with place.working(shop), place.working(mail):
        pass  # both are known now
    sent = client.send_event(Event("both"))
    async with place.working(shop):
        await await_until(lambda: seen)
        assert {run.job: run.status for run in client.get_event(sent.id).runs}["mail/both"] == "queued"
    await place.settle(mail, dispatchers=0)
    assert seen == [("both", None)] * 2
    assert client.get_event(sent.id).is_settled
    other = client.send_event(Event("shop"))
    async with place.working(mail):
        await await_until(lambda: client.get_event(other.id).status in {"dispatched", "settled"})
    await place.settle(shop, dispatchers=0)
    assert seen[-1] == ("shop", None)


async def test_namespaces_do_not_see_each_other(make_namespace: Any, url: str) -> None:
    """Events, runs, ids, leadership and listings of one are none of the other's."""
    places = [Place(url, make_namespace()) for _ in range(2)]
    seen: list[Any] = []
    for number, place in enumerate(places):
        with Client(url, namespace=place.namespace) as client:
            client.send_event(Event("asked", id="same", payload=number))
    for number, place in enumerate(places):
        app = App("app")
        app.job(id="job", trigger=event_trigger("asked"))(_noting(seen, number))
        await place.settle(app)
    assert seen == [(number, number, place.namespace) for number, place in enumerate(places)]


def _noting(seen: list[Any], number: int) -> Any:
    def job(payload: Any, ctx: Context) -> None:
        seen.append((number, payload, ctx.namespace))

    return job


# Jobs that a worker does not have.


def _hurry(redis: redis_py.Redis, prefix: str) -> None:
    """What waits in `due` is due now."""
    members: Any = redis.zrange(f"{prefix}due", 0, -1)
    for member in members:
        redis.zadd(f"{prefix}due", {member: 1}, xx=True)
    redis.lpush(f"{prefix}wake", "1")


async def test_a_run_of_an_unknown_job_waits_for_a_worker_that_has_it(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """Its waits count as nothing, and then it succeeds at its first attempt."""
    seen: list[Any] = []
    new, old = _queues_app(seen, "default"), App("app")
    old.job(id="other", trigger=event_trigger("other"))(lambda: None)
    async with place.working(new):
        pass  # its routes are known
    sent = client.send_event(Event("default", payload=7))
    async with place.working(new, queues=("elsewhere",)):
        await await_until(lambda: client.get_event(sent.id).status in {"dispatched", "settled"})
    async with place.working(old):
        for _ in range(2):
            run = await await_until(lambda: (found := client.get_event(sent.id).runs[0]).status == "waiting" and found)
            assert run
            assert run.error is not None
            assert (run.error.type, run.attempt) == ("UnknownJob", 1)
            _hurry(redis, prefix)
    _hurry(redis, prefix)
    await place.settle(new)
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.attempt, run.lost, run.error) == ("succeeded", 1, 0, None)
    assert seen == [("default", 7)]


async def test_a_job_that_no_worker_has_is_given_up_in_time(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It is dead with its reason, and can be run again when there is one."""
    seen: list[Any] = []
    new, old = _queues_app(seen, "default"), App("app")
    old.job(id="other", trigger=event_trigger("other"))(lambda: None)
    async with place.working(new, queues=("elsewhere",)):
        sent = client.send_event(Event("default"))
        await await_until(lambda: client.get_event(sent.id).status in {"dispatched", "settled"})
    async with place.working(old, unknown_job=0.01):
        await await_until(lambda: redis.zcard(f"{prefix}due"))
        _hurry(redis, prefix)
        while not client.get_event(sent.id).is_settled:
            _hurry(redis, prefix)
            await asyncio.sleep(0.01)
    (run,) = client.get_event(sent.id).runs
    assert run.status == "failed"
    (dead,) = client.list_dead_letters().entries
    assert (dead.reason, dead.job, dead.run_id) == ("unknown_job", "app/default", run.id)
    client.retry_run(run.id)
    await place.settle(new)
    assert seen == [("default", None)]


async def test_a_job_that_a_live_worker_has_is_not_given_up(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """However long its runs have waited: that worker is only busy, or takes from another queue."""
    seen: list[Any] = []
    new, old = _queues_app(seen, "default"), App("app")
    old.job(id="other", trigger=event_trigger("other"))(lambda: None)
    async with place.working(new, queues=("elsewhere",)), place.working(old, unknown_job=0, dispatchers=0):
        sent = client.send_event(Event("default"))
        for _ in range(3):
            await await_until(lambda: redis.zcard(f"{prefix}due"))
            _hurry(redis, prefix)
        await await_until(lambda: redis.zcard(f"{prefix}due"))
        assert client.get_event(sent.id).runs[0].status == "waiting"
    _hurry(redis, prefix)
    await place.settle(new)
    assert seen == [("default", None)]


# Dispatcher slots and leadership.


async def test_of_nine_workers_eight_have_a_seat(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """The ninth gets one when one is given up, and events are dispatched all the time."""
    seen: list[Any] = []
    app = _queues_app(seen, "default")
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(place.working(app, lease=3)) for _ in range(9)]
        await await_until(lambda: redis.zcard(f"{prefix}dispatchers") == 8)
        client.send_events([Event("default", payload=n) for n in range(50)])
        await await_until(lambda: len(seen) == 50)
        (without,) = {worker.name for worker in workers} - _names(redis, f"{prefix}dispatchers")
        with_seat = next(worker for worker in workers if worker.name != without)
        name = with_seat.name
        with_seat.stop()
        await await_until(lambda: without in _names(redis, f"{prefix}dispatchers"))
        assert len(_names(redis, f"{prefix}dispatchers") - {name}) <= 8
        client.send_events([Event("default", payload=n) for n in range(50, 100)])
        await await_until(lambda: len(seen) == 100)
    assert sorted(payload for _, payload in seen) == list(range(100))


def _names(redis: redis_py.Redis, key: str) -> set[str | None]:
    return {name.decode() for name in redis.zrange(key, 0, -1)}  # type: ignore[union-attr]


def _leader(redis: redis_py.Redis, prefix: str) -> str:
    return (redis.get(f"{prefix}leader") or b" ").decode().split(" ")[0]  # type: ignore[union-attr]


async def test_when_the_leader_stops_another_one_leads(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """What is due then is promoted by it."""
    seen: list[Any] = []
    app = _queues_app(seen, "default")
    async with place.working(app) as first:
        await await_until(lambda: _leader(redis, prefix) == first.name)
        async with place.working(app) as second:
            client.send_event(Event("default"), deliver_after=0.3)
            first.stop()
            await await_until(lambda: _leader(redis, prefix) == second.name)
            await await_until(lambda: seen)


# Stopping.


async def test_a_stopped_worker_leaves_nothing_of_itself(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """No lease, seat, leadership, hash or consumer; only its app's routes stay."""
    seen: list[Any] = []
    app = _queues_app(seen, "a", "b")
    async with place.working(app) as worker:
        client.send_events([Event("a"), Event("b"), Event("nobody")])
        client.send_event(Event("a"), deliver_after=0.05)
        await await_until(lambda: len(seen) == 3)
        name = worker.name
        assert redis.zscore(f"{prefix}workers", str(name)) is not None
    keys = {key.decode().removeprefix(prefix) for key in redis.scan_iter(f"{prefix}*")}
    assert {key for key in keys if not key.startswith("event:")} == {
        "events", "queue:app/a", "queue:app/b", "queues", "wake-up:app", "recent", "runs",
        "routes:app", "routes:version", "meta",
    }  # fmt: skip
    for stream, group in (("events", "dispatch"), ("queue:app/a", "workers"), ("queue:app/b", "workers")):
        assert redis.xinfo_consumers(f"{prefix}{stream}", group) == []
        assert redis.xlen(f"{prefix}{stream}") == 0


async def test_a_worker_may_come_and_go_under_load(place: Place, client: Client) -> None:
    """Every event runs once, though the workers are restarted all the time; each start has another name."""
    seen: list[Any] = []
    names: set[str | None] = set()
    app = _queues_app(seen, "a", "b")
    for round_ in range(5):
        async with place.working(app, concurrency=5) as worker:
            names.add(worker.name)
            client.send_events([Event("ab"[n % 2], payload=(round_, n)) for n in range(100)])
            await await_until(lambda round_=round_: len(seen) > round_ * 100 + 20)  # type: ignore[misc]
    await place.settle(app)
    assert len(seen) == len({tuple(payload) for _, payload in seen}) == 500
    assert len(names) == 5


async def test_runs_have_their_grace_to_end_in(place: Place, client: Client) -> None:
    """A stop takes nothing new, and waits for what executes."""
    app, started, let_go, seen = App("app"), asyncio.Event(), asyncio.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(payload: int) -> str:
        started.set()
        await let_go.wait()
        seen.append(payload)
        return "ended"

    first, second = client.send_events([Event("asked", payload=n) for n in range(2)])
    async with place.working(app, concurrency=1) as worker:
        await started.wait()
        worker.stop()
        await asyncio.sleep(0)
        let_go.set()
    assert seen == [0]
    assert client.get_event(first.id).runs[0].output == "ended"
    assert client.get_event(second.id).runs[0].status == "queued"
    await place.settle(app)
    assert seen == [0, 1]


@pytest.mark.parametrize("way", ["grace", "stop_now", "cancel"])
async def test_runs_that_outlast_the_grace_are_released(place: Place, client: Client, way: str) -> None:
    """With nothing counted; also where the worker is stopped at once, or whoever runs it gives up on it."""
    app, started, seen = App("app"), asyncio.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(ctx: Context) -> None:
        seen.append(ctx.run.attempt)
        started.set()
        if len(seen) == 1:
            await asyncio.sleep(600)

    sent = client.send_event(Event("asked"))
    worker = place.make(app, grace=0.05 if way == "grace" else 600)
    running = asyncio.ensure_future(worker.run())
    await started.wait()
    if way == "cancel":
        running.cancel()
    else:
        (worker.stop if way == "grace" else worker.stop_now)()
    with suppress(asyncio.CancelledError):
        await running
    assert running.cancelled() is (way == "cancel")
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.attempt, run.lost) == ("queued", 1, 0)
    await place.settle(app)
    assert seen == [1, 1]


async def test_what_a_function_raises_when_it_is_released_does_not_count(place: Place, client: Client) -> None:
    """A driver that turns the cancellation into an error of its own costs the run no attempt."""
    app, started, seen = App("app"), asyncio.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"), retry=Retry(max_attempts=1))
    async def job() -> None:
        seen.append(1)
        started.set()
        if len(seen) == 1:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                raise ConnectionError("the connection was closed") from None

    sent = client.send_event(Event("asked"))
    async with place.working(app, grace=0):
        await started.wait()
    assert client.get_event(sent.id).runs[0].status == "queued"
    await place.settle(app)
    assert client.get_event(sent.id).runs[0].status == "succeeded"


async def test_a_stop_before_the_start_starts_nothing(place: Place, client: Client) -> None:
    """It registers and leaves."""
    seen: list[Any] = []
    worker = place.make(_queues_app(seen, "default"))
    worker.stop()
    client.send_event(Event("default"))
    await asyncio.wait_for(worker.run(), 20)
    assert seen == []


async def test_a_foreign_record_hinders_no_release(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """A stopping worker sets that one run aside and gives the others back at once; it leaves in order."""
    app, started = App("app"), set[str]()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(ctx: Context) -> None:
        started.add(ctx.event.id)
        await asyncio.sleep(600)

    ids = [each.id for each in client.send_events([Event("asked") for _ in range(7)])]
    async with place.working(app, grace=0, **LONG):
        await await_until(lambda: started == set(ids))
        redis.set(f"{prefix}event:{ids[2]}", "something else", ex=60)
    queue = f"{prefix}queue:app/default"
    assert (redis.xlen(queue), _in_hands(redis, queue, "workers")) == (6, 0)
    assert redis.zcard(f"{prefix}workers") == 0
    assert {client.get_event(each).runs[0].status for each in ids if each != ids[2]} == {"queued"}
    (dead,) = client.list_dead_letters().entries
    assert (dead.reason, dead.raw["e"]) == ("unreadable", ids[2].encode())
    for each in ids:
        redis.delete(f"{prefix}event:{each}")


async def test_a_stop_that_is_broken_off_holds_no_lease(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """Whoever cancels a second time does not wait for the stop: the runs go to others when the lease ends."""
    app, started, may_end = App("app"), asyncio.Event(), asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job() -> None:
        started.set()
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await may_end.wait()

    sent = client.send_event(Event("asked"))
    worker = place.make(app)
    running = asyncio.ensure_future(worker.run())
    await started.wait()
    name = str(worker.name)
    while not running.done():
        running.cancel()
        await asyncio.wait([running], timeout=0.05)
    await await_until(lambda: not any(thread.name == "headrace-lease" for thread in threading.enumerate()))
    redis.zadd(f"{prefix}workers", {name: 1})
    redis.delete(f"{prefix}leader")
    may_end.set()
    async with place.working(app):
        await await_until(lambda: client.get_event(sent.id).is_settled)
        redis.zadd(f"{prefix}workers", {name: 1})
        await await_until(lambda: redis.zscore(f"{prefix}workers", name) is None)
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.attempt, run.lost) == ("succeeded", 1, 1)


async def test_a_fenced_worker_goes_on_under_a_new_name(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It was taken for dead: what it executes is told to end and is another's, and what comes next is its own."""
    app, seen, ended = App("app"), [], asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(ctx: Context) -> None:
        seen.append(ctx.worker_id)
        if len(seen) == 1:
            try:
                await asyncio.sleep(600)
            finally:
                ended.set()

    async with place.working(app, lease=1) as worker:
        first = client.send_event(Event("asked"))
        await await_until(lambda: seen)
        old = str(worker.name)
        redis.hset(f"{prefix}worker:{old}", "fenced", "1")
        await ended.wait()
        second = client.send_event(Event("asked"))
        await await_until(lambda: client.get_event(second.id).is_settled)
        await await_until(lambda: client.get_event(first.id).is_settled)
        await await_until(lambda: redis.zscore(f"{prefix}workers", old) is None)
        new = worker.name
    (run,) = client.get_event(first.id).runs
    assert (run.status, run.attempt, run.lost) == ("succeeded", 1, 1)
    assert seen == [old, new, new]
    assert new != old


async def test_a_dead_workers_foreign_record_hinders_no_rescue(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It is set aside, and what else the dead worker held runs."""
    seen: list[Any] = []
    app = _queues_app(seen, "default")
    ids = await _dispatched(place, app, client, [Event("default", payload=n) for n in range(5)])
    redis.xreadgroup("workers", "dead", {f"{prefix}queue:app/default": ">"})
    redis.hset(f"{prefix}worker:dead", mapping={"app": "app", "queues": "app/default"})
    redis.zadd(f"{prefix}workers", {"dead": 1})
    redis.set(f"{prefix}event:{ids[2]}", "something else", ex=60)
    async with place.working(app):
        await await_until(lambda: len(seen) == 4)
        await await_until(lambda: client.list_dead_letters().entries)
        redis.zadd(f"{prefix}workers", {"dead": 1})
        await await_until(lambda: redis.zscore(f"{prefix}workers", "dead") is None)
    assert sorted(payload for _, payload in seen) == [0, 1, 3, 4]
    (dead,) = client.list_dead_letters().entries
    assert (dead.reason, dead.raw["e"]) == ("unreadable", ids[2].encode())


# Routes of a release that is to come.


async def test_a_worker_that_cant_evaluate_the_routes_dispatches_nothing(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It says so, gives its dispatcher slot up, and executes on; it dispatches again when those routes have gone."""
    seen: list[Any] = []
    app = _queues_app(seen, "default")
    (queued,) = await _dispatched(place, app, client, [Event("default", payload="queued")])
    blob = msgspec.msgpack.encode({"format": 2, "jobs": []})
    redis.hset(f"{prefix}routes:new", mapping={"s:f": blob, "n:f": "9", "w:w": "f"})
    redis.sadd(f"{prefix}queues", "new/default")
    redis.incr(f"{prefix}routes:version")
    with capture_logs() as lines:
        async with place.working(app, lease=0.6):
            sent = client.send_event(Event("default", payload="sent"))
            await await_until(lambda: seen)
            await await_until(lambda: redis.zcard(f"{prefix}dispatchers") == 0)
            await await_until(lambda: _in_hands(redis, f"{prefix}events", "dispatch") == 0)
            assert client.get_event(queued).is_settled
            assert client.get_event(sent.id).status == "pending"
            redis.delete(f"{prefix}routes:new")
            redis.incr(f"{prefix}routes:version")
            await await_until(lambda: len(seen) == 2)
    assert [payload for _, payload in seen] == ["queued", "sent"]
    told = [line for line in lines if "have format 2, this release evaluates 1" in str(line.get("error"))]
    assert told
    assert len(told) < 5


# The last life.


def _take_out(redis: redis_py.Redis, prefix: str, event_id: str, queue: str) -> Any:
    """Returns the fields of the event's run on its last life: it has cost two workers theirs. It is in no queue now."""
    entries: list[tuple[bytes, dict[bytes, bytes]]] = redis.xrange(f"{prefix}queue:app/{queue}")  # type: ignore[assignment]
    ((entry, fields),) = [each for each in entries if each[1][b"e"] == event_id.encode()]
    redis.xdel(f"{prefix}queue:app/{queue}", entry)
    return fields | {b"s": b"1 2 0 0 0"}


_PUT_IN = """
local entry = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))
redis.call('HSET', KEYS[2], ARGV[1], 'q 1 2 0 0 ' .. ARGV[2] .. ' ' .. entry .. ' - 0 0')
"""


def _put_in(redis: redis_py.Redis, prefix: str, queue: str, fields: dict[bytes, bytes]) -> None:
    """The run is in its queue again, and its record names the entry."""
    keys = (f"{prefix}queue:app/{queue}", f"{prefix}event:{fields[b'e'].decode()}")
    flat = [part for pair in fields.items() for part in pair]
    redis.eval(_PUT_IN, 2, *keys, f"r:app/{fields[b'j'].decode()}", queue, *flat)


async def _dispatched(place: Place, app: App, client: Client, events: list[Event]) -> list[str]:
    """The events have their runs in the queues, and no worker has taken any."""
    async with place.working(app, queues=("elsewhere",)):
        sent = client.send_events(events)
        await await_until(lambda: all(client.get_event(each.id).status in {"dispatched", "settled"} for each in sent))
    return [each.id for each in sent]


@pytest.mark.parametrize(("one", "other"), ["ab", "ba"])
async def test_a_run_on_its_last_life_executes_alone(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str, one: str, other: str
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
    ids = await _dispatched(place, app, client, events)
    _put_in(redis, prefix, one, _take_out(redis, prefix, ids[5], one))
    await place.settle(app)
    assert beside == [{"poison"}]
    assert sorted(seen) == sorted(each.payload for each in events)


async def test_a_stop_while_a_last_life_waits_for_the_others(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It goes back to its queue, as what executes does when its grace is over; nothing more is counted."""
    app, started = App("app"), asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(payload: str) -> None:
        assert payload == "long"
        started.set()
        await asyncio.sleep(600)

    long, poison = await _dispatched(place, app, client, [Event("asked", payload=each) for each in ("long", "poison")])
    last_life = _take_out(redis, prefix, poison, "default")
    async with place.working(app, grace=0.05):
        await started.wait()
        _put_in(redis, prefix, "default", last_life)
        await await_until(lambda: _in_hands(redis, f"{prefix}queue:app/default") == 2)
    runs = [client.get_event(each).runs[0] for each in (long, poison)]
    assert [(run.status, run.lost) for run in runs] == [("queued", 0), ("queued", 2)]
    assert redis.xlen(f"{prefix}queue:app/default") == 2
    redis.delete(f"{prefix}queue:app/default", *(f"{prefix}event:{each}" for each in (long, poison)))


def _in_hands(redis: redis_py.Redis, stream: str, group: str = "workers") -> int:
    summary: dict[str, Any] = redis.xpending(stream, group)
    return int(summary["pending"])


async def test_a_last_life_stops_no_worker_for_long(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """While another run takes long it is put off, with nothing counted; then it executes alone all the same."""
    app, end, seen = App("app"), asyncio.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(payload: str) -> None:
        seen.append(payload)
        if payload == "long":
            await end.wait()

    long, poison = await _dispatched(place, app, client, [Event("asked", payload=each) for each in ("long", "poison")])
    last_life = _take_out(redis, prefix, poison, "default")
    async with place.working(app, lease=0.5):
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


async def test_a_thread_that_never_ends_keeps_no_last_life_waiting(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """Its run is recorded, so nothing is lost if the process dies; and of a last life itself no more is awaited."""
    app, end, seen = App("app"), threading.Event(), []

    @app.job(id="job", trigger=event_trigger("asked"), timeout=0.05, retry=Retry(max_attempts=1))
    def job(payload: str) -> None:
        seen.append(payload)
        if payload != "innocent":
            end.wait(30)

    stuck, poison = await _dispatched(
        place, app, client, [Event("asked", payload=each) for each in ("stuck", "poison")]
    )
    last_life = _take_out(redis, prefix, poison, "default")
    async with place.working(app, lease=30):
        await await_until(lambda: client.get_event(stuck).is_settled)
        _put_in(redis, prefix, "default", last_life)
        await await_until(lambda: client.get_event(poison).is_settled)
        client.send_event(Event("asked", payload="innocent"))
        await await_until(lambda: seen == ["stuck", "poison", "innocent"])
        end.set()


async def test_a_run_whose_lives_are_used_up_is_not_called(
    place: Place, client: Client, redis: redis_py.Redis, prefix: str
) -> None:
    """It is failed and dead, with the reason, and can be run again with all its lives."""
    seen: list[Any] = []
    app = _queues_app(seen, "default")
    (event_id,) = await _dispatched(place, app, client, [Event("default")])
    _put_in(redis, prefix, "default", _take_out(redis, prefix, event_id, "default"))
    await place.settle(app, max_lost=2)
    assert seen == []
    (dead,) = client.list_dead_letters().entries
    assert (dead.reason, dead.run_id) == ("lost", f"{event_id}:app/default")
    assert client.retry_run(f"{event_id}:app/default").lost == 0
    await place.settle(app, max_lost=2)
    assert seen == [("default", None)]


# The tests' own helper.


async def test_what_has_not_settled_in_time_is_named(place: Place, client: Client, prefix: str) -> None:
    """Where it is, and how much; what executes is released, so that the call returns."""
    app = App("app")

    @app.job(id="stuck", trigger=event_trigger("stuck"), queue="slow")
    async def stuck() -> None:
        await asyncio.sleep(600)

    @app.job(id="waits", trigger=event_trigger("waits"))
    async def waits() -> None:
        raise RetryAfter(600)

    client.send_events([Event("stuck"), Event("stuck"), Event("waits")])
    with pytest.raises(NotSettled) as caught:
        await place.settle(app, timeout=0.5, grace=600)
    assert str(caught.value) == f"not settled after 0.5 s: 1 in {prefix}due, 2 in {prefix}queue:app/slow"


async def test_a_worker_that_cant_start_says_so(place: Place) -> None:
    """And not that nothing was left to do."""
    with pytest.raises(ServerUnreachable):
        await Place("unix:///nowhere.sock", place.namespace).settle(App("app"))
    with pytest.raises(ConfigurationError):
        await Place("nowhere", place.namespace).settle(App("app"))
    with pytest.raises(ConfigurationError):
        Worker(App("app"), place.url, namespace="no name")


async def test_a_worker_runs_once(place: Place) -> None:
    """A second run is refused, with what to do; it must not end at once as if it had been told to stop."""
    worker = place.make(_queues_app([], "a"))
    async with place.running(worker):
        pass
    with pytest.raises(ConfigurationError, match="make another Worker"):
        await worker.run()


async def test_a_worker_in_another_program_fails_where_it_does_not_work(place: Place, redis: redis_py.Redis) -> None:
    """The program is not ended: it hears which part is gone, and the lease has ended by then."""
    worker = place.make(_queues_app([], "a"))
    running = asyncio.ensure_future(worker.run())
    await await_until(lambda: worker._running is not None)
    worker._states[0].guard.break_off("settler")
    with pytest.raises(WorkerFailed, match="settler has ended"):
        await asyncio.wait_for(running, 30)
    assert redis.zcard(worker._states[0].keys.workers) == 0
