"""The server is at its `maxmemory`: it takes nothing new, everything on it drains, and then it takes events again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from headrace import Event, Retention, SendOptions, ServerFull
from tests.faults.deployment import Deployment
from tests.support.clients import KINDS, Kind, open_client
from tests.support.waiting import await_until


def used(deployment: Deployment) -> int:
    return int(deployment.redis.info("memory")["used_memory"])


@pytest.mark.parametrize("partitions", [1, 4])
async def test_a_full_server_drains_with_every_worker_restarted(
    make_deployment: Callable[..., Deployment], partitions: int
) -> None:
    """Workers register, dispatch, retry, promote and settle while sends are refused, until there is room again."""
    deployment = make_deployment(partitions)
    settings: dict[str, Any] = {"lease": 5.0, "block": 0.2, "retention": Retention(success=0)}
    async with deployment.working(deployment.app("flaky"), **settings):
        pass  # so that its routes are known
    # More than the workers' connections take, of which there are some for each partition.
    events = [Event("work", payload="x" * 6000) for _ in range(100 * partitions)]
    ids = [sent.id for sent in deployment.client.send_events(events)]
    deployment.redis.config_set("maxmemory", used(deployment) - 100_000)
    with pytest.raises(ServerFull, match="nothing of this call"):
        deployment.client.send_event(Event("work"))

    async with (
        deployment.working(deployment.app("flaky"), **settings),
        deployment.working(deployment.app("flaky"), **settings),
    ):
        assert used(deployment) > deployment.redis.info("memory")["maxmemory"]
        await deployment.drained("flaky")
        expected = {(event, job): calls for event in ids for job, calls in (("steady", 1), ("second", 2))}
        assert deployment.calls.counts() == Counter(expected)
        limit = deployment.redis.info("memory")["maxmemory"]
        # Buffers of connections grew with what went through them; the server takes them back when those are idle.
        await await_until(lambda: used(deployment) < limit - 20_000, 30, what="room")
        again = deployment.send("work")
        await deployment.drained("flaky")
    assert len(deployment.calls.of(again)) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("partitions", [1, 4])
def test_a_server_that_fills_up_has_the_first_events_of_each_key(
    make_deployment: Callable[..., Deployment], kind: Kind, partitions: int
) -> None:
    """Whichever batch was refused, no event has overtaken another of its key; the error holds what was sent."""
    deployment = make_deployment(partitions)
    keys = [f"user-{number}" for number in range(3)]
    items = [
        (Event("work", "x" * 2_000, id=f"{key} {number}"), SendOptions(ordering_key=key))
        for number in range(1_500)
        for key in keys
    ]
    deployment.redis.config_set("maxmemory", used(deployment) + 8_000_000)
    with (
        open_client(kind, deployment.url, namespace=deployment.namespace, partitions=partitions) as client,
        pytest.raises(ServerFull, match="`sent` of this error holds those") as caught,
    ):
        client.send_events(items)
    deployment.redis.config_set("maxmemory", 0)
    sent = [event.id for event in caught.value.sent]
    assert 0 < len(sent) < len(items)
    for key in keys:
        order = deployment.partitions.of(key).order(key)
        mine = [each for each in sent if each.startswith(key)]
        assert [each.decode() for each in deployment.redis.lrange(order, 0, -1)] == mine
        assert mine == [f"{key} {number}" for number in range(len(mine))]


async def test_events_of_an_app_without_workers_hold_up_no_others_on_a_full_server(
    make_deployment: Callable[..., Deployment],
) -> None:
    """The events of that app wait, as their queue does not drain; the events behind them are dispatched."""
    deployment = make_deployment()
    settings: dict[str, Any] = {"lease": 5.0, "block": 0.2, "retention": Retention(success=0)}
    async with deployment.working(deployment.app("gates"), **settings):
        pass
    async with deployment.working(deployment.app("flaky"), **settings):
        queued = deployment.send("quick")
        await await_until(
            lambda: deployment.redis.xlen(deployment.queue("gates")) == 1, what="a run that no worker fetches"
        )
    stuck = deployment.send("quick")
    events = deployment.client.send_events([Event("work", payload="x" * 6000) for _ in range(20)])
    deployment.redis.config_set("maxmemory", 1_000_000)
    async with deployment.working(deployment.app("flaky"), **settings):
        await await_until(lambda: deployment.calls.count() == 3 * len(events), 30, what="the runs of the other app")
        assert {call.event for call in deployment.calls.read()} == {sent.id for sent in events}
        async with deployment.working(deployment.app("gates"), **settings):
            await deployment.drained("gates")
            await deployment.drained("flaky")
    assert [len(deployment.calls.of(event)) for event in (queued, stuck)] == [1, 1]
