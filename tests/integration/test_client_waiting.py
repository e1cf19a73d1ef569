"""A wait for an event returns when the event has settled, whatever messages are lost and lines are cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_py
import redis.asyncio as redis_asyncio

from headrace import Client, Event, EventNotFound, EventRecord, InvalidArgument, PermissionMissing, WaitTimeout
from headrace.base import BaseClient
from headrace.formats.keys import Keys
from headrace_worker.dev.embedded import EmbeddedServer
from tests.support.clients import Kind, open_client
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

LONG_S = 60


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


@pytest.fixture
def sender(url: str, namespace: str) -> Iterator[Client]:
    """Another client than the waiting one."""
    with Client(url, namespace=namespace) as client:
        yield client


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor() as pool:
        yield pool.submit


@pytest.fixture
def _only_what_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the repeated reads of the record, so that only the message can end the wait."""
    monkeypatch.setattr(BaseClient, "_reread_s", LONG_S)


only_what_is_published = pytest.mark.usefixtures("_only_what_is_published")


def listeners(redis: redis_py.Redis, keys: Keys, event_id: str) -> int:
    ((_, count),) = redis.pubsub_numsub(keys.settled_channel(event_id))
    return int(count)


def settle(redis: redis_py.Redis, keys: Keys, event_id: str, *, publish: bool = True) -> None:
    """Dispatch and settle the event with the scripts that a worker uses."""
    record = keys.event(event_id)
    header: Any = redis.hget(record, "m")
    redis.hset(record, mapping={"r:app/job": "s 1 0 0 0 default 1-0 host-1 1 2", "m": header[:-1] + b"1"})
    if publish:
        redis.publish(keys.settled_channel(event_id), "")


