"""A client waits for a server that is away or not ready, and says so when it has waited long enough."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from headrace import AsyncClient, Client, Event, ServerNotReady, ServerUnreachable
from headrace.formats.keys import Keys
from headrace.transport.backoff import Backoff
from headrace.transport.loop_connections import is_stale
from tests.support.backoffs import Failures
from tests.support.clients import Kind, open_client
from tests.support.proxy import Proxy
from tests.support.servers import ControlledServer
from tests.support.waiting import await_until, wait_until


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


# The server is away.


@pytest.mark.parametrize("address", ["unix://{folder}/nowhere.sock", "redis://127.0.0.1:1/0"])
def test_an_absent_server_is_an_error_after_all_attempts(
    kind: Kind, address: str, tmp_path: Path, failures: Failures
) -> None:
    """After as many attempts as the client makes, the error says that the server can't be reached."""
    with (
        open_client(kind, address.format(folder=tmp_path), attempts=3) as client,
        pytest.raises(ServerUnreachable, match="can't be reached"),
    ):
        client.send_event(Event("a"))
    assert [type(error) for error in failures.errors] == [ServerUnreachable, ServerUnreachable]


def test_an_outage_that_is_shorter_than_the_attempts_is_survived(
    kind: Kind, proxy: Proxy, namespace: str, failures: Failures, redis: redis_py.Redis
) -> None:
    """For a client that was connected before and for one that was not."""
    failures.at[3] = proxy.restore
    with open_client(kind, proxy.url, namespace=namespace) as client:
        proxy.drop_all()
        client.send_event(Event("a"))
        failures.at[3] = proxy.restore
        proxy.drop_all()
        client.send_event(Event("b"))
    assert len(failures.errors) >= 6
    assert redis.xlen(Keys(namespace).events) == 2


def test_a_server_that_says_nothing_is_given_up(kind: Kind, proxy: Proxy, namespace: str, failures: Failures) -> None:
    """After the reply timeout, which the URL may set: a silent server looks the same as a slow one."""
    failures.at[2] = proxy.restore
    with open_client(kind, f"{proxy.url}?socket_timeout=0.5", namespace=namespace) as client:
        client.send_event(Event("a"))
        proxy.stall()
        assert not client.send_event(Event("b")).duplicate
    assert {type(error) for error in failures.errors} == {ServerUnreachable}


def test_a_closed_connection_costs_no_attempt(
    url: str, namespace: str, redis: redis_py.Redis, failures: Failures
) -> None:
    """Servers close idle connections; the client notices before it sends anything."""
    with Client(url, namespace=namespace) as client:
        client.send_event(Event("a"))
        redis.client_kill_filter(_type="normal", skipme=True)
        client.send_event(Event("b"))
    assert failures.errors == []


async def test_an_awaited_call_notices_a_closed_connection(
    url: str, namespace: str, redis: redis_py.Redis, failures: Failures
) -> None:
    """The same, once the event loop has received the close."""
    async with AsyncClient(url, namespace=namespace) as client:
        await client.send_event(Event("a"))
        transport: Any = client._transport
        (connection,) = transport._connections.current.idle
        redis.client_kill_filter(_type="normal", skipme=True)
        await await_until(lambda: is_stale(connection))
        await client.send_event(Event("b"))
    assert failures.errors == []


def test_a_restarted_server_is_found_again(
    kind: Kind, make_server: Callable[..., ControlledServer], failures: Failures
) -> None:
    """Its scripts are gone; with an append-only file its events are not."""
    server = make_server(appendonly=True, appendfsync="always")
    with open_client(kind, server.url, namespace="prod") as client:
        first = client.send_event(Event("a"))
        server.kill()
        failures.at[2] = server.start
        second = client.send_event(Event("b"))
        assert [client.get_event(each.id).name for each in (first, second)] == ["a", "b"]


# The server can't at the moment.

STATES = {
    "READONLY": (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
    "MASTERDOWN": (
        ["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"],
        ["REPLICAOF NO ONE"],
    ),
    "NOAUTH": (["CONFIG SET requirepass secret"], ["CONFIG SET requirepass ''"]),
}


def execute(admin: redis_py.Redis, commands: list[str]) -> None:
    for command in commands:
        admin.execute_command(*[word.strip("'") for word in command.split()])


@pytest.mark.parametrize("state", STATES)
def test_a_state_of_the_server_is_waited_through(
    kind: Kind, own: ControlledServer, admin: redis_py.Redis, failures: Failures, state: str
) -> None:
    """The call is repeated until the server can do it; nothing is lost, and nothing is sent twice."""
    begin, end = STATES[state]
    with open_client(kind, own.url, namespace="prod") as client:
        client.send_event(Event("before"))
        if state == "NOAUTH":
            client.close()
        execute(admin, begin)
        failures.at[3] = lambda: execute(admin, end)
        assert not client.send_event(Event("a")).duplicate
    codes = [error.code for error in failures.errors if isinstance(error, ServerNotReady)]
    assert codes == [state] * 3
    assert admin.xlen(Keys("prod").events) == 2


def test_a_state_that_lasts_is_an_error_with_the_servers_word(
    kind: Kind, own: ControlledServer, admin: redis_py.Redis, failures: Failures
) -> None:
    """After all attempts, and nothing was sent."""
    execute(admin, STATES["READONLY"][0])
    with open_client(kind, own.url, namespace="prod", attempts=3) as client, pytest.raises(ServerNotReady) as caught:
        client.send_event(Event("a"))
    assert caught.value.code == "READONLY"
    assert "it is a replica: name its master in the URL" in str(caught.value)
    assert len(failures.errors) == 2
    assert admin.dbsize() == 0


def test_a_script_that_takes_its_time_is_waited_for(
    kind: Kind, own: ControlledServer, admin: redis_py.Redis, failures: Failures
) -> None:
    """The server answers BUSY because of another client's script."""
    admin.config_set("lua-time-limit", 10)
    with open_client(kind, own.url, namespace="prod") as client, redis_py.Redis.from_url(own.url) as endless:
        client.send_event(Event("before"))

        def run_endlessly() -> None:
            with pytest.raises(redis_py.ResponseError, match=r"[kK]illed"):
                endless.eval("while true do end", 0)

        def is_busy() -> bool:
            try:
                admin.get("x")
            except redis_py.ResponseError as exc:
                return "BUSY" in str(exc)
            return False

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run_endlessly)
            wait_until(is_busy)
            failures.at[2] = admin.script_kill
            client.send_event(Event("a"))
            running.result(10)
    assert {error.code for error in failures.errors if isinstance(error, ServerNotReady)} == {"BUSY"}


def test_a_server_that_loads_its_data_is_waited_for(
    kind: Kind, own: ControlledServer, admin: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LOADING lasts as long as the data is large."""
    codes: list[str] = []

    def delay_s(_: Backoff, failures: int) -> float:
        error = sys.exception()
        assert isinstance(error, ServerNotReady), failures
        codes.append(error.code)
        return 0.01

    monkeypatch.setattr(Backoff, "delay_s", delay_s)
    for n in range(100):
        admin.set(f"filler:{n}", os.urandom(150_000))  # the server looks at its clients after every 2 MB
    admin.config_set("key-load-delay", 5_000)
    with (
        open_client(kind, own.url, namespace="prod", attempts=1_000, timeout=None) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.send_event(Event("before"))
        loading = pool.submit(admin.execute_command, "DEBUG", "RELOAD")
        while not codes and not loading.done():
            client.send_event(Event("a"))
        assert loading.result(30)
        assert admin.xlen(Keys("prod").events) >= 2
    assert set(codes) == {"LOADING"}
