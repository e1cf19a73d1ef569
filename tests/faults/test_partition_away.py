"""No node serves one slot of a cluster: processes that start then work with the partitions that are there."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

import pytest
from redis.crc import key_slot
from structlog.testing import capture_logs

from headrace import Client, Event, HeadraceError, ServerNotReady
from headrace.formats.partitions import Partitions
from headrace_worker import App, event_trigger
from tests.support.cluster import Node
from tests.support.ports import is_free
from tests.support.servers import ControlledServer
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

_NAMESPACE = "away"
_PARTITIONS = Partitions(_NAMESPACE, 4)


@pytest.fixture
async def node(make_server: Callable[..., ControlledServer]) -> Node:
    """A cluster of one node, which goes on without the slots that no node serves."""
    bus = next(port for port in iter(lambda: random.randrange(20_000, 32_000), 0) if is_free(port))
    options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", "--cluster-port", str(bus))
    server = make_server(unix_socket=False, extra=options)
    assert server.port is not None
    node = Node(server, server.port)
    node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
    await await_until(lambda: node.facts["cluster_state"] == "ok", 20, what="a cluster")
    return node


def _send_to_those_there(url: str) -> list[str]:
    """Return the ids that new clients could send."""
    sent = []
    for _ in range(24):
        client = Client(url, namespace=_NAMESPACE, partitions=4, attempts=2)
        with client, contextlib.suppress(ServerNotReady):
            sent.append(client.send_event(Event("j")).id)
    return sent


@pytest.mark.not_on("redis-6.2", reason="its cluster's bus has no port of its own choice")
@pytest.mark.parametrize("partition", [0, 3])
async def test_one_partition_away_stops_no_process_that_starts(node: Node, partition: int) -> None:
    """A worker serves the other partitions, logs which is away, and takes it on later; a client sends to the others."""
    url = f"redis+cluster://127.0.0.1:{node.port}"
    app = App("app")
    app.job(id="j", trigger=event_trigger("j"))(lambda: None)
    slot = key_slot(_PARTITIONS.all[partition].events.encode())
    node.ask("CLUSTER", "DELSLOTS", slot)
    host = WorkerHost(url, _NAMESPACE, 4)
    with capture_logs() as lines, Client(url, namespace=_NAMESPACE, partitions=4) as client:
        async with host.working(app, lease=2.0):
            sent = await asyncio.to_thread(_send_to_those_there, url)
            assert {_PARTITIONS.of(each).partition for each in sent} == {0, 1, 2, 3} - {partition}
            await await_until(lambda: all(_is_settled(client, each) for each in sent), 30, what="settled events")
            node.ask("CLUSTER", "ADDSLOTS", slot)
            late = await asyncio.to_thread(client.send_events, [Event("j")] * 16)
            assert partition in {_PARTITIONS.of(each.id).partition for each in late}
            await await_until(lambda: all(_is_settled(client, each.id) for each in late), 30, what="settled events")
    (warning,) = [line for line in lines if line["event"].startswith("partitions can't be reached")]
    assert warning["partitions"] == [partition]
    assert [line["partition"] for line in lines if line["event"] == "partition is taken on"] == [partition]


def _is_settled(client: Client, event_id: str) -> bool:
    try:
        return client.get_event(event_id).is_settled
    except HeadraceError:
        return False
