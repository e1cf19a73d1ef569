"""Runs of one ordering key keep their order and never overlap, whatever dies, fails, waits or is re-queued."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from headrace import Event
from headrace_worker import App, Context, Retry, event_trigger
from tests.faults.deployment import Deployment, worker_name
from tests.faults.turns import TurnLog
from tests.support.waiting import wait_until

MATCHED = {"dispatched", "settled"}
SETTINGS: dict[str, Any] = {"lease": 1.0, "block": 0.2}


def send_in_order(deployment: Deployment, keys: int, each: int) -> dict[str, list[str]]:
    """Send so many events of each key, the keys in turn, and return the ids of each in their order."""
    sent: dict[str, list[str]] = defaultdict(list)
    for number in range(each):
        for key in range(keys):
            sent[f"key {key}"].append(deployment.send("step", number, ordering_key=f"key {key}"))
    return sent


def assert_in_order(deployment: Deployment, sent: dict[str, list[str]], *jobs: str) -> None:
    """Check that each run of a job and a key ended before the next began, in the order of the sends."""
    log = TurnLog(deployment.folder).read()
    for job in jobs:
        for key, ids in sent.items():
            mine = [turn for turn in log if turn.job == job and turn.event in ids]
            assert list(dict.fromkeys(turn.event for turn in mine if turn.is_last)) == ids, (job, key)
            places = [ids.index(turn.event) for turn in mine]
            assert places == sorted(places), f"{job} of {key} overlapped"


def wait_drained(deployment: Deployment) -> None:
    """Return when everything has settled; check that no ordering key has left anything."""
    patterns = [f"{deployment.keys.prefix}{kind}:*" for kind in ("order", "turns")]
    wait_until(lambda: not [key for each in patterns for key in deployment.redis.keys(each)], 120, interval=0.05)
    for queue in ("default", "second"):
        wait_until(lambda queue=queue: deployment.open_work("ordered", queue) == 0, 60, what="drained queues")  # type: ignore[misc]


async def drained(deployment: Deployment) -> None:
    """As `wait_drained`, while the event loop goes on."""
    await asyncio.to_thread(wait_drained, deployment)


async def test_several_workers_keep_the_order_of_each_key(deployment: Deployment) -> None:
    """Two jobs of two queues run each key one at a time and in order, keys beside each other, failures included."""
    app = deployment.app("ordered")
    async with (
        deployment.working(app, **SETTINGS),
        deployment.working(app, **SETTINGS),
        deployment.working(app, **SETTINGS),
    ):
        sent = await asyncio.to_thread(send_in_order, deployment, 10, 10)
        await drained(deployment)
    assert_in_order(deployment, sent, "steady", "flaky")


async def test_a_batch_of_one_key_runs_in_its_order(deployment: Deployment) -> None:
    """Events that were sent in one call, more than one batch of them, run in the order of the call."""
    events = [Event("quick", number) for number in range(700)]
    ids = [event.id for event in deployment.client.send_events(events, ordering_key="key")]
    app = deployment.app("ordered")
    async with deployment.working(app, **SETTINGS), deployment.working(app, **SETTINGS):
        await drained(deployment)
    assert_in_order(deployment, {"key": ids}, "quick")


async def test_other_keys_do_not_wait(deployment: Deployment) -> None:
    """While a run blocks its key, runs of other keys and without one go on; the runs of its own key follow later."""
    app = deployment.app("ordered")
    async with deployment.working(app, **SETTINGS):
        first = deployment.send("held", "gate", ordering_key="a")
        second, other, free = (deployment.send("held", ordering_key=key) for key in ("a", "b", None))
        for event_id in (other, free):
            await asyncio.to_thread(deployment.client.wait_for_event, event_id, 30)
        (waits,) = deployment.client.get_event(second).runs
        assert (waits.status, waits.attempt, waits.started_at) == ("waiting", 1, None)
        assert deployment.client.get_event(first).runs[0].status in ("queued", "executing")
        deployment.open_gate("gate")
        await drained(deployment)
    log = [turn.event for turn in TurnLog(deployment.folder).read()]
    assert log.index(second) > max(place for place, event in enumerate(log) if event == first)


@pytest.mark.leaves_records
async def test_a_dead_lettered_run_releases_its_key(deployment: Deployment) -> None:
    """A run that fails for good, or can't be read, blocks no other run; a retried run goes to the end of its key."""
    app = App("ordered")
    seen: list[Any] = []

    @app.job(id="picky", trigger=event_trigger("picky"), retry=Retry(max_attempts=1))
    async def picky(payload: Any, ctx: Context) -> None:
        seen.append((payload[:5], ctx.event.ordering_key))
        if payload == "bad":
            raise ValueError(payload)

    large = "x" * 9_000
    lost, bad, gone, good = (deployment.send("picky", each, ordering_key="k") for each in (large, "bad", large, "good"))
    async with deployment.working(app, queues=("idle",), **SETTINGS):
        await asyncio.to_thread(wait_until, lambda: deployment.client.get_event(good).status in MATCHED, 30)
    for event_id in (lost, gone):  # the one has its turn, the other has not
        deployment.redis.hdel(deployment.keys.event(event_id), "e")
    async with deployment.working(app, **SETTINGS):
        await asyncio.to_thread(deployment.client.wait_for_event, good, 30)
        assert deployment.client.retry_run(f"{bad}:ordered/picky").status in ("queued", "executing", "failed")
        await drained(deployment)
    assert seen == [("bad", "k"), ("good", "k"), ("bad", "k")]


