"""The server is at its `maxmemory`: it takes nothing new, all that it holds drains, and then it takes events again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from headrace import Event, Retention, ServerFull
from tests.faults.scene import Scene
from tests.support.waiting import await_until


def used(scene: Scene) -> int:
    return int(scene.redis.info("memory")["used_memory"])


@pytest.mark.parametrize("partitions", [1, 4])
async def test_a_full_server_drains_with_every_worker_restarted(
    make_scene: Callable[..., Scene], partitions: int
) -> None:
    """Workers register, dispatch, retry, promote and settle where a send is refused, until there is room again."""
    scene = make_scene(partitions)
    settings: dict[str, Any] = {"lease": 5.0, "block": 0.2, "retention": Retention(success=0)}
    async with scene.working(scene.app("flaky"), **settings):
        pass  # so that its routes are known
    # More than the workers' connections take, of which there are some for each partition.
    events = [Event("work", payload="x" * 6000) for _ in range(100 * partitions)]
    ids = [sent.id for sent in scene.client.send_events(events)]
    scene.redis.config_set("maxmemory", used(scene) - 100_000)
    with pytest.raises(ServerFull, match="nothing of this call"):
        scene.client.send_event(Event("work"))

    async with scene.working(scene.app("flaky"), **settings), scene.working(scene.app("flaky"), **settings):
        assert used(scene) > scene.redis.info("memory")["maxmemory"]
        await scene.drained("flaky")
        expected = {(event, job): calls for event in ids for job, calls in (("steady", 1), ("second", 2))}
        assert scene.calls.counts() == Counter(expected)
        limit = scene.redis.info("memory")["maxmemory"]
        # Buffers of connections grew with what went through them; the server takes them back when those are idle.
        await await_until(lambda: used(scene) < limit - 20_000, 30, what="room")
        again = scene.send("work")
        await scene.drained("flaky")
    assert len(scene.calls.of(again)) == 3


async def test_events_of_an_app_without_workers_hold_up_no_others_on_a_full_server(
    make_scene: Callable[..., Scene],
) -> None:
    """Their queue is not empty and will not be, so they wait; those behind them are dispatched all the same."""
    scene = make_scene()
    settings: dict[str, Any] = {"lease": 5.0, "block": 0.2, "retention": Retention(success=0)}
    async with scene.working(scene.app("gates"), **settings):
        pass
    async with scene.working(scene.app("flaky"), **settings):
        queued = scene.send("quick")
        await await_until(lambda: scene.redis.xlen(scene.queue("gates")) == 1, what="a run that nobody fetches")
    stuck = scene.send("quick")
    events = scene.client.send_events([Event("work", payload="x" * 6000) for _ in range(20)])
    scene.redis.config_set("maxmemory", 1_000_000)
    async with scene.working(scene.app("flaky"), **settings):
        await await_until(lambda: scene.calls.count() == 3 * len(events), 30, what="the runs of the other app")
        assert {call.event for call in scene.calls.read()} == {sent.id for sent in events}
        async with scene.working(scene.app("gates"), **settings):
            await scene.drained("gates")
            await scene.drained("flaky")
    assert [len(scene.calls.of(event)) for event in (queued, stuck)] == [1, 1]
