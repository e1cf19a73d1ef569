"""A send returns how many replicas have the event, if it is asked to wait for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event, PermissionMissing
from tests.support.clients import KINDS, Kind, open_client
from tests.support.servers import ControlledServer
from tests.support.waiting import wait_until


@pytest.mark.parametrize("kind", KINDS)
def test_a_send_says_how_many_replicas_have_it(two: tuple[ControlledServer, ControlledServer], kind: Kind) -> None:
    """As soon as enough replicas have it; too few are no error; None if the send did not wait."""
    with open_client(kind, two[0].tcp_url, namespace="replicated") as client:
        wait_until(lambda: client.send_event(Event("work"), wait_replicas=1).replicas == 1, 60)
        assert client.send_event(Event("work")).replicas is None
        assert client.send_event(Event("work"), wait_replicas=2, wait_replicas_timeout=0.2).replicas == 1
        sent = client.send_events([Event("work", id=f"e{n}") for n in range(1_200)], wait_replicas=1)
        assert [event.replicas for event in sent] == [1] * 1_200
        (again,) = client.send_events([Event("work", id="e7")], wait_replicas=1)
        assert (again.duplicate, again.replicas) == (True, 1)
        assert client.send_events([], wait_replicas=1) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_that_has_stopped_is_not_counted(two: tuple[ControlledServer, ControlledServer], kind: Kind) -> None:
    """The event is with the master, and the answer comes after the time given."""
    master, replica = two
    with open_client(kind, master.tcp_url, namespace="stopped") as client:
        wait_until(lambda: client.send_event(Event("work"), wait_replicas=1).replicas == 1, 60)
        replica.pause()
        sent = client.send_event(Event("work"), wait_replicas=1, wait_replicas_timeout=0.05)
        replica.resume()
        assert sent.replicas == 0
        assert client.get_event(sent.id).status == "pending"


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_right_to_wait_for_replicas_is_an_error(
    make_server: Callable[..., ControlledServer], kind: Kind
) -> None:
    """The error holds what was sent."""
    own = make_server()
    with redis_py.Redis.from_url(own.url) as admin:
        admin.acl_setuser("web", enabled=True, nopass=True, categories=["+@all"], commands=["-wait"], keys=["*"])
    with open_client(kind, own.url.replace("unix://", "unix://web:any@"), namespace="told") as client:
        with pytest.raises(PermissionMissing, match="wait") as caught:
            client.send_event(Event("work", id="e1"), wait_replicas=1)
        assert [event.id for event in caught.value.sent] == ["e1"]
        assert client.get_event("e1").status == "pending"


@pytest.mark.parametrize("option", [{"wait_replicas": 0}, {"wait_replicas": True}, {"wait_replicas": "1"}])
def test_a_count_of_replicas_is_checked(url: str, namespace: str, option: dict[str, Any]) -> None:
    """Before anything is sent, and the error names the option."""
    with Client(url, namespace=namespace) as client, pytest.raises(ValueError, match="wait_replicas: must be 1 to "):
        client.send_event(Event("work"), **option)


@pytest.mark.parametrize("timeout", [0, -1, 5.1, float("nan"), True, "1", None])
def test_the_time_for_replicas_is_checked(url: str, namespace: str, timeout: Any) -> None:
    """The server would take zero as no limit."""
    with Client(url, namespace=namespace) as client, pytest.raises(ValueError, match="wait_replicas_timeout: must be"):
        client.send_event(Event("work"), wait_replicas=1, wait_replicas_timeout=timeout)