async def test_a_run_with_a_deleted_entry_blocks_its_key_until_a_retry(deployment: Deployment) -> None:
    """Other keys go on. After the retry the run is called in its place, and the runs behind it after it."""
    app = deployment.app("ordered")
    async with deployment.working(app, queues=("idle",), **SETTINGS):
        ids = [deployment.send("quick", number, ordering_key="k") for number in range(4)]
        await asyncio.to_thread(
            wait_until, lambda: all(record.status in MATCHED for record in deployment.records(ids)), 30
        )
    assert deployment.redis.xtrim(deployment.queue("ordered"), maxlen=0, approximate=False) == 1
    async with deployment.working(app, **SETTINGS):
        other = deployment.send("quick", ordering_key="another")
        await asyncio.to_thread(deployment.client.wait_for_event, other, 30)
        statuses = [deployment.statuses(event)["quick"] for event in ids]
        assert statuses == ["queued", "waiting", "waiting", "waiting"]
        assert deployment.client.retry_run(f"{ids[0]}:ordered/quick").status in ("queued", "executing", "succeeded")
        await drained(deployment)
    assert_in_order(deployment, {"k": ids}, "quick")


async def test_events_with_deleted_entries_go_with_the_next_of_their_key(deployment: Deployment) -> None:
    """They are dispatched from the key's order, before it."""
    app = deployment.app("ordered")
    ids = [deployment.send("quick", number, ordering_key="k") for number in range(4)]
    assert deployment.redis.xtrim(deployment.keys.events, maxlen=1, approximate=False) == 3
    async with deployment.working(app, **SETTINGS):
        await drained(deployment)
    assert_in_order(deployment, {"k": ids}, "quick")


async def test_delayed_events_enter_the_order_when_they_are_due(deployment: Deployment) -> None:
    """They go behind what was sent before they were due, and before what is sent after."""
    app = deployment.app("ordered")
    late = [deployment.send("quick", number, ordering_key="k", deliver_after=0.3 + number / 100) for number in range(5)]
    early = [deployment.send("quick", number, ordering_key="k") for number in range(5)]
    async with deployment.working(app, **SETTINGS):
        await drained(deployment)
    assert_in_order(deployment, {"k": early + late}, "quick")


def test_killed_workers_keep_the_order_of_each_key(deployment: Deployment) -> None:
    """Workers are killed again and again: a key's next run begins only when the last one has ended."""
    settings = {**SETTINGS, "max_lost": 10}  # a run that sees three of them die would be dead, rightly, without an end
    sent = send_in_order(deployment, 20, 20)
    count = len(sent) * 20
    for kill in range(1, 5):
        workers = [deployment.start_worker("ordered", dispatchers=2, **settings) for _ in range(2)]
        for worker in workers:
            worker_name(worker)
        until = count * kill // 5
        wait_until(lambda until=until: TurnLog(deployment.folder).count() >= until, 60, what=f"{until} calls")  # type: ignore[misc]
        for worker in workers:
            worker.kill()
    worker = deployment.start_worker("ordered", **settings)
    wait_drained(deployment)
    worker.terminate()
    assert_in_order(deployment, sent, "steady", "flaky")


async def test_a_key_does_not_wait_for_the_next_leader(deployment: Deployment) -> None:
    """A killed worker still leads; each settle queues the key's next run by itself."""
    settings: dict[str, Any] = {"lease": 60.0, "block": 0.2}
    leader = deployment.start_worker("gates", **settings)
    name = worker_name(leader)
    await asyncio.to_thread(wait_until, lambda: deployment.leader() == name, 30, what="a leader")
    async with deployment.working(deployment.app("ordered"), dispatchers=2, **settings):
        first = deployment.send("held", "gate", ordering_key="k")
        ids = [first, *(deployment.send("held", ordering_key="k") for _ in range(4))]
        await asyncio.to_thread(
            wait_until, lambda: all(record.status in MATCHED for record in deployment.records(ids)), 30
        )
        leader.kill()
        deployment.open_gate("gate")
        await drained(deployment)
        assert deployment.leader() == name, "another leads by now, which may have done it"
    assert_in_order(deployment, {"k": ids}, "held")


@pytest.mark.parametrize("held", [1, 3])
async def test_a_later_event_does_not_overtake_one_of_a_dead_dispatcher(deployment: Deployment, held: int) -> None:
    """A dispatcher first dispatches the earlier events of a key, which the dead dispatcher had read."""
    app = deployment.app("ordered")
    deployment.register_dead("dead", "ordered")
    ids = [deployment.send("quick", number, ordering_key="k") for number in range(5)]
    deployment.redis.xreadgroup("dispatch", "dead", {deployment.keys.events: ">"}, count=held)
    async with deployment.working(app, **SETTINGS):
        await drained(deployment)
    assert_in_order(deployment, {"k": ids}, "quick")
