"""A line is slow, or half open: it takes what is sent and stays silent, without an error."""

from __future__ import annotations

from tests.faults.deployment import Deployment
from tests.support.proxy import Proxy
from tests.support.waiting import await_until


async def test_a_worker_on_a_half_open_line_loses_its_runs_and_comes_back(deployment: Deployment, proxy: Proxy) -> None:
    """Another worker executes its runs. When the line works again, it drops its outcomes and takes a new name."""
    async with deployment.working(deployment.app("gates"), url=proxy.url, lease=2, block=0.3) as silent:
        old = silent.name
        held = deployment.send("hold", "held")
        await await_until(lambda: deployment.calls.of(held), what="the first call")
        async with deployment.working(deployment.app("gates"), lease=2, block=0.3) as heir:
            proxy.stall()
            await await_until(lambda: len(deployment.calls.of(held)) == 2, 60, what="the second call")
            assert deployment.is_fenced(old)
            deployment.open_gate("held")
            await deployment.drained("gates")
            (run,) = deployment.client.get_event(held).runs
            assert (run.status, run.worker, run.lost) == ("succeeded", heir.name, 1)
            proxy.restore()
            await await_until(
                lambda: silent.name != old and deployment.is_registered(silent.name), 60, what="a new name"
            )
            assert deployment.client.get_event(held).runs == [run]
        after = deployment.send("quick")
        await deployment.drained("gates")
        (run,) = deployment.client.get_event(after).runs
        assert (run.status, run.worker) == ("succeeded", silent.name)


async def test_a_worker_on_a_slow_line_is_only_slow(deployment: Deployment, proxy: Proxy) -> None:
    """Each run is called once, and the worker keeps its name, though a renewal takes long."""
    async with deployment.working(deployment.app("flaky"), url=proxy.url, lease=8, block=0.3) as worker:
        name = worker.name
        proxy.slow(0.075)
        ids = deployment.send_many("work", 30)
        await deployment.drained("flaky")
        assert (worker.name, deployment.is_fenced(name)) == (name, False)
        proxy.restore()
    assert deployment.calls.counts() == {
        (event, job): 1 + (job == "second") for event in ids for job in ("steady", "second")
    }
    assert {status for event in ids for status in deployment.statuses(event).values()} == {"succeeded"}
