"""On a Redis Cluster the partitions are spread over its masters; moves of slots and deaths of masters lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from headrace import AsyncClient, Client, Event, ServerError, UnsupportedServer
from headrace.cluster.slots import slot_of
from headrace.formats.partitions import Partitions
from headrace_worker import App, Context, JobIO, Retry, event_trigger
from headrace_worker.operate.app_client import AppClient
from headrace_worker.operate.forget_app import ForgottenApp
from tests.support.cluster import Cluster, Node
from tests.support.servers import ControlledServer
from tests.support.tls import Authority
from tests.support.waiting import await_until, wait_until
from tests.support.workers import WorkerHost

N = 6
NAMESPACE = "prod"
PARTITIONS = Partitions(NAMESPACE, N)


@pytest.fixture(scope="module")
def cluster(
    server_binary: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Three masters; over TLS if the test says so."""
    servers: list[ControlledServer] = []

    def make(**options: Any) -> ControlledServer:
        servers.append(ControlledServer(binary=server_binary, **options))
        servers[-1].start()
        return servers[-1]

    is_secure = getattr(request, "param", "plain") == "tls"
    cluster = Cluster(make, authority=Authority(tmp_path_factory.mktemp("tls"), "authority") if is_secure else None)
    yield cluster
    cluster.close()
    for server in servers:
        server.stop()


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "cluster" in request.fixturenames:
        for node in request.getfixturevalue("cluster").masters:
            node.client.flushall()


def make_app(seen: Counter[Any]) -> App:
    app = App("app")

    @app.job(id="echo", trigger=event_trigger("echo"))
    async def echo(payload: Any) -> Any:
        seen[payload] += 1
        return payload

    @app.job(id="fan", trigger=event_trigger("fan"), retry=Retry(max_attempts=2, min_delay=0.05))
    async def fan(io: JobIO, ctx: Context) -> None:
        await io.send_events("all", [Event("echo", payload=f"fan-{n}") for n in range(12)])
        if not ctx.run.is_retry:
            raise RuntimeError("again")

    return app


def _events(first: int, count: int) -> list[Event]:
    return [Event("echo", payload=n, id=f"e{n}") for n in range(first, first + count)]


@pytest.mark.parametrize("cluster", ["plain", pytest.param("tls", marks=pytest.mark.slow)], indirect=True)
async def test_events_live_on_all_masters(cluster: Cluster) -> None:
    """Sent in one call, now and for later, by both clients; run, sent on, listed, waited for and retried."""
    host, seen = WorkerHost(cluster.url, NAMESPACE, N), Counter[Any]()
    with Client(cluster.url, namespace=NAMESPACE, partitions=N) as client:
        assert [each.payload for each in client.send_events(_events(0, 60))] == list(range(60))
        assert all(cluster.stored(f"headrace:{{{NAMESPACE}:*}}:events").values())
        client.send_events(_events(60, 20), deliver_after=0.2)
        client.send_event(Event("fan"))
        assert client.send_event(_events(0, 1)[0]).duplicate
        await host.settle(make_app(seen), timeout=60)
        assert seen == Counter([*range(80), *(f"fan-{n}" for n in range(12))])
        assert len(client.list_runs(job="app/echo", limit=1_000).items) == 92
        assert client.wait_for_event("e7", 5).runs[0].output == 7
    async with AsyncClient(cluster.url, namespace=NAMESPACE, partitions=N) as awaited, host.working(make_app(seen)):
        sent = await awaited.send_events(_events(100, 12))
        for event in sent:
            assert (await awaited.wait_for_event(event.id, 30)).runs[0].status == "succeeded"
        assert [(await awaited.get_event(event.id)).payload for event in sent] == list(range(100, 112))


async def test_an_app_is_registered_and_forgotten_on_all_masters(cluster: Cluster) -> None:
    """Events of every partition get their runs, which wait; after that none does, and the runs left are counted."""
    host, dispatcher = WorkerHost(cluster.url, NAMESPACE, N), App("dispatcher", dispatch_only=True)
    with AppClient(cluster.url, namespace=NAMESPACE, partitions=N) as client:
        assert client.register_app(make_app(Counter())).status == "registered"
        client.send_events(_events(0, 60))
        await host.settle(dispatcher)
        assert client.forget_app("app").queues == {"default": 60}
        client.send_events(_events(60, 60))
        await host.settle(dispatcher)
        assert client.forget_app("app") == ForgottenApp(
            "app", had_subscriptions=False, queues={"default": 60}, delayed=0, is_complete=True
        )


