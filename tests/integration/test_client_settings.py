"""A client is configured by its arguments, then by the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, ConfigurationError, Event, EventConflict, EventNotFound
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
    with (
        pytest.raises(ConfigurationError, match=r"pass url='redis://host:6379/0', or set HEADRACE_URL"),
        open_client(kind),
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
