"""Whatever happens to the server or to the client's process, a send is either made true or said not to be."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import redis as redis_py

import headrace.transport.single
from headrace import (
    AsyncClient,
    AuthenticationFailed,
    Client,
    Event,
    HeadraceError,
    PermissionMissing,
    ServerError,
    ServerFull,
    ServerNotReady,
    ServerUnreachable,
)
from headrace.formats.keys import Keys
from headrace.transport.backoff import Backoff
from tests.support.clients import Kind, open_client
from tests.support.processes import Processes
from tests.support.proxy import Proxy
from tests.support.servers import ControlledServer
from tests.support.waiting import await_until, wait_until


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


@pytest.fixture
def own(make_server: Callable[..., ControlledServer]) -> ControlledServer:
    """A server of the test's own, whose settings it may change."""
    return make_server()


@pytest.fixture
def admin(own: ControlledServer) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(own.url) as admin:
        yield admin


class Failures:
    """The failed attempts of a call, each with a chance to act before the next one; none is waited for."""

    def __init__(self) -> None:
        self.errors: list[BaseException | None] = []
        self.at: dict[int, Callable[[], object]] = {}

    def delay_s(self, failures: int) -> float:
        self.errors.append(sys.exception())
        self.at.pop(failures, lambda: None)()
        return 0.0


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> Failures:
    failures = Failures()
    monkeypatch.setattr(Backoff, "delay_s", failures.delay_s)
    return failures


# The server is away.


@pytest.mark.parametrize("address", ["unix://{folder}/nowhere.sock", "redis://127.0.0.1:1/0"])
def test_a_server_that_is_not_there_is_an_error_after_all_attempts(
    kind: Kind, address: str, tmp_path: Path, failures: Failures
) -> None:
    """It is tried as often as the client was told, and then the error says that it can't be reached."""
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
    """After the time of a reply, which the URL may set; it is told from one that answers late by nothing."""
    failures.at[2] = proxy.restore
    with open_client(kind, f"{proxy.url}?socket_timeout=0.5", namespace=namespace) as client:
        client.send_event(Event("a"))
        proxy.stall()
        assert not client.send_event(Event("b")).duplicate
    assert {type(error) for error in failures.errors} == {ServerUnreachable}


def test_a_connection_that_the_server_has_closed_costs_no_attempt(
    url: str, namespace: str, redis: redis_py.Redis, failures: Failures
) -> None:
    """As servers do to idle ones: it is noticed before anything is sent."""
    with Client(url, namespace=namespace) as client:
        client.send_event(Event("a"))
        redis.client_kill_filter(_type="normal", skipme=True)
        client.send_event(Event("b"))
    assert failures.errors == []


async def test_a_connection_that_the_server_has_closed_costs_no_attempt_when_awaited(
    url: str, namespace: str, redis: redis_py.Redis, failures: Failures
) -> None:
    """The same, once the event loop has heard of it."""
    async with AsyncClient(url, namespace=namespace) as client:
        await client.send_event(Event("a"))
        transport: Any = client._transport
        (connection,) = transport._connections.current.idle
        redis.client_kill_filter(_type="normal", skipme=True)
        await await_until(connection.can_read)
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
    """The call is tried again until the server can; nothing is lost, nothing sent twice."""
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
    assert len(failures.errors) == 2
    assert admin.dbsize() == 0


def test_a_script_that_takes_its_time_is_waited_for(
    kind: Kind, own: ControlledServer, admin: redis_py.Redis, failures: Failures
) -> None:
    """BUSY is said of someone else's script."""
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
    with open_client(kind, own.url, namespace="prod", attempts=1_000) as client, ThreadPoolExecutor(1) as pool:
        client.send_event(Event("before"))
        loading = pool.submit(admin.execute_command, "DEBUG", "RELOAD")
        while not codes and not loading.done():
            client.send_event(Event("a"))
        assert loading.result(30)
        assert admin.xlen(Keys("prod").events) >= 2
    assert set(codes) == {"LOADING"}


# The server is full.


