"""Connections are made as the URL says, and a URL that says nothing sensible is refused at once."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from headrace import AsyncClient, Client, ConfigurationError
from headrace.backoff import Backoff
from headrace.pool import pool_options
from headrace.transport import AsyncTransport, Transport

CLIENTS = [Client, AsyncClient]


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost",
        "redis+sentinel://localhost",
        "redis+sentinel:///mill",
        "redis+sentinel://localhost,/mill",
        "redis+sentinel://localhost:port/mill",
        "redis+sentinel://localhost/mill/prod",
        "redis+sentinel://localhost/mill/0/1",
        "redis+sentinel://localhost/mill?colour=red",
        "unix+sentinel://localhost/mill",
        "redis://localhost:port/0",
        "redis://localhost:99999/0",
        "redis://[::1/0",
        "redis://localhost/prod",
        "redis://localhost/0/1",
        "redis://localhost/0?socket_timeout=soon",
        "redis://localhost/0?colour=red",
        "unix:///tmp/server.sock?colour=red",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once(kind: type[Client | AsyncClient], url: str) -> None:
    """Not at the first call: the error shows the URL and what is wrong with it."""
    with pytest.raises(ConfigurationError) as caught:
        kind(url)
    assert f"{url!r} is no URL of a server: " in str(caught.value)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    "url",
    [
        "http://:s3cret@localhost",
        "redis://user:s3cret@localhost/prod",
        "redis://:s3@cret@localhost/0?colour=red",
        "unix:///tmp/server.sock?password=s3cret&colour=red",
        "redis+sentinel://user:s3cret@localhost",
        "redis+sentinel://localhost/mill?sentinel_password=s3cret&colour=red",
    ],
)
def test_an_error_does_not_tell_the_password(kind: type[Client | AsyncClient], url: str) -> None:
    """It is written to logs."""
    with pytest.raises(ConfigurationError) as caught:
        kind(url)
    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost/",
        "redis://user:pass@[::1]:6380/15",
        "rediss://host:6379/0",
        "unix:///s",
        "redis+sentinel://a,b:1,[::1]:2/mill",
        "rediss+sentinel://user:pass@a/mill/3?ssl_cert_reqs=none",
    ],
)
def test_a_good_url_needs_no_server_yet(kind: type[Client | AsyncClient], url: str) -> None:
    """A client connects at its first call."""
    assert kind(url).url == url


@pytest.mark.parametrize("kind", CLIENTS)
def test_options_of_the_url_are_kept(kind: type[Client | AsyncClient]) -> None:
    """They are redis-py's, and come before ours, but for the way in which replies are read."""
    client = kind("redis://localhost/3?socket_timeout=2.5&client_name=web&protocol=3&decode_responses=yes")
    transport: Any = client._transport
    options = transport.pool.connection_kwargs
    assert (options["db"], options["socket_timeout"], options["client_name"]) == (3, 2.5, "web")
    assert (options["protocol"], options["decode_responses"]) == (2, False)


@pytest.mark.parametrize("kind", CLIENTS)
def test_redis_py_itself_never_retries(kind: type[Client | AsyncClient]) -> None:
    """A retry that nobody sees would hide a lost reply."""
    transport: Any = kind("redis://localhost")._transport
    options = transport.pool.connection_kwargs
    assert options["retry"].get_retries() == 0
    assert pool_options()["socket_timeout"] > 5
    # An awaited exchange has one timeout around it, in place of redis-py's around each of its reads and writes.
    assert options["socket_timeout"] == (pool_options()["socket_timeout"] if kind is Client else None)


def test_backoff_doubles_from_50_ms_to_1_s() -> None:
    """With jitter down to a half, so that many clients do not come back at once; at any number of failures."""
    for failures, most in [(1, 0.05), (2, 0.1), (3, 0.2), (5, 0.8), (6, 1.0), (7, 1.0), (10_000, 1.0)]:
        delays = [Backoff(8).delay_s(failures) for _ in range(200)]
        assert most / 2 <= min(delays) < max(delays) <= most


async def test_no_calls_ask_nothing() -> None:
    """There need not even be a server."""
    assert Transport("redis://localhost:1").run([]) == []
    assert await AsyncTransport("redis://localhost:1").run([]) == []


async def test_a_connection_that_does_not_close_in_order_hinders_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-py gives up on it after a time with an error of its own, which is not for whoever has done with it."""
    transport = AsyncTransport("redis://localhost:1")

    async def disconnect() -> None:
        raise redis.TimeoutError("Timed out closing connection after 5.0")

    monkeypatch.setattr(transport.pool, "disconnect", disconnect)
    await transport.close()
