"""A line that is slow, or half open: it takes what is sent and is silent, and no error tells of it."""

from __future__ import annotations

from tests.faults.scene import Scene
from tests.support.proxy import Proxy
from tests.support.waiting import await_until


async def test_a_worker_on_a_half_open_line_loses_its_runs_and_comes_back(scene: Scene, proxy: Proxy) -> None:
    """Another worker executes what it held; when the line flows again it drops its outcome and has a new name."""
    async with scene.working(scene.app("gates"), url=proxy.url, lease=2, block=0.3) as silent:
        old = silent.name
        held = scene.send("hold", "held")
        await await_until(lambda: scene.calls.of(held), what="the first call")
        async with scene.working(scene.app("gates"), lease=2, block=0.3) as heir:
            proxy.stall()
            await await_until(lambda: len(scene.calls.of(held)) == 2, 60, what="the second call")
            assert scene.is_fenced(old)
            scene.open_gate("held")
            await scene.drained("gates")
            (run,) = scene.client.get_event(held).runs
            assert (run.status, run.worker, run.lost) == ("succeeded", heir.name, 1)
            proxy.restore()
            await await_until(lambda: silent.name != old and scene.is_registered(silent.name), 60, what="a new name")
            assert scene.client.get_event(held).runs == [run]
        after = scene.send("quick")
        await scene.drained("gates")
        (run,) = scene.client.get_event(after).runs
        assert (run.status, run.worker) == ("succeeded", silent.name)


async def test_a_worker_on_a_slow_line_is_only_slow(scene: Scene, proxy: Proxy) -> None:
    """Each call once, and it keeps its name, though a renewal takes long."""
    async with scene.working(scene.app("flaky"), url=proxy.url, lease=8, block=0.3) as worker:
        name = worker.name
        proxy.slow(0.075)
        ids = scene.send_many("work", 30)
        await scene.drained("flaky")
        assert (worker.name, scene.is_fenced(name)) == (name, False)
        proxy.restore()
    assert scene.calls.counts() == {
        (event, job): 1 + (job == "second") for event in ids for job in ("steady", "second")
    }
    assert {status for event in ids for status in scene.statuses(event).values()} == {"succeeded"}
