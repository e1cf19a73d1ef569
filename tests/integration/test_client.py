"""The server has what a client sends, and the client's answers come from the server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import redis as redis_py

from headrace import (
    Client,
    DeadLetterNotFound,
    Event,
    EventNotFound,
    EventTooLarge,
    InvalidEvent,
    Retention,
    RunNotFound,
)
from headrace.formats import codec
from headrace.formats.keys import Keys
from headrace.model.values import decode_value
from tests.support.clients import KINDS, Kind, open_client
from tests.support.stored import due, entries, server_time

SOON = timedelta(seconds=60)
STRANGE = ["a:b", "e:a/j:x/y", "{x}", "}{", "\n\r\n", "\0", " ", "*?[", "é\U0001f300", "x" * 256, "\U0001f300" * 256]


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


# Sending.


def test_an_event_sent_now_is_in_events(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Its entry has the id and the body; the answer has the server's time, and no time that it waits for."""
    before = server_time(redis) - timedelta(milliseconds=1)
    sent = client.send_event(Event("user.new", {"userId": "u_1"}, context=[1]), account_id="acme")
    (entry,) = entries(redis, keys.events)
    stored = codec.decode_event(entry[b"b"])
    assert entry[b"i"].decode() == sent.id
    assert (stored.n, stored.s, stored.a, decode_value(stored.p)) == (
        "user.new",
        "trigger.dev",
        "acme",
        {"userId": "u_1"},
    )
    assert sent.delivered_at is not None
    assert before <= sent.delivered_at <= server_time(redis)
    assert (sent.name, sent.payload, sent.context) == ("user.new", {"userId": "u_1"}, [1])
    assert (sent.deliver_at, sent.duplicate) == (None, False)


