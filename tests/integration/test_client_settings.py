"""A client is configured by its arguments, then by the environment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_py

from headrace import AsyncClient, Client, ConfigurationError, Event, EventConflict, EventNotFound
from tests.support.clients import Kind, open_client
from tests.support.waiting import wait_until


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


def test_url_and_namespace_come_from_the_environment(
    kind: Kind, url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless they are given."""
    monkeypatch.setenv("HEADRACE_URL", url)
    monkeypatch.setenv("HEADRACE_NAMESPACE", namespace)
    with open_client(kind) as client:
        assert (client.url, client.partitions.namespace) == (url, namespace)
        assert client.get_event(client.send_event(Event("a")).id).name == "a"
    with open_client(kind, "redis://elsewhere", namespace="other") as client:
        assert (client.url, client.partitions.namespace) == ("redis://elsewhere", "other")


@pytest.mark.parametrize("found", [None, ""])
def test_no_url_is_an_error_that_says_what_to_set(
    kind: Kind, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client never uses a server on this machine silently; an empty variable counts as none."""
    monkeypatch.delenv("HEADRACE_URL", raising=False)
    if found is not None:
        monkeypatch.setenv("HEADRACE_URL", found)
    said = r"pass url='redis://host:6379/0' \(--url to a command\), or set HEADRACE_URL"
    with open_client(kind) as client:
        for call in (lambda: client.send_event(Event("a")), client.list_runs, lambda: client.url):
            with pytest.raises(ConfigurationError, match=said):
                call()


def test_the_environment_is_read_at_the_first_call(
    kind: Kind, url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module may make its client before the environment is known; an error before that is no obstacle."""
    for name in ("HEADRACE_URL", "HEADRACE_NAMESPACE", "HEADRACE_PARTITIONS"):
        monkeypatch.delenv(name, raising=False)
    with open_client(kind) as client:
        with pytest.raises(ConfigurationError):
            client.has_workers()
        monkeypatch.setenv("HEADRACE_URL", url)
        monkeypatch.setenv("HEADRACE_NAMESPACE", namespace)
        monkeypatch.setenv("HEADRACE_PARTITIONS", "3")
        sent = client.send_event(Event("a"))
        assert (client.url, client.partitions.namespace, len(client.partitions)) == (url, namespace, 3)
        monkeypatch.setenv("HEADRACE_URL", "redis://127.0.0.1:1")
        monkeypatch.setenv("HEADRACE_NAMESPACE", "other")
        client.close()
        assert client.get_event(sent.id).id == sent.id


def test_a_client_that_was_never_used_closes(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment either."""
    monkeypatch.delenv("HEADRACE_URL", raising=False)
    with open_client(kind) as client:
        client.close()


def test_threads_that_call_first_at_once_share_what_they_find(
    url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment, and the connections."""
    monkeypatch.setenv("HEADRACE_URL", url)
    for _ in range(20):
        client, barrier = Client(namespace=namespace), threading.Barrier(4)

        def send(client: Client = client, barrier: threading.Barrier = barrier) -> tuple[str, int]:
            barrier.wait(10)
            sent = client.send_event(Event("a"))
            return sent.id, id(client._transport)

        with client, ThreadPoolExecutor(4) as pool:
            sent = [each.result(30) for each in [pool.submit(send) for _ in range(4)]]
            assert len({transport for _, transport in sent}) == 1
            assert all(client.get_event(event_id).name == "a" for event_id, _ in sent)


def test_what_is_given_is_checked_at_once(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says."""
    monkeypatch.delenv("HEADRACE_URL", raising=False)
    wrong: list[dict[str, Any]] = [
        {"url": "http://host"},
        {"url": "redis://host?socket_timeout=never"},
        {"namespace": "a b"},
        {"partitions": 0},
        {"codec": object},
        {"timeout": 0},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"timeout": "10"},
        {"timeout": timedelta(0)},
    ]
    for settings in wrong:
        (named,) = settings
        with (
            pytest.raises(ConfigurationError, match=named if named != "url" else "is no URL"),
            open_client(kind, **settings),
        ):
            pass


def test_the_namespace_is_default_unless_named(kind: Kind, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid name is refused."""
    monkeypatch.delenv("HEADRACE_NAMESPACE", raising=False)
    with open_client(kind, url) as client:
        assert client.partitions.namespace == "default"
    with (
        pytest.raises(ConfigurationError, match="namespace 'a b' is not a name"),
        open_client(kind, url, namespace="a b"),
    ):
        pass


@pytest.mark.leaves_records
def test_a_client_has_a_source_of_its_own(kind: Kind, url: str, namespace: str) -> None:
    """Its events have it, unless they give one; so a repeat by another client is a conflict where it is delayed."""
    with open_client(kind, url, namespace=namespace, source="billing") as client:
        sent = client.send_events([Event("a"), {"name": "b"}, Event("c", source="shop")])
        assert [client.get_event(each.id).source for each in sent] == ["billing", "billing", "shop"]
        client.send_event(Event("d", id="d"), deliver_after=60)
        assert client.send_event(Event("a", id=sent[0].id, source="billing")).duplicate
        with open_client(kind, url, namespace=namespace) as other, pytest.raises(EventConflict):
            other.send_event(Event("d", id="d"))
        client.cancel_event("d")


@pytest.mark.parametrize("source", ["", 7, "x" * 257, b"billing", "\ud800"], ids=repr)
def test_a_source_that_is_none_is_refused(kind: Kind, url: str, source: Any) -> None:
    """When the client is made."""
    with pytest.raises(ConfigurationError, match=r"^source (must|has)"), open_client(kind, url, source=source):
        pass


def test_namespaces_do_not_see_each_other(kind: Kind, url: str, client: Client, make_namespace: Any) -> None:
    """The same id in two of them is two events."""
    with open_client(kind, url, namespace=make_namespace()) as other:
        client.send_event(Event("a", id="42"))
        with pytest.raises(EventNotFound):
            other.get_event("42")
        assert not other.send_event(Event("b", id="42")).duplicate
    assert client.get_event("42").name == "a"


def test_a_closed_client_has_no_connections_and_opens_new_ones(
    kind: Kind, url: str, namespace: str, redis: redis_py.Redis
) -> None:
    """`with` closes them, and a later call is still answered."""
    name = f"client-of-{namespace}"

    def connections() -> int:
        return sum(each["name"] == name for each in redis.client_list())

    named = f"{url}?client_name={name}"
    with open_client(kind, named, namespace=namespace) as client:
        sent = client.send_event(Event("a"))
        assert connections() == 1
        client.close()
        wait_until(lambda: connections() == 0)
        assert client.get_event(sent.id).id == sent.id
        assert connections() == 1
    wait_until(lambda: connections() == 0)


def test_an_async_client_without_asyncio_says_what_it_needs() -> None:
    """As under trio: its coroutines are run by another event loop. There is nothing to close."""
    client = AsyncClient("redis://localhost:1")
    with pytest.raises(ConfigurationError, match="AsyncClient needs asyncio; under trio call a Client in a thread"):
        client.send_event(Event("x")).send(None)
    with pytest.raises(StopIteration):
        client.close().send(None)
