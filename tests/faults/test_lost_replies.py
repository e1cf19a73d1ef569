"""The line is cut after the server has carried out a request: the sender asks again, and nothing is done twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from headrace import Client, Event
from headrace.scripts import load
from tests.faults.apps import flaky
from tests.faults.deployment import Deployment
from tests.support.proxy import Proxy, has_data
from tests.support.waiting import await_until

TIMES = 3


@pytest.fixture
def client(proxy: Proxy, namespace: str) -> Iterator[Client]:
    """A client whose line the proxy may cut."""
    with Client(proxy.url, namespace=namespace) as client:
        yield client


def calls_script(verb: str) -> Callable[[bytes], bool]:
    sha = load(verb).sha.encode()
    return lambda request: sha in request


def reads_new_of(stream: str) -> Callable[[bytes], bool]:
    return lambda request: b"XREADGROUP" in request and stream.encode() in request and request.endswith(b"$1\r\n>\r\n")


async def work_in_waves(deployment: Deployment, client: Client) -> list[str]:
    """Send more events each time the last ones have settled, so that no call has all of them; return their ids."""
    ids: list[str] = []
    for _ in range(TIMES + 1):
        sent = await asyncio.to_thread(client.send_events, [Event("work")] * 10)
        assert not any(each.duplicate for each in sent), "a send did not know its own repetition"
        ids += [each.id for each in sent]
        await deployment.drained("flaky", "default", "other")
    return ids


def assert_done_once(deployment: Deployment, ids: list[str]) -> None:
    """Check that every run has succeeded, with one call an attempt."""
    assert len(set(ids)) == 40
    expected = Counter(
        {(event, job, attempt): 1 for event in ids for job, attempt in (("steady", 1), ("second", 1), ("second", 2))}
    )
    assert Counter((call.event, call.job, call.attempt) for call in deployment.calls.read()) == expected
    for record in deployment.records(ids):
        assert sorted((run.job, run.status, run.attempt) for run in record.runs) == [
            ("flaky/second", "succeeded", 2),
            ("flaky/steady", "succeeded", 1),
        ]


@pytest.mark.parametrize("verb", ["send", "dispatch", "settle", "retry", "promote", "renew"])
async def test_a_script_whose_reply_is_lost_has_its_effect_once(
    deployment: Deployment, proxy: Proxy, client: Client, verb: str
) -> None:
    """All runs succeed with one call an attempt, and the worker keeps its name."""
    async with deployment.working(deployment.app("flaky"), url=proxy.url, lease=2, block=0.2) as worker:
        name = worker.name
        cut = proxy.cut_after_request(calls_script(verb), TIMES)
        ids = await work_in_waves(deployment, client)
        await await_until(lambda: cut.done == TIMES, 20, what=f"{TIMES} lost replies to {verb}")
        assert worker.name == name
        assert not deployment.is_fenced(name)
    assert_done_once(deployment, ids)


@pytest.mark.parametrize("stream", ["events", "queue"])
async def test_a_lost_reply_of_a_read_loses_no_entries(
    deployment: Deployment, proxy: Proxy, client: Client, stream: str
) -> None:
    """Entries that were delivered with the lost reply are dispatched or executed, without a second call."""
    key = deployment.keys.events if stream == "events" else deployment.queue("flaky")
    async with deployment.working(deployment.app("flaky"), url=proxy.url, lease=10, block=5):
        cut = proxy.cut_after_request(reads_new_of(key), TIMES, only=has_data)
        ids = await work_in_waves(deployment, client)
        assert cut.done == TIMES
    assert_done_once(deployment, ids)


async def test_a_lost_reply_of_a_take_loses_no_entries(deployment: Deployment, proxy: Proxy, client: Client) -> None:
    """A worker with several queues finds its unseen pending entries in each of them."""
    app = flaky(deployment.folder, second_queue="other")
    async with deployment.working(app, url=proxy.url, lease=10, block=1):
        cut = proxy.cut_after_request(calls_script("take"), TIMES, only=has_data)
        ids = await work_in_waves(deployment, client)
        assert cut.done == TIMES
    assert_done_once(deployment, ids)


async def test_a_register_whose_reply_is_lost_has_its_effect_once(
    deployment: Deployment, proxy: Proxy, client: Client
) -> None:
    """Lost groups are made again, and the worker works on."""
    async with deployment.working(deployment.app("flaky"), url=proxy.url, lease=10, block=0.2) as worker:
        cut = proxy.cut_after_request(calls_script("register"))
        deployment.redis.xgroup_destroy(deployment.queue("flaky"), "workers")
        ids = await work_in_waves(deployment, client)
        assert cut.done == 1
        assert deployment.workers() == {worker.name}
    assert_done_once(deployment, ids)


async def test_a_failed_dispatch_is_repeated_at_once(deployment: Deployment, proxy: Proxy) -> None:
    """Events whose dispatch did not reach the server are dispatched at once, though a read of events is open."""
    async with deployment.working(deployment.app("flaky"), url=proxy.url, lease=10, block=100):
        cut = proxy.cut_before_request(calls_script("dispatch"))
        event = deployment.send("work")
        await await_until(lambda: deployment.calls.of(event), 30, what="the event's runs")
        assert cut.done == 1
        await deployment.drained("flaky")
