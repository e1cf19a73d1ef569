"""An error has the reason for which the server refused a call; lost scripts are loaded again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis as redis_py

from headrace import AuthenticationFailed, Client, Event, HeadraceError, PermissionMissing, ServerError, ServerFull
from headrace.formats.keys import Keys
from tests.support.backoffs import Failures
from tests.support.clients import Kind, open_client
from tests.support.servers import ControlledServer


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


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


def test_a_call_on_a_server_that_fills_up_says_what_was_sent(
    kind: Kind, own: ControlledServer, admin: redis_py.Redis
) -> None:
    """`sent` of the error holds exactly the events that the server has."""
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
def test_an_event_can_be_sent_once_a_missing_right_is_granted(
    kind: Kind, own: ControlledServer, admin: redis_py.Redis, rights: str, options: dict[str, Any]
) -> None:
    """The error has the server's words; no record exists of an event that has no entry."""
    admin.execute_command("ACL", "SETUSER", "web", "on", ">secret", "~*", "+@all", *rights.split())
    with open_client(kind, own.url.replace("unix://", "unix://web:secret@"), namespace="prod") as client:
        with pytest.raises(PermissionMissing, match="may not do this"):
            client.send_event(Event("a", id="42"), **options)
        admin.execute_command("ACL", "SETUSER", "web", "~*", "+@all")
        assert not client.send_event(Event("a", id="42"), **options).duplicate
    assert admin.exists(Keys("prod").due if options else Keys("prod").events)


def test_a_user_needs_no_right_to_ask_for_the_version(kind: Kind, own: ControlledServer, admin: redis_py.Redis) -> None:
    """A user without that right is not refused for it."""
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
    """Another program has written into the namespace: no other key appears."""
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
    """Even if they are lost between the parts of one call."""
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