@pytest.mark.parametrize("delay", [60, 60.0, SOON])
def test_an_event_sent_for_later_is_in_due(
    client: Client, redis: redis_py.Redis, keys: Keys, delay: float | timedelta
) -> None:
    """The server adds the delay to its own time; the answer says when, and that nothing is delivered yet."""
    before = server_time(redis) - timedelta(milliseconds=1)
    sent = client.send_event(Event("user.new"), deliver_after=delay)
    assert sent.delivered_at is None
    assert sent.deliver_at is not None
    assert before <= sent.deliver_at - SOON <= server_time(redis)
    assert due(redis, keys) == {b"e:" + sent.id.encode(): codec.to_micros(sent.deliver_at) // 1000}
    assert entries(redis, keys.events) == []


def test_a_time_of_delivery_is_kept_to_the_millisecond(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Whatever zone it is given in, and however far away."""
    moment = datetime(9999, 12, 31, 23, 59, 59, 123_000, tzinfo=UTC)
    sent = client.send_event(Event("user.new"), deliver_at=moment)
    assert sent.deliver_at == moment == client.get_event(sent.id).deliver_at
    assert list(due(redis, keys).values()) == [codec.to_micros(moment) // 1000]


@pytest.mark.parametrize(
    "options",
    [{"deliver_after": 0}, {"deliver_after": timedelta(0)}, {"deliver_at": datetime(2001, 1, 1, tzinfo=UTC)}],
    ids=str,
)
def test_what_is_due_already_is_delivered_now(
    client: Client, redis: redis_py.Redis, keys: Keys, options: dict[str, Any]
) -> None:
    """A delay of nothing, or a time in the past."""
    sent = client.send_event(Event("user.new"), **options)
    assert sent.deliver_at is None
    assert sent.delivered_at is not None
    assert len(entries(redis, keys.events)) == 1
    assert due(redis, keys) == {}


def test_many_events_keep_their_order(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """The answers are in the order of the events, and so are the entries, over any number of batches."""
    sent = client.send_events([Event("user.new", n) for n in range(1_201)])
    assert [each.payload for each in sent] == list(range(1_201))
    assert [entry[b"i"].decode() for entry in entries(redis, keys.events)] == [each.id for each in sent]
    assert len({each.id for each in sent}) == 1_201


def test_events_and_mappings_may_be_mixed(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """A generator of both is as good as a list."""
    sent = client.send_events(given for given in (Event("a"), {"name": "b", "id": "42"}))
    assert [each.name for each in sent] == ["a", "b"]
    assert [fields[b"i"] for fields in entries(redis, keys.events)] == [sent[0].id.encode(), b"42"]


@pytest.mark.parametrize("kind", KINDS)
def test_sending_nothing_is_fine(kind: Kind) -> None:
    """No server is needed."""
    with open_client(kind, "unix:///nowhere.sock", attempts=1) as client:
        assert client.send_events([]) == []


def test_one_bad_event_keeps_the_whole_call_from_being_sent(client: Client, redis: redis_py.Redis) -> None:
    """The error names its place and field; no key is touched."""
    good = [Event("user.new", n) for n in range(600)]
    with pytest.raises(InvalidEvent, match=r"^events\[600\]\.payload: .*nothing was sent$"):
        client.send_events([*good, Event("user.new", object())])
    assert redis.dbsize() == 0


def test_a_single_event_has_no_place(client: Client, redis: redis_py.Redis) -> None:
    """The error of `send_event` names the field alone."""
    with pytest.raises(InvalidEvent, match=r"^name: must have 1 to 256 characters, not 257; nothing was sent$"):
        client.send_event({"name": "x" * 257})
    assert redis.dbsize() == 0


def test_an_event_may_have_exactly_the_greatest_size(client: Client, redis: redis_py.Redis) -> None:
    """It comes back whole; one byte more is refused and not sent."""
    overhead = len(codec.encode_event("a", "trigger.dev", 10**15, b"x" * 100_000, None, None)) - 100_000
    payload = b"x" * (1_048_576 - overhead)
    sent = client.send_event(Event("a", payload))
    assert client.get_event(sent.id).payload == payload
    size = redis.dbsize()
    with pytest.raises(EventTooLarge, match="1,048,577 bytes"):
        client.send_event(Event("a", payload + b"x"))
    assert redis.dbsize() == size


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_a_name_and_an_id_may_hold_any_character(client: Client, text: str) -> None:
    """Sent now or for later, found, canceled, and never mixed up with another."""
    client.send_event(Event(text, id=text, source=text), account_id=text)
    client.send_event(Event(text, id=text[:255] + "~"), deliver_after=60)
    record = client.get_event(text)
    assert (record.id, record.name, record.source, record.account_id) == (text,) * 4
    assert client.cancel_event(text[:255] + "~").status == "canceled"
    assert client.get_event(text).status == "pending"


# Asking.


def test_the_record_is_what_was_sent(client: Client) -> None:
    """Every field, with the times by the server's clock."""
    happened = datetime(2024, 5, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    event = Event("user.new", {"a": [1]}, {"b": None}, "42", happened, "github.com")
    sent = client.send_event(event, account_id="acme")
    record = client.get_event("42")
    assert (record.name, record.payload, record.context, record.id) == ("user.new", {"a": [1]}, {"b": None}, "42")
    assert (record.timestamp, record.source, record.account_id) == (happened, "github.com", "acme")
    assert (record.status, record.delivered_at, record.deliver_at) == ("pending", sent.delivered_at, None)
    assert (record.canceled_at, record.runs, record.is_settled) == (None, [], False)


def test_the_record_of_a_delayed_event_says_when_it_is_due(client: Client) -> None:
    """And that it was not delivered."""
    sent = client.send_event(Event("user.new"), deliver_after=60)
    record = client.get_event(sent.id)
    assert (record.status, record.deliver_at, record.delivered_at) == ("delayed", sent.deliver_at, None)


@pytest.mark.parametrize("value", [0, "", [], None, False, {}], ids=repr)
def test_an_empty_payload_comes_back_as_it_was(client: Client, value: object) -> None:
    """None of them becomes another."""
    record = client.get_event(client.send_event(Event("a", value, value)).id)
    assert (record.payload, record.context) == (value, value)
    assert type(record.payload) is type(record.context) is type(value)


def test_what_is_not_known_is_not_found(client: Client) -> None:
    """Events, runs and dead letters each have their own error with the id."""
    sent = client.send_event(Event("user.new"))
    with pytest.raises(EventNotFound) as event:
        client.get_event("nobody")
    with pytest.raises(EventNotFound):
        client.cancel_event("nobody")
    for run_id in ("nobody", "nobody:app/job", f"{sent.id}:app/job", sent.id):
        with pytest.raises(RunNotFound) as run:
            client.get_run(run_id)
        assert run.value.missing_id == run_id
    with pytest.raises(DeadLetterNotFound) as dead:
        client.get_dead_letter("1-0")
    assert (event.value.missing_id, dead.value.missing_id) == ("nobody", "1-0")


# Canceling.


def test_a_canceled_event_is_not_due_any_more(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Its record says when, and goes when its retention has passed; to cancel it again changes nothing."""
    sent = client.send_event(Event("user.new", 1), deliver_after=60)
    record = client.cancel_event(sent.id)
    assert (record.status, record.is_settled, record.payload) == ("canceled", True, 1)
    assert record.canceled_at is not None
    assert due(redis, keys) == {}
    assert redis.pttl(keys.event(sent.id)) > 0
    assert client.cancel_event(sent.id) == record


def test_a_delivered_event_stays_delivered(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """The record says so, and it is still in `events`."""
    sent = client.send_event(Event("user.new"))
    assert client.cancel_event(sent.id) == client.get_event(sent.id)
    assert client.get_event(sent.id).status == "pending"
    assert len(entries(redis, keys.events)) == 1


def test_canceled_events_without_retention_leave_only_their_id(
    kind: Kind, url: str, namespace: str, redis: redis_py.Redis
) -> None:
    """The contents are gone at once, and a send of the id is still a duplicate."""
    with open_client(kind, url, namespace=namespace, retention=Retention(success=0)) as client:
        sent = client.send_event(Event("user.new", "secret", id="42"), deliver_after=60)
        record = client.cancel_event(sent.id)
        again = client.send_event(Event("user.new", "other", id="42"))
    assert (record.status, record.name, record.payload) == ("canceled", "", None)
    assert (again.duplicate, again.delivered_at, again.deliver_at) == (True, None, sent.deliver_at)
    assert redis.hkeys(Keys(namespace).event("42")) == [b"m"]


def test_cancel_says_so_when_nothing_is_remembered(kind: Kind, url: str, namespace: str, redis: redis_py.Redis) -> None:
    """Without retention and without dedupe nothing of the event is kept, and a second cancel finds nothing."""
    nothing = Retention(0, 0, 0, 0)
    with open_client(kind, url, namespace=namespace, retention=nothing) as client:
        sent = client.send_event(Event("user.new", "mine", id="42"), deliver_after=60)
        before = client.get_event("42")
        record = client.cancel_event("42")
        with pytest.raises(EventNotFound):
            client.cancel_event("42")
    assert record.canceled_at is not None
    assert record == msgspec.structs.replace(
        before, status="canceled", canceled_at=record.canceled_at, deliver_at=sent.deliver_at
    )
    assert record.is_settled
    assert redis.exists(Keys(namespace).event("42")) == 0
