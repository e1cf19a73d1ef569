"""Threads, tasks and both sides of a fork share a client, and an interrupted call leaves its connection in step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import pytest
import redis as redis_py

import headrace.transport.single
from headrace import AsyncClient, Client, Event, ServerUnreachable
from headrace.formats.keys import Keys
from tests.support.clients import Kind, open_client
from tests.support.processes import Processes
from tests.support.proxy import Proxy
from tests.support.waiting import await_until


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


def test_threads_share_a_client(url: str, namespace: str, redis: redis_py.Redis, keys: Keys) -> None:
    """Eight at once, 200 sends each: every answer is the sender's own, and no event is lost or doubled."""
    start = threading.Barrier(8)

    def send_many(thread: int) -> list[str]:
        start.wait(10)
        sent = [shared.send_event(Event("a", [thread, n])) for n in range(200)]
        assert [each.payload for each in sent] == [[thread, n] for n in range(200)]
        return [each.id for each in sent]

    with Client(url, namespace=namespace) as shared, ThreadPoolExecutor(8) as pool:
        ids = [made for many in pool.map(send_many, range(8)) for made in many]
    found: Any = redis.xrange(keys.events)
    assert len(set(ids)) == 1_600
    assert sorted(fields[b"i"].decode() for _, fields in found) == sorted(ids)


def test_more_threads_than_redis_py_connections_share_a_client(url: str, namespace: str) -> None:
    """Its limit of 100 would fail those beyond it."""
    together = threading.Barrier(120)
    with Client(url, namespace=namespace) as client, ThreadPoolExecutor(120) as pool:
        transport: Any = client._transport

        def send(n: int) -> None:
            connection = transport._borrow()
            together.wait(20)
            transport._idle.append(connection)
            assert client.send_event(Event("a", n)).payload == n

        assert len(list(pool.map(send, range(120)))) == 120


FORK = """
import os
from headrace import Client, Event

client = Client()
client.send_event(Event("before"))


def send_many(side):
    for n in range(100):
        assert client.get_event(client.send_event(Event("a", [side, n])).id).payload == [side, n]


def connection_id():
    connection = client._transport._borrow()
    connection.send_command("CLIENT", "ID")
    answer = connection.read_response()
    client._transport._idle.append(connection)
    return answer


children = []
for n in range(4):
    before = connection_id()
    child = os.fork()
    if child == 0:
        assert connection_id() != before
        send_many(f"child {n}")
        os._exit(0)
    children.append(child)
    send_many("parent")
    assert connection_id() == before
for child in children:
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
client.send_event(Event("after"))
client.close()
"""


def test_both_sides_of_a_fork_send(processes: Processes, redis: redis_py.Redis, keys: Keys) -> None:
    """As in a server that loads its application once and then forks: each has connections of its own."""
    process = processes.python("-W", "error", "-c", FORK)
    assert process.wait() == 0, process.output
    found: Any = redis.xrange(keys.events)
    assert len({fields[b"i"] for _, fields in found}) == len(found) == 802


def test_a_timeout_does_not_leave_a_connection_out_of_step(kind: Kind, proxy: Proxy, namespace: str) -> None:
    """The next call does not get a reply that comes too late for its own call."""
    with open_client(kind, f"{proxy.url}?socket_timeout=1.5", namespace=namespace, attempts=1) as client:
        sent = [client.send_event(Event("a", n)) for n in range(2)]
        proxy.stall()
        with pytest.raises(ServerUnreachable):
            client.get_event(sent[0].id)
        proxy.restore()
        assert client.get_event(sent[1].id).payload == 1


def test_an_interrupt_does_not_leave_a_connection_out_of_step(
    url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was interrupted between request and reply is not used again."""
    with Client(url, namespace=namespace) as client:
        sent = [client.send_event(Event("a", n)) for n in range(2)]
        receive = headrace.transport.single._receive
        monkeypatch.setattr(headrace.transport.single, "_receive", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            client.get_event(sent[0].id)
        monkeypatch.setattr(headrace.transport.single, "_receive", receive)
        transport: Any = client._transport
        (connection,) = transport.pool._available_connections
        assert connection._sock is None
        assert client.get_event(sent[1].id).payload == 1


async def test_a_canceled_task_does_not_leave_a_connection_out_of_step(proxy: Proxy, namespace: str) -> None:
    """No other call gets the reply that the task did not wait for."""
    async with AsyncClient(proxy.url, namespace=namespace) as client:
        sent = [await client.send_event(Event("a", n)) for n in range(2)]
        proxy.stall()
        task = asyncio.ensure_future(client.get_event(sent[0].id))
        transport: Any = client._transport
        await await_until(lambda: not transport._connections.current.idle)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.restore()
        assert (await client.get_event(sent[1].id)).payload == 1


async def test_tasks_share_a_client(url: str, namespace: str, redis: redis_py.Redis, keys: Keys) -> None:
    """A hundred at once: every answer is the sender's own, and no event is lost or doubled."""
    async with AsyncClient(url, namespace=namespace) as shared:

        async def send_many(task: int) -> list[str]:
            sent = [await shared.send_event(Event("a", [task, n])) for n in range(10)]
            assert [each.payload for each in sent] == [[task, n] for n in range(10)]
            return [each.id for each in sent]

        ids = [made for many in await asyncio.gather(*map(send_many, range(100))) for made in many]
    found: Any = redis.xrange(keys.events)
    assert sorted(fields[b"i"].decode() for _, fields in found) == sorted(ids)
    assert len(set(ids)) == 1_000