def test_a_full_server_takes_nothing(kind: Kind, own: ControlledServer, admin: redis_py.Redis) -> None:
    """Neither for now nor for later; the error says so, and once there is room the same call goes through."""
    admin.config_set("maxmemory", 1)
    with open_client(kind, own.url, namespace="prod") as client:
        for options in ({}, {"deliver_after": 60}):
            with pytest.raises(ServerFull, match="took nothing of this call; let workers drain it") as caught:
                client.send_events([Event("a", id="1"), Event("b", id="2")], **options)  # type: ignore[arg-type]
            assert not caught.value.sent
            assert admin.dbsize() == 0
        admin.config_set("maxmemory", 0)
        assert [sent.duplicate for sent in client.send_events([Event("a", id="1"), Event("b", id="2")])] == [False] * 2


def test_a_full_server_still_answers_and_cancels(kind: Kind, own: ControlledServer, admin: redis_py.Redis) -> None:
    """What reads or frees is not refused."""
    with open_client(kind, own.url, namespace="prod") as client:
        sent = client.send_event(Event("a"), deliver_after=60)
        admin.config_set("maxmemory", 1)
        assert client.get_event(sent.id).status == "delayed"
        assert client.cancel_event(sent.id).status == "canceled"
        assert client.send_event(Event("a", id=sent.id)).duplicate


def test_a_server_that_fills_up_within_a_call_tells_what_it_took(
    kind: Kind, own: ControlledServer, admin: redis_py.Redis
) -> None:
    """`sent` of the error holds exactly the events that are there."""
    events = [Event("a", "x" * 100_000, id=str(n)) for n in range(600)]
    with open_client(kind, own.url, namespace="prod") as client:
        client.send_event(Event("warm", id="warm"))
        admin.config_set("maxmemory", int(admin.info("memory")["used_memory"]) + 20_000_000)
        with pytest.raises(ServerFull, match=r"after \d+ of 600 events; `sent` of this error holds those") as caught:
            client.send_events(events)
        admin.config_set("maxmemory", 0)
        keys: Any = admin.keys(Keys("prod").event("*"))
        stored = {int(key.rpartition(b":")[2]) for key in keys if not key.endswith(b"warm")}
        assert isinstance(caught.value.sent, list)
        assert {int(sent.id) for sent in caught.value.sent} == stored
        assert 0 < len(stored) < 600
        assert admin.xlen(Keys("prod").events) == len(stored) + 1
        assert sum(not sent.duplicate for sent in client.send_events(events)) == 600 - len(stored)


# The server won't.


@pytest.mark.parametrize("rights", ["-evalsha -eval", "-xadd -zadd", "-xadd -hset", "-hset", "-time", "resetkeys"])
@pytest.mark.parametrize("options", [{}, {"deliver_after": 60}], ids=str)
def test_a_missing_right_is_said_and_the_event_can_be_sent_once_it_is_there(
    kind: Kind, own: ControlledServer, admin: redis_py.Redis, rights: str, options: dict[str, Any]
) -> None:
    """The error keeps the server's words; no record says of an event that is nowhere that it was sent."""
    admin.execute_command("ACL", "SETUSER", "web", "on", ">secret", "~*", "+@all", *rights.split())
    with open_client(kind, own.url.replace("unix://", "unix://web:secret@"), namespace="prod") as client:
        with pytest.raises(PermissionMissing, match="may not do this"):
            client.send_event(Event("a", id="42"), **options)
        admin.execute_command("ACL", "SETUSER", "web", "~*", "+@all")
        assert not client.send_event(Event("a", id="42"), **options).duplicate
    assert admin.exists(Keys("prod").due if options else Keys("prod").events)


def test_a_user_needs_no_right_to_ask_for_the_version(kind: Kind, own: ControlledServer, admin: redis_py.Redis) -> None:
    """Whoever may not is not refused for it."""
    admin.execute_command("ACL", "SETUSER", "web", "on", ">secret", "~headrace:{prod:0}:*", "+@all", "-info")
    with open_client(kind, own.url.replace("unix://", "unix://web:secret@"), namespace="prod") as client:
        assert not client.send_event(Event("a")).duplicate


