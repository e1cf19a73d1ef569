"""A transport has connections that never act on their own."""

from __future__ import annotations

from typing import Any

import pytest
import redis
import redis.asyncio

from headrace import AsyncClient, Client
from headrace.transport.backoff import Backoff
from headrace.transport.loop_connections import ConnectionSets
from headrace.transport.pool import REPLY_TIMEOUT_S, PoolMaker
from headrace.transport.single import AsyncTransport, Transport
from headrace.transport.urls import read_url

CLIENTS = [Client, AsyncClient]


@pytest.mark.parametrize("kind", CLIENTS)
def test_redis_py_itself_never_retries(kind: type[Client | AsyncClient]) -> None:
    """A hidden retry would hide a lost reply."""
    transport: Any = kind("redis://localhost")._transport
    options = transport.pool.connection_kwargs
    assert options["retry"].get_retries() == 0
    assert REPLY_TIMEOUT_S > 5
    # An awaited exchange has one timeout around it, in place of redis-py's around each of its reads and writes.
    assert options["socket_timeout"] == (REPLY_TIMEOUT_S if kind is Client else None)


def test_backoff_doubles_from_50_ms_to_1_s() -> None:
    """With jitter down to a half, so that many clients do not come back at once; at any number of failures."""
    for failures, most in [(1, 0.05), (2, 0.1), (3, 0.2), (5, 0.8), (6, 1.0), (7, 1.0), (10_000, 1.0)]:
        delays = [Backoff(8).delay_s(failures) for _ in range(200)]
        assert most / 2 <= min(delays) < max(delays) <= most


async def test_no_calls_ask_nothing() -> None:
    """There need not even be a server."""
    assert Transport("redis://localhost:1").run([]) == []
    assert await AsyncTransport("redis://localhost:1").run([]) == []


async def test_a_connection_that_fails_to_close_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-py gives up on it after a time with an error of its own, which the caller does not get."""
    connections = await ConnectionSets(PoolMaker(redis.asyncio.ConnectionPool, read_url("redis://h"), {})).enter()

    async def disconnect() -> None:
        raise redis.TimeoutError("Timed out closing connection after 5.0")

    monkeypatch.setattr(connections.pool, "disconnect", disconnect)
    await connections.close()