async def test_a_queue_is_paused_and_limited_on_all_masters(cluster: Cluster) -> None:
    """Events of every partition wait, and go on."""
    host, seen = WorkerHost(cluster.url, NAMESPACE, N), Counter[Any]()
    with Client(cluster.url, namespace=NAMESPACE, partitions=N) as client:
        async with host.working(make_app(seen)):
            client.pause_queue("app/default")
            sent = client.send_events(_events(0, 30))
            await await_until(lambda: all(client.get_event(each.id).status == "dispatched" for each in sent), 30)
            assert not seen
            assert client.limit_queue("app/default", N).limit == N
            client.resume_queue("app/default")
            await await_until(lambda: seen == Counter(range(30)), 30)


async def test_a_limit_is_heard_of_on_a_cluster(cluster: Cluster) -> None:
    """A worker in one partition waits in a long read when the limit is set, and takes as many runs as it allows."""
    app, executing, go_on = App("app"), Counter[Any](), asyncio.Event()

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job() -> None:
        executing["now"] += 1
        await go_on.wait()

    async with WorkerHost(cluster.url, "one").working(app, block=60.0, lease=60.0):
        with Client(cluster.url, namespace="one") as client:
            first = client.send_event(Event("asked"))
            await await_until(lambda: executing["now"] == 1)
            client.limit_queue("app/default", 3)
            sent = client.send_events([Event("asked") for _ in range(5)])
            await await_until(lambda: executing["now"] == 3)
            go_on.set()
            for event in (first, *sent):
                await asyncio.to_thread(client.wait_for_event, event.id, 30)


def _until_canceled(began: asyncio.Event, ended: asyncio.Event) -> App:
    """Return an app with one job, which ends only when it is canceled."""
    app = App("app")

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job() -> None:
        began.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    return app


async def test_a_node_that_is_away_silences_no_other(make_server: Callable[..., ControlledServer]) -> None:
    """A run of a partition that is there is canceled at once, while the node of partition 0 is gone."""
    cluster, began, ended = Cluster(make_server), asyncio.Event(), asyncio.Event()
    for node in cluster.masters:
        node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    away = cluster.master_of(PARTITIONS.first.events)
    keys = next(each for each in PARTITIONS.all if cluster.master_of(each.events) is not away)
    event_id = next(f"e{number}" for number in range(1_000) if PARTITIONS.of(f"e{number}") is keys)
    there = [node for node in cluster.masters if node is not away]
    async with AsyncClient(cluster.url, namespace=NAMESPACE, partitions=N) as client:
        host = WorkerHost(cluster.url, NAMESPACE, N)
        worker = host.make(_until_canceled(began, ended), block=60.0, lease=60.0, grace=0)
        running = asyncio.ensure_future(worker.run())
        await client.send_event(Event("asked", id=event_id))
        await asyncio.wait_for(began.wait(), 30)
        away.server.kill()

        def listens() -> bool:
            return any(node.client.pubsub_numsub(keys.canceled_channel)[0][1] for node in there)

        await await_until(listens, 20, what="a subscription at a node that is there")
        await client.cancel_run(f"{event_id}:app/job")
        await asyncio.wait_for(ended.wait(), 20)
        worker.stop()
        with contextlib.suppress(Exception):  # it can't leave the partition that is away in order
            await asyncio.wait_for(running, 30)
    cluster.close()


_HALF = {"ASK", "TRYAGAIN"}


