"""The same id never triggers anything twice, whether the sender or the client's own retry sends it again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event, EventConflict, EventRecord, HeadraceError, SentEvent
from headrace.calls import sending
from headrace.calls.arguments import pack
from headrace.calls.call import Call, script_call
from headrace.formats import codec
from headrace.formats.keys import Keys
from headrace.plans.prepare import SendOptions, prepare
from headrace.scripts import load
from headrace.transport.single import Transport
from tests.support.clients import Kind, open_client
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

OTHER = {"name": "user.old", "source": "elsewhere"}


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


@pytest.fixture
def transport(url: str) -> Iterator[Transport]:
    transport = Transport(url)
    yield transport
    transport.close()


def state(redis: redis_py.Redis, keys: Keys) -> dict[str, Any]:
    """Return everything that a send could have changed."""
    records: Any = redis.keys(keys.event("*"))
    return {
        "events": redis.xrange(keys.events),
        "due": redis.zrange(keys.due, 0, -1, withscores=True),
        "recent": redis.xrange(keys.recent),
        "records": {name: redis.hgetall(name) for name in sorted(records)},
    }


def event(payload: object = "first", **fields: Any) -> Event:
    return Event(**{"name": "user.new", "payload": payload, "id": "42", **fields})


def ids(entries: Any) -> list[bytes]:
    return [fields[b"i"] for _, fields in entries]


# By the sender.


def test_a_delayed_event_can_be_rescheduled(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Payload, context, account and due time are replaced: later or earlier, and it is still one event."""
    client.send_event(event("first", context=1), deliver_after=60, account_id="one")
    for payload, delay in [("later", 600), ("earlier", 30)]:
        sent = client.send_event(event(payload, context=payload), deliver_after=delay, account_id=payload)
        record = client.get_event("42")
        assert (sent.duplicate, sent.delivered_at, sent.payload) == (False, None, payload)
        assert (record.payload, record.context, record.account_id) == (payload, payload, payload)
        assert record.deliver_at == sent.deliver_at
        assert sent.deliver_at is not None
        assert redis.zrange(keys.due, 0, -1, withscores=True) == [(b"e:42", codec.to_micros(sent.deliver_at) // 1000)]
    assert redis.xlen(keys.recent) == 1
    assert redis.xlen(keys.events) == 0


def test_a_delayed_event_can_be_pulled_forward_to_now(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """It is in `events` with what was sent last, and not due any more."""
    client.send_event(event("first"), deliver_after=60)
    sent = client.send_event(event("second"))
    assert (sent.duplicate, sent.deliver_at, sent.payload) == (False, None, "second")
    assert sent.delivered_at is not None
    after = state(redis, keys)
    assert (ids(after["events"]), after["due"], len(after["recent"])) == ([b"42"], [], 1)
    record = client.get_event("42")
    assert (record.status, record.payload, record.deliver_at) == ("pending", "second", None)
    assert record.delivered_at == sent.delivered_at


@pytest.mark.parametrize("field", OTHER)
@pytest.mark.parametrize("delay", [None, 30])
def test_another_name_or_source_is_a_conflict(
    client: Client, redis: redis_py.Redis, keys: Keys, field: str, delay: float | None
) -> None:
    """Nothing of the delayed event changes, whatever the due time of the other event."""
    client.send_event(event("first"), deliver_after=60)
    before = state(redis, keys)
    with pytest.raises(EventConflict, match="cancel it first, or use another id") as caught:
        client.send_event(event("second", **{field: OTHER[field]}), deliver_after=delay)
    assert caught.value.event_id == "42"
    assert state(redis, keys) == before


@pytest.mark.parametrize("name", ["user.ne", "user.neww", "User.new", "user.new\0", "user"])
def test_a_name_that_is_almost_the_same_is_another(client: Client, name: str) -> None:
    """Names and sources are compared as a whole."""
    client.send_event(event("first"), deliver_after=60)
    with pytest.raises(EventConflict):
        client.send_event(event("second", name=name), deliver_after=60)


def test_a_conflict_says_what_became_of_the_other_events(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """They are sent, and `sent` of the error holds them."""
    client.send_event(event("first"), deliver_after=60)
    with pytest.raises(EventConflict) as caught:
        client.send_events([Event("a", id="1"), event(name="user.old"), Event("b", id="2")])
    assert isinstance(caught.value.sent, list)
    assert [sent.id for sent in caught.value.sent] == ["1", "2"]
    assert ids(redis.xrange(keys.events)) == [b"1", b"2"]


@pytest.mark.parametrize("options", [{}, {"deliver_after": 30}], ids=str)
@pytest.mark.parametrize("field", OTHER)
def test_a_delivered_id_with_another_name_is_a_conflict(
    client: Client, redis: redis_py.Redis, keys: Keys, options: dict[str, Any], field: str
) -> None:
    """As for a delayed event: nothing happens, and the error says where the stored event is."""
    client.send_event(event("first"))
    before = state(redis, keys)
    with pytest.raises(EventConflict, match="is already pending under another name or source") as caught:
        client.send_event(event("second", **{field: OTHER[field]}), **options)
    assert caught.value.status == "pending"
    assert state(redis, keys) == before


@pytest.mark.parametrize("options", [{}, {"deliver_after": 30}], ids=str)
def test_a_delivered_event_is_a_duplicate(
    client: Client, redis: redis_py.Redis, keys: Keys, options: dict[str, Any]
) -> None:
    """Nothing happens, and the answer is the stored event, whatever was sent."""
    first = client.send_event(event("first", context=1, timestamp=datetime(2024, 5, 1, tzinfo=UTC)))
    before = state(redis, keys)
    again = client.send_event(event("second"), **options)
    assert again == SentEvent(
        id="42",
        name="user.new",
        payload="first",
        context=1,
        timestamp=datetime(2024, 5, 1, tzinfo=UTC),
        deliver_at=None,
        delivered_at=first.delivered_at,
        duplicate=True,
    )
    assert state(redis, keys) == before


def test_a_canceled_event_is_a_duplicate(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """It stays canceled: the answer has its due time, and no delivery."""
    first = client.send_event(event("first"), deliver_after=60)
    client.cancel_event("42")
    before = state(redis, keys)
    again = client.send_event(event("second"))
    assert (again.duplicate, again.status) == (True, "canceled")
    assert (again.payload, again.delivered_at) == ("first", None)
    assert again.deliver_at == first.deliver_at
    assert state(redis, keys) == before


def test_an_id_twice_in_one_call_is_one_event(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Sent now, the second is a duplicate of the first."""
    first, second = client.send_events([event("first"), event("second")])
    assert (first.duplicate, second.duplicate) == (False, True)
    assert (first.payload, second.payload) == ("first", "first")
    assert first.delivered_at == second.delivered_at
    after = state(redis, keys)
    assert (ids(after["events"]), after["recent"][0][1]) == ([b"42"], {b"42": b"user.new"})


def test_an_id_twice_in_one_delayed_call_is_replaced(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """The last event of the id is delivered."""
    first, second = client.send_events([event("first"), event("second")], deliver_after=60)
    assert (first.duplicate, second.duplicate) == (False, False)
    assert first.deliver_at == second.deliver_at == client.get_event("42").deliver_at
    assert client.get_event("42").payload == "second"
    after = state(redis, keys)
    assert (len(after["due"]), after["recent"][0][1]) == (1, {b"42": b"user.new"})


def test_one_id_with_two_names_in_a_call_is_a_conflict(client: Client) -> None:
    """The first one stays."""
    with pytest.raises(EventConflict):
        client.send_events([event("first"), event("second", name="user.old")], deliver_after=60)
    assert client.get_event("42").payload == "first"


def test_an_id_twice_over_two_batches_is_one_event(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """As it is within one."""
    sent = client.send_events([event("first"), *(Event("a") for _ in range(500)), event("second")])
    assert [place for place, each in enumerate(sent) if each.duplicate] == [501]
    assert redis.xlen(keys.events) == 501


# By the client itself.


@pytest.mark.parametrize(
    "options", [{}, {"deliver_after": 60}, {"deliver_at": datetime(2001, 1, 1, tzinfo=UTC)}], ids=str
)
def test_a_lost_reply_changes_nothing_but_the_time_it_takes(
    kind: Kind, proxy: Proxy, namespace: str, redis: redis_py.Redis, options: dict[str, Any]
) -> None:
    """The client sends again by itself: one event, and the answer of the first time."""
    keys = Keys(namespace)
    with open_client(kind, proxy.url, namespace=namespace) as client:
        client.send_event(Event("warm"))
        before = len(state(redis, keys)["events"])
        cut = proxy.cut_after_request(load("send").sha.encode())
        sent = client.send_event(event(), **options)
        assert (cut.done, sent.duplicate, sent.payload) == (1, False, "first")
        record = client.get_event("42")
    assert (sent.delivered_at, sent.deliver_at) == (record.delivered_at, record.deliver_at)
    after = state(redis, keys)
    assert len(after["events"]) - before + len(after["due"]) == 1


@pytest.mark.parametrize("options", [{}, {"deliver_after": 60}], ids=str)
def test_a_lost_reply_to_many_batches_loses_and_doubles_nothing(
    kind: Kind, proxy: Proxy, namespace: str, redis: redis_py.Redis, options: dict[str, Any]
) -> None:
    """The line is cut behind the second of three batches; all are sent again, and answered in order."""
    keys = Keys(namespace)
    events = [Event("user.new", n) for n in range(1_200)]
    with open_client(kind, proxy.url, namespace=namespace) as client:
        client.send_event(Event("warm"), deliver_after=600)
        seen: list[bytes] = []
        sha = load("send").sha.encode()

        def is_second(request: bytes) -> bool:
            if sha in request and request not in seen:
                seen.append(request)
            return len(seen) == 2 and request == seen[1]

        cut = proxy.cut_after_request(is_second)
        sent = client.send_events(events, **options)
    assert cut.done == 1
    assert [each.payload for each in sent] == list(range(1_200))
    assert not any(each.duplicate for each in sent)
    after = state(redis, keys)
    assert len(after["events"]) + len(after["due"]) - 1 == 1_200
    delivered = ids(after["events"]) if not options else [member[2:] for member, _ in after["due"][:-1]]
    assert sorted(delivered) == sorted(each.id.encode() for each in sent)


def test_a_lost_request_is_sent_again(kind: Kind, proxy: Proxy, namespace: str, redis: redis_py.Redis) -> None:
    """The server has not received it."""
    with open_client(kind, proxy.url, namespace=namespace) as client:
        client.send_event(Event("warm"))
        cut = proxy.cut_before_request(load("send").sha.encode())
        sent = client.send_event(event())
    assert (cut.done, sent.duplicate) == (1, False)
    assert ids(redis.xrange(Keys(namespace).events))[1:] == [b"42"]


def test_a_lost_reply_to_a_cancel_is_made_good(kind: Kind, proxy: Proxy, namespace: str) -> None:
    """It is canceled, and the answer is the record of that."""
    with open_client(kind, proxy.url, namespace=namespace) as client:
        for event_id in ("warm", "42"):
            client.send_event(Event("a", id=event_id), deliver_after=60)
        client.cancel_event("warm")
        cut = proxy.cut_after_request(load("cancel").sha.encode())
        assert client.cancel_event("42").status == "canceled"
        assert cut.done == 1


def test_a_lost_reply_to_a_retry_of_a_run_is_made_good(
    kind: Kind, proxy: Proxy, namespace: str, redis: redis_py.Redis
) -> None:
    """The run is queued once, and the repeated call is not refused because it is queued."""
    keys = Keys(namespace)
    with open_client(kind, proxy.url, namespace=namespace) as client:
        for event_id in ("warm", "42"):
            client.send_event(Event("a", id=event_id))
            redis.hset(keys.event(event_id), "r:app/job", "f 5 0 0 0 default 1-0 host-1 1 2")
        client.retry_run("warm:app/job")
        cut = proxy.cut_after_request(load("rerun").sha.encode())
        assert client.retry_run("42:app/job").status == "queued"
        assert cut.done == 1
    assert redis.xlen(keys.queue("app", "default")) == 2


# The same call again, after other things have happened in between.

Answers = list[SentEvent | HeadraceError]


def build(keys: Keys, *events: Event, token: str = "token0", **options: Any) -> Call[Any]:
    prepared = prepare(events, SendOptions(**options), now=lambda: datetime(2024, 5, 1, tzinfo=UTC))
    return sending.send(keys, prepared, token)


def promote(transport: Transport, redis: redis_py.Redis, keys: Keys, event_id: str) -> None:
    names = (keys.due, keys.events, keys.event(event_id), keys.events, keys.events)
    arguments = {"inline": codec.INLINE_BYTES, "ahead": 1, "members": [f"e:{event_id}"], "ordered": {}}
    call = script_call("promote", names, (pack(arguments),), bool)

    def is_delivered() -> bool:
        transport.run([call])
        return redis.zscore(keys.due, f"e:{event_id}") is None

    wait_until(is_delivered)


def test_a_retry_after_delivery_answers_as_the_first_time(
    transport: Transport, redis: redis_py.Redis, keys: Keys
) -> None:
    """The answer is what the send did, not what has become of the event since."""
    call = build(keys, event(), deliver_after=0.02)
    (first,) = transport.run([call])
    promote(transport, redis, keys, "42")
    before = state(redis, keys)
    (again,) = transport.run([call])
    assert again == first
    assert first[0].deliver_at is not None
    assert state(redis, keys) == before


@pytest.mark.parametrize("options", [{"deliver_after": 60}, {"deliver_at": datetime(2099, 1, 1, tzinfo=UTC)}], ids=str)
def test_a_retry_after_a_cancel_answers_as_the_first_time(
    transport: Transport, redis: redis_py.Redis, keys: Keys, client: Client, options: dict[str, Any]
) -> None:
    """And it stays canceled."""
    call = build(keys, event(), **options)
    (first,) = transport.run([call])
    client.cancel_event("42")
    before = state(redis, keys)
    (again,) = transport.run([call])
    assert again == first
    assert state(redis, keys) == before


def test_a_retry_does_not_undo_what_a_later_send_has_replaced(
    transport: Transport, redis: redis_py.Redis, keys: Keys, client: Client
) -> None:
    """A duplicate of an event that was pulled forward stays a duplicate for the retry."""
    call = build(keys, event("first"), deliver_after=60)
    transport.run([call])
    client.send_event(event("second"))
    before = state(redis, keys)
    ((again,),) = transport.run([call])
    assert (again.duplicate, again.payload) == (True, "second")
    assert state(redis, keys) == before


@pytest.mark.parametrize("options", [{}, {"deliver_after": 0.02}], ids=str)
def test_a_retry_of_one_id_twice_answers_as_the_first_time(
    transport: Transport, redis: redis_py.Redis, keys: Keys, options: dict[str, Any]
) -> None:
    """Also where the event was delivered in between."""
    call = build(keys, event("first"), event("second"), **options)
    (first,) = transport.run([call])
    if options:
        promote(transport, redis, keys, "42")
    before = state(redis, keys)
    (again,) = transport.run([call])
    assert again == first
    assert state(redis, keys) == before


def test_another_call_is_no_retry(transport: Transport, keys: Keys) -> None:
    """Only the same token, at the same place or before, is the same send."""
    transport.run([build(keys, Event("a", id="1"), event("first"))])
    for other in (
        build(keys, Event("a", id="2"), event("second"), token="token1"),
        build(keys, Event("a", id="3"), Event("a", id="4"), event("second")),
    ):
        (answers,) = transport.run([other])
        assert answers[-1].duplicate


def test_events_of_before_are_not_touched_by_a_retry(transport: Transport, redis: redis_py.Redis, keys: Keys) -> None:
    """A call of new, delayed, delivered and conflicting events gives the same answers and state twice."""
    transport.run([build(keys, Event("b", 1, id="delivered"), token="t1")])
    transport.run(
        [build(keys, Event("a", 1, id="conflict"), Event("b", 1, id="delayed"), token="t2", deliver_after=60)]
    )
    mixed = [Event("b", 2, id=event_id) for event_id in ("new", "delayed", "delivered", "conflict")]
    call = build(keys, *mixed, token="t3", deliver_at=datetime.now(UTC) + timedelta(hours=1))
    (first,) = transport.run([call])
    before = state(redis, keys)
    (again,) = transport.run([call])
    assert [repr(each) for each in again] == [repr(each) for each in first]
    assert [getattr(each, "duplicate", None) for each in first] == [False, False, True, None]
    assert state(redis, keys) == before


def test_an_event_whose_record_is_damaged_does_not_pass_for_sent(
    client: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """The error says that the record can't be read."""
    redis.hset(keys.event("42"), "m", "damaged")
    redis.expire(keys.event("42"), 60)
    with pytest.raises(HeadraceError, match="header b'damaged' is damaged"):
        client.send_event(event())
    with pytest.raises(HeadraceError, match="header b'damaged' is damaged"):
        client.get_event("42")


def test_the_record_is_of_one_type_everywhere(client: Client) -> None:
    """What `cancel_event` returns is what `get_event` returns."""
    client.send_event(event(), deliver_after=60)
    canceled = client.cancel_event("42")
    assert isinstance(canceled, EventRecord)
    assert canceled == client.get_event("42")