def test_a_wrong_password_is_said_at_once(kind: Kind, own: ControlledServer, failures: Failures) -> None:
    """Trying again would not help."""
    url = own.url.replace("unix://", "unix://web:wrong@")
    with (
        open_client(kind, url, namespace="prod") as client,
        pytest.raises(AuthenticationFailed, match="does not take the user and password of the URL"),
    ):
        client.send_event(Event("a"))
    assert failures.errors == []


@pytest.mark.parametrize("name", ["events", "due", "recent", "wake", "event:42"])
def test_a_key_of_another_type_is_said_and_nothing_is_half_done(
    client: Client, redis: redis_py.Redis, keys: Keys, name: str
) -> None:
    """Some other program has written into the namespace: no other key appears."""
    redis.set(keys.prefix + name, "x")
    for options in ({}, {"deliver_after": 60}):
        with pytest.raises(ServerError, match="another namespace or database") as caught:
            client.send_event(Event("a", id="42"), **options)  # type: ignore[arg-type]
        assert type(caught.value) is ServerError
        assert set(redis.keys(keys.prefix + "*")) == {(keys.prefix + name).encode(), keys.meta.encode()}
    redis.delete(keys.prefix + name)


def test_an_error_leaves_the_connection_in_step(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """The next call of the same client gets its own answer."""
    redis.set(keys.event("bad"), "x", ex=60)
    for n in range(5):
        with pytest.raises(HeadraceError):
            client.send_event(Event("a", id="bad"))
        with pytest.raises(HeadraceError):
            client.cancel_event("bad")
        assert client.send_event(Event("a", n)).payload == n


# The server has lost its scripts.


def test_a_lost_script_is_sent_again(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """At any call, without the caller noticing."""
    for n in range(3):
        redis.script_flush()
        sent = client.send_event(Event("a", n), deliver_after=60)
        redis.script_flush()
        assert client.cancel_event(sent.id).status == "canceled"
    assert redis.xlen(keys.recent) == 3


def test_scripts_lost_before_a_long_call_cost_no_event(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """All batches go again, in order, and each event is sent once."""
    client.send_event(Event("warm", id="warm"))
    redis.script_flush()
    sent = client.send_events([Event("a", n) for n in range(1_200)])
    assert [each.payload for each in sent] == list(range(1_200))
    assert not any(each.duplicate for each in sent)
    found: Any = redis.xrange(keys.events)
    assert [fields[b"i"].decode() for _, fields in found] == ["warm", *[each.id for each in sent]]


def test_scripts_lost_all_the_time_cost_no_event(client: Client, url: str, redis: redis_py.Redis, keys: Keys) -> None:
    """Also where they go between the parts of one call."""
    stop = threading.Event()

    def flush() -> None:
        with redis_py.Redis.from_url(url) as other:
            while not stop.is_set():
                other.script_flush()

    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(flush)
        sent = [each for _ in range(5) for each in client.send_events([Event("a") for _ in range(1_200)])]
        stop.set()
        flushing.result(10)
    found: Any = redis.xrange(keys.events)
    assert sorted(fields[b"i"].decode() for _, fields in found) == sorted(each.id for each in sent)


# Threads and processes.


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


def test_more_threads_than_redis_py_allows_connections_share_a_client(url: str, namespace: str) -> None:
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
    """A reply that comes too late for its call is not taken for the next call's."""
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
    """Nor is one that was interrupted between request and reply used again."""
    with Client(url, namespace=namespace) as client:
        sent = [client.send_event(Event("a", n)) for n in range(2)]
        receive = headrace.transport.single._receive
        monkeypatch.setattr(headrace.transport.single, "_receive", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            client.get_event(sent[0].id)
        monkeypatch.setattr(headrace.transport.single, "_receive", receive)
        transport: Any = client._transport
        (connection,) = transport.pool._available_connections
        assert not connection.is_connected
        assert client.get_event(sent[1].id).payload == 1


async def test_a_canceled_task_does_not_leave_a_connection_out_of_step(proxy: Proxy, namespace: str) -> None:
    """The reply that it did not wait for goes to nobody."""
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