def test_a_settled_event_is_returned_at_once(client: Client, sender: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """The wait needs no message."""
    sent = sender.send_event(Event("a"))
    settle(redis, keys, sent.id, publish=False)
    record = client.wait_for_event(sent.id, 0)
    assert (record.is_settled, [run.status for run in record.runs]) == (True, ["succeeded"])
    assert record == sender.get_event(sent.id)


@pytest.mark.parametrize("timeout", [0, 0.05, timedelta(seconds=0.05)])
def test_waiting_ends_after_the_time_given(client: Client, sender: Client, timeout: float | timedelta) -> None:
    """The event goes on; the error has its id and the time."""
    sent = sender.send_event(Event("a"))
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    start = time.monotonic()
    with pytest.raises(WaitTimeout, match="it goes on") as caught:
        client.wait_for_event(sent.id, timeout)
    assert seconds <= time.monotonic() - start < LONG_S
    assert (caught.value.event_id, caught.value.timeout_s) == (sent.id, seconds)


def test_an_unknown_event_is_not_waited_for(client: Client) -> None:
    """The error comes at once."""
    with pytest.raises(EventNotFound):
        client.wait_for_event("nobody", LONG_S)


@pytest.mark.parametrize(("event_id", "timeout"), [("", 1), (None, 1), ("e", -1), ("e", float("nan")), ("e", "5")])
def test_what_makes_no_sense_is_refused(client: Client, event_id: Any, timeout: Any) -> None:
    """An invalid id, an invalid time."""
    with pytest.raises(InvalidArgument):
        client.wait_for_event(event_id, timeout)


@only_what_is_published
def test_a_waiter_is_woken_by_the_message(
    client: Client, sender: Client, redis: redis_py.Redis, keys: Keys, in_background: Callable[..., Future[EventRecord]]
) -> None:
    """During the wait the record has the mark that requests the message; after the wait no client is subscribed."""
    sent = sender.send_event(Event("a"))
    waiting = in_background(client.wait_for_event, sent.id, LONG_S)
    wait_until(lambda: listeners(redis, keys, sent.id) == 1)
    wait_until(lambda: redis.hget(keys.event(sent.id), "w") == b"1")
    settle(redis, keys, sent.id)
    assert waiting.result(10).is_settled
    wait_until(lambda: listeners(redis, keys, sent.id) == 0)


@only_what_is_published
def test_an_empty_message_does_not_end_a_wait(
    client: Client, sender: Client, redis: redis_py.Redis, keys: Keys, in_background: Callable[..., Future[EventRecord]]
) -> None:
    """The record decides, not the message."""
    sent = sender.send_event(Event("a"))
    waiting = in_background(client.wait_for_event, sent.id, LONG_S)
    wait_until(lambda: redis.publish(keys.settled_channel(sent.id), "") == 1)
    settle(redis, keys, sent.id)
    assert waiting.result(10).runs


@only_what_is_published
def test_canceling_an_event_wakes_who_waits_for_it(
    client: Client, sender: Client, redis: redis_py.Redis, keys: Keys, in_background: Callable[..., Future[EventRecord]]
) -> None:
    """No run will follow."""
    sent = sender.send_event(Event("a"), deliver_after=60)
    waiting = in_background(client.wait_for_event, sent.id, LONG_S)
    wait_until(lambda: listeners(redis, keys, sent.id) == 1)
    sender.cancel_event(sent.id)
    assert waiting.result(10).status == "canceled"


@only_what_is_published
def test_what_settles_before_the_subscription_stands_is_seen(
    kind: Kind, client: Client, sender: Client, redis: redis_py.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is read once more when the server has confirmed the subscription."""
    sent = sender.send_event(Event("a"))
    pubsub: Any = redis_py.client.PubSub if kind == "plain" else redis_asyncio.client.PubSub
    subscribe = pubsub.subscribe

    def settle_first(self: Any, *channels: str) -> Any:
        settle(redis, keys, sent.id)
        return subscribe(self, *channels)

    monkeypatch.setattr(pubsub, "subscribe", settle_first)
    assert client.wait_for_event(sent.id, LONG_S).is_settled


def test_a_lost_message_only_costs_time(
    client: Client,
    sender: Client,
    redis: redis_py.Redis,
    keys: Keys,
    in_background: Callable[..., Future[EventRecord]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The record is read again every few seconds."""
    monkeypatch.setattr(BaseClient, "_reread_s", 0.05)
    sent = sender.send_event(Event("a"))
    waiting = in_background(client.wait_for_event, sent.id, LONG_S)
    wait_until(lambda: listeners(redis, keys, sent.id) == 1)
    settle(redis, keys, sent.id, publish=False)
    assert waiting.result(10).is_settled


@only_what_is_published
def test_a_waiter_subscribes_again_after_its_line_was_cut(
    kind: Kind,
    proxy: Proxy,
    namespace: str,
    sender: Client,
    redis: redis_py.Redis,
    in_background: Callable[..., Future[EventRecord]],
) -> None:
    """As often as it takes, and what is published then wakes it."""
    keys = Keys(namespace)
    sent = sender.send_event(Event("a"))
    with open_client(kind, proxy.url, namespace=namespace) as client:
        waiting = in_background(client.wait_for_event, sent.id, LONG_S)
        for _ in range(3):
            wait_until(lambda: listeners(redis, keys, sent.id) == 1)
            proxy.drop_all()
            wait_until(lambda: listeners(redis, keys, sent.id) == 0)
            proxy.restore()
        wait_until(lambda: listeners(redis, keys, sent.id) == 1)
        settle(redis, keys, sent.id)
        assert waiting.result(10).is_settled


@only_what_is_published
def test_outages_do_not_add_up(
    kind: Kind,
    url: str,
    namespace: str,
    sender: Client,
    redis: redis_py.Redis,
    in_background: Callable[..., Future[EventRecord]],
) -> None:
    """A long wait may be cut off more often than a call is attempted."""
    keys = Keys(namespace)
    sent = sender.send_event(Event("a"))
    with open_client(kind, url, namespace=namespace, attempts=2) as client:
        waiting = in_background(client.wait_for_event, sent.id, LONG_S)
        for _ in range(4):
            wait_until(lambda: listeners(redis, keys, sent.id) == 1)
            redis.client_kill_filter(_type="pubsub")
            wait_until(lambda: listeners(redis, keys, sent.id) == 0)
        wait_until(lambda: listeners(redis, keys, sent.id) == 1)
        settle(redis, keys, sent.id)
        assert waiting.result(10).is_settled


@only_what_is_published
def test_waiting_is_not_asking_again_and_again(client: Client, sender: Client, redis: redis_py.Redis) -> None:
    """The record is read before and after subscribing, and once more at the end."""
    sent = sender.send_event(Event("a"))
    redis.config_resetstat()
    with pytest.raises(WaitTimeout):
        client.wait_for_event(sent.id, 0.2)
    assert redis.info("commandstats")["cmdstat_hgetall"]["calls"] in (3, 4)  # a wait may end a moment too soon
    assert redis.info("commandstats")["cmdstat_subscribe"]["calls"] == 1


@only_what_is_published
def test_what_settles_while_the_line_is_cut_is_seen(
    kind: Kind,
    proxy: Proxy,
    namespace: str,
    sender: Client,
    redis: redis_py.Redis,
    in_background: Callable[..., Future[EventRecord]],
) -> None:
    """The message was lost, so the client reads the record when the line works again."""
    keys = Keys(namespace)
    sent = sender.send_event(Event("a"))
    with open_client(kind, proxy.url, namespace=namespace) as client:
        waiting = in_background(client.wait_for_event, sent.id, LONG_S)
        wait_until(lambda: listeners(redis, keys, sent.id) == 1)
        proxy.drop_all()
        wait_until(lambda: listeners(redis, keys, sent.id) == 0)
        settle(redis, keys, sent.id)
        proxy.restore()
        assert waiting.result(10).is_settled


def test_a_wait_without_the_right_to_listen_fails_at_once(
    kind: Kind, make_server: Callable[..., EmbeddedServer]
) -> None:
    """Waiting would not bring the right."""
    server = make_server()
    with redis_py.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "deaf", "on", "nopass", "~*", "+@all", "resetchannels")
    with open_client(kind, server.url.replace("unix://", "unix://deaf:any@"), namespace="prod") as client:
        sent = client.send_event(Event("a"))
        with pytest.raises(PermissionMissing):
            client.wait_for_event(sent.id, LONG_S)


def test_waiters_of_several_threads_share_a_client(
    url: str, namespace: str, sender: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """Each wait ends with its own event."""
    sent = [sender.send_event(Event("a", n)) for n in range(8)]
    with Client(url, namespace=namespace) as client, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client.wait_for_event, each.id, LONG_S) for each in sent]
        for each in sent:
            wait_until(lambda each=each: listeners(redis, keys, each.id) == 1)  # type: ignore[misc]
            settle(redis, keys, each.id)
        assert [future.result(10).payload for future in waiting] == list(range(8))