class Load:
    """Sends events of rising numbers, ten at a time, until it is stopped.

    Attributes:
        sent: how many were acknowledged.
        longest_s: how long the longest call took.
    """

    def __init__(self, url: str, attempts: int = 20) -> None:
        self.client = AsyncClient(url, namespace=NAMESPACE, partitions=N, attempts=attempts, timeout=None)
        self.sent = 0
        self.longest_s = 0.0
        self._may_go = asyncio.Event()
        self._may_go.set()
        self._rests = asyncio.Event()
        self._is_over = False

    async def __aenter__(self) -> Self:
        self._sending = asyncio.ensure_future(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self.client.close()

    async def stop(self) -> None:
        self._is_over = True
        self._may_go.set()
        await self._sending

    async def rest(self) -> None:
        """Return when everything that was sent is acknowledged; send nothing more until `go_on`."""
        self._rests.clear()
        self._may_go.clear()
        await self._rests.wait()

    def go_on(self) -> None:
        self._may_go.set()

    async def _send(self) -> None:
        while not self._is_over:
            if not self._may_go.is_set():
                self._rests.set()
            await self._may_go.wait()
            began = time.monotonic()
            await self.client.send_events(_events(self.sent, 10))
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.sent += 10
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("cluster", ["plain", "tls"], indirect=True)
async def test_a_slot_is_moved_under_load(cluster: Cluster) -> None:
    """What was sent before, during and after the move has run, each event once, and all keys are at the new master."""
    seen = Counter[Any]()
    host, moved = WorkerHost(cluster.url, NAMESPACE, N), PARTITIONS.all[2].events
    source = cluster.master_of(moved)
    target = next(node for node in cluster.masters if node is not source)
    async with host.working(make_app(seen)), Load(cluster.url) as load:
        await await_until(lambda: len(seen) > 100, 30)
        source.forget_errors()
        # Half of its keys are moved when calls come for both halves.
        await asyncio.to_thread(cluster.migrate, moved, target, lambda: wait_until(lambda: source.errors & _HALF, 30))
        before = load.sent
        await await_until(lambda: load.sent > before + 200 and len(seen) > before + 100, 60)
        await load.stop()
        await await_until(lambda: len(seen) == load.sent, 60)
    await host.settle(make_app(seen), timeout=60)
    assert seen == Counter(range(load.sent))
    assert cluster.master_of(moved) is target
    assert "MOVED" in source.errors
    assert source.ask("CLUSTER", "COUNTKEYSINSLOT", slot_of(("GET", moved))) == 0
    await asyncio.to_thread(cluster.migrate, moved, source)


async def test_scripts_that_a_node_does_not_know_are_sent_whole(cluster: Cluster) -> None:
    """All nodes have lost the scripts; no call fails."""
    seen = Counter[Any]()
    host = WorkerHost(cluster.url, NAMESPACE, N)
    async with AsyncClient(cluster.url, namespace=NAMESPACE, partitions=N) as client, host.working(make_app(seen)):
        for first in range(0, 60, 20):
            for node in cluster.masters:
                node.client.script_flush()
            await client.send_events(_events(first, 20))
            await await_until(lambda first=first: len(seen) == first + 20, 30)  # type: ignore[misc]


def test_a_server_that_is_no_cluster_is_refused(make_server: Callable[..., ControlledServer]) -> None:
    """The error says by which URL to name it."""
    url = make_server(unix_socket=False).tcp_url.replace("redis://", "redis+cluster://")
    with Client(url) as client, pytest.raises(UnsupportedServer, match="no node of a Redis Cluster; name it by redis:"):
        client.send_event(Event("a"))


def test_a_node_that_is_named_as_a_server_names_the_cluster(cluster: Cluster) -> None:
    """The error says where the keys are, and how to name the cluster."""
    home = cluster.master_of(PARTITIONS.first.events)
    other = next(node for node in cluster.masters if node is not home)
    with Client(other.server.tcp_url, namespace=NAMESPACE) as client, pytest.raises(ServerError) as caught:
        client.send_event(Event("a"))
    assert f"127.0.0.1:{home.server.port} serves the keys; name the cluster by redis+cluster://" in str(caught.value)


def _kill(cluster: Cluster, victim: Node) -> float:
    """Kill a master, and return after how many seconds the other nodes name a new master for its slots."""
    victim.server.kill()
    began = time.monotonic()
    wait_until(lambda: cluster.master_of(PARTITIONS.first.events) is not victim, 60, what="another master")
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("node_timeout_ms", [1_000, 5_000])
async def test_a_master_is_killed_under_load(
    make_server: Callable[..., ControlledServer], capsys: pytest.CaptureFixture[str], node_timeout_ms: int
) -> None:
    """Its replica takes over, and has everything that the master had when it died.

    What a master acknowledges is with its replica a moment later; so it dies when both have the same, at work.
    """
    cluster, seen = Cluster(make_server, replicas=1, node_timeout_ms=node_timeout_ms), Counter[Any]()
    host, victim = WorkerHost(cluster.url, NAMESPACE, N), cluster.master_of(PARTITIONS.first.events)
    async with host.working(make_app(seen), lease=6, concurrency=20), Load(cluster.url, attempts=100) as load:
        await await_until(lambda: len(seen) > 200, 30)
        sent = await load.client.send_events([Event("other")] * 20, wait_replicas=1, wait_replicas_timeout=5)
        assert {event.replicas for event in sent} == {1}  # each master was asked for its own
        await load.rest()
        await asyncio.to_thread(victim.ask, "WAIT", 1, 5_000)
        before = load.sent
        load.go_on()
        election_s = await asyncio.to_thread(_kill, cluster, victim)
        await await_until(lambda: load.sent > before + 200, 60, what="sends after the failover")
        await load.stop()
        await await_until(lambda: len(seen) == load.sent, 90, what="all runs")
        for number in range(0, load.sent, 97):
            assert (await load.client.get_event(f"e{number}")).status != "delayed"
    await host.settle(make_app(seen), timeout=90)
    assert set(seen) == set(range(load.sent))
    assert cluster.master_of(PARTITIONS.first.events) in cluster.replicas[victim.id]
    cluster.close()
    with capsys.disabled():
        print(
            f"\ncluster-node-timeout {node_timeout_ms}: another master after {election_s:.1f} s, longest send "
            f"{load.longest_s:.1f} s; {load.sent} events, 0 lost, {seen.total() - len(seen)} runs called again"
        )
