"""What a client sends is on the server as it was given, and what it asks is answered from there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import redis as redis_py

from headrace import (
    AsyncClient,
    Client,
    ConfigurationError,
    DeadLetterNotFound,
    Event,
    EventNotFound,
    EventTooLarge,
    InvalidEvent,
    Retention,
    RunError,
    RunNotFound,
    RunNotRetryable,
)
from headrace.formats import codec
from headrace.formats.keys import Keys
from tests.support.clients import KINDS, Kind, open_client
from tests.support.waiting import wait_until

SOON = timedelta(seconds=60)
STRANGE = ["a:b", "e:a/j:x/y", "{x}", "}{", "\n\r\n", "\0", " ", "*?[", "é\U0001f300", "x" * 256, "\U0001f300" * 256]


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


def entries(redis: redis_py.Redis, stream: str) -> list[dict[bytes, bytes]]:
    found: Any = redis.xrange(stream)
    return [fields for _, fields in found]


def due(redis: redis_py.Redis, keys: Keys) -> dict[bytes, float]:
    found: Any = redis.zrange(keys.due, 0, -1, withscores=True)
    return dict(found)


def server_time(redis: redis_py.Redis) -> datetime:
    seconds, micros = redis.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)


# Sending.


def test_an_event_sent_now_is_in_events(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Its entry has the id and the body; the answer has the server's time, and no time that it waits for."""
    before = server_time(redis) - timedelta(milliseconds=1)
    sent = client.send_event(Event("user.new", {"userId": "u_1"}, context=[1]), account_id="acme")
    (entry,) = entries(redis, keys.events)
    stored = codec.decode_event(entry[b"b"])
    assert entry[b"i"].decode() == sent.id
    assert (stored.n, stored.s, stored.a, codec.decode_value(stored.p)) == (
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
    """A delay of nothing, or a time that is past."""
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
    """It needs no server, not even one that is there."""
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


def test_without_retention_only_the_id_of_a_canceled_event_is_remembered(
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


def test_of_a_canceled_event_that_is_not_remembered_the_answer_says_so(
    kind: Kind, url: str, namespace: str, redis: redis_py.Redis
) -> None:
    """Without retention and without dedupe nothing is kept of it, and a second cancel finds nothing."""
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


# Settings.


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
    """Never a silent server on this machine; an empty variable is none."""
    monkeypatch.delenv("HEADRACE_URL", raising=False)
    if found is not None:
        monkeypatch.setenv("HEADRACE_URL", found)
    with (
        pytest.raises(ConfigurationError, match=r"pass url='redis://host:6379/0', or set HEADRACE_URL"),
        open_client(kind),
    ):
        pass


def test_the_namespace_is_default_unless_named(kind: Kind, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is no name is refused."""
    monkeypatch.delenv("HEADRACE_NAMESPACE", raising=False)
    with open_client(kind, url) as client:
        assert client.partitions.namespace == "default"
    with (
        pytest.raises(ConfigurationError, match="namespace 'a b' is not a name"),
        open_client(kind, url, namespace="a b"),
    ):
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


# Runs.


def add_run(redis: redis_py.Redis, keys: Keys, event_id: str, job: str, letter: str, outcome: bytes = b"") -> str:
    """Writes a run as the scripts do, and indexes it if it has settled."""
    line = f"{letter} 2 1 0 0 default 7-0 host-1 1700000000000 {0 if letter in 'qxw' else 1700000001000}"
    redis.hset(keys.event(event_id), f"r:{job}", line.encode() + (b"\n" + outcome if outcome else b""))
    if letter in "sftci":
        redis.xadd(keys.runs, {f"{event_id}:{job}": letter})
    return f"{event_id}:{job}"


def test_a_run_is_what_the_record_holds_of_it(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Found by its id, with the error and the times."""
    sent = client.send_event(Event("a", id="e:1"))
    error = RunError("ValueError", "no\nsuch", "Traceback …")
    run_id = add_run(redis, keys, sent.id, "app/job", "f", codec.encode_outcome(error, {"partial": 1}))
    run = client.get_run(run_id)
    assert (run.id, run.event_id, run.job, run.status) == ("e:1:app/job", "e:1", "app/job", "failed")
    assert (run.attempt, run.lost, run.queue, run.worker) == (2, 1, "default", "host-1")
    assert (run.started_at, run.finished_at) == (
        datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC),
    )
    assert (run.error, run.output) == (error, {"partial": 1})
    assert client.get_event(sent.id).runs == [run]


@pytest.fixture
def runs(client: Client, redis: redis_py.Redis, keys: Keys) -> list[str]:
    """The ids of 200 runs, the newest first: two jobs for each of 100 events, of which 45 went in one call."""
    sent = client.send_events([Event("a", id=f"e{n:02}") for n in range(45)])
    sent += [client.send_event(Event("a", id=f"e{n:02}")) for n in range(45, 100)]
    made = []
    for place, each in enumerate(sent):
        made.append(add_run(redis, keys, each.id, "app/one", "s" if place % 2 else "f"))
        made.append(add_run(redis, keys, each.id, "app/two", "q"))
    return [run for pair in zip(made[-2::-2], made[::-2], strict=True) for run in pair]


def pages(client: Client, limit: int, **filters: Any) -> list[str]:
    """The ids of all runs that a listing returns, page by page."""
    found: list[str] = []
    cursor = None
    while True:
        page = client.list_runs(cursor=cursor, limit=limit, **filters)
        found += [run.id for run in page.runs]
        cursor = page.cursor
        if cursor is None:
            return found
        assert page.runs


def test_a_listing_has_every_run_once_newest_first(client: Client, runs: list[str]) -> None:
    """Whatever the size of its pages: by when the events were sent, those of one call too."""
    for limit in (1, 7, 44, 45, 90, 1000):
        assert pages(client, limit) == runs, limit


@pytest.mark.parametrize(
    ("filters", "ending", "letters"),
    [
        ({"job": "app/one"}, "app/one", "sf"),
        ({"job": "app/two"}, "app/two", "q"),
        ({"status": "queued"}, "app/two", "q"),
        ({"status": "succeeded"}, "app/one", "s"),
        ({"status": "failed", "job": "app/one"}, "app/one", "f"),
        ({"status": "failed", "job": "app/two"}, "nothing", ""),
        ({"status": "waiting"}, "nothing", ""),
        ({"status": ["succeeded", "failed"]}, "app/one", "sf"),
        ({"status": {"succeeded"}, "event_name": "a"}, "app/one", "s"),
        ({"status": ("queued", "waiting"), "event_name": "a"}, "app/two", "q"),
        ({"event_name": "b"}, "nothing", ""),
        ({"job": "app/three"}, "nothing", ""),
    ],
    ids=str,
)
def test_a_listing_can_be_narrowed(
    client: Client, runs: list[str], filters: dict[str, Any], ending: str, letters: str
) -> None:
    """To a job, to a state or to both; every such run is there, once, and no other."""
    place = {run: int(run[1:3]) for run in runs}
    expected = {run for run in runs if run.endswith(ending)}
    if letters in {"s", "f"}:
        expected = {run for run in expected if (place[run] % 2 == 1) == (letters == "s")}
    for limit in (1, 7, 1000):
        found = pages(client, limit, **filters)
        assert len(found) == len(set(found))
        assert set(found) == expected


def test_the_runs_of_one_event_are_one_page(client: Client, runs: list[str]) -> None:
    """Narrowed as any listing; an event that is not known is an error, and not a page without runs."""
    assert [run.id for run in client.list_runs(event_id="e07").runs] == ["e07:app/one", "e07:app/two"]
    assert [run.id for run in client.list_runs(event_id="e07", status="queued").runs] == ["e07:app/two"]
    assert "e07:app/one" in runs
    with pytest.raises(EventNotFound):
        client.list_runs(event_id="nobody")


@pytest.mark.parametrize("status", [None, "queued", "succeeded"])
def test_a_listing_can_be_bounded_in_time(
    client: Client, redis: redis_py.Redis, keys: Keys, runs: list[str], status: Any
) -> None:
    """Both bounds are included, to the millisecond."""
    every = pages(client, 50, status=status)
    assert set(every) <= set(runs)
    stream = keys.runs if status == "succeeded" else keys.recent
    index: Any = redis.xrange(stream)
    moments = [int(entry.partition(b"-")[0]) for entry, _ in index]
    first, last = codec.from_millis(min(moments)), codec.from_millis(max(moments))
    second = timedelta(seconds=1)
    assert pages(client, 50, status=status, since=first, until=last) == every
    assert pages(client, 50, status=status, since=last + second) == []
    assert pages(client, 50, status=status, until=first - second) == []


def test_all_runs_are_iterated_over(url: str, namespace: str, runs: list[str]) -> None:
    """Page by page, with either client; and all dead letters."""
    with Client(url, namespace=namespace) as client:
        assert [run.id for run in client.iter_runs()] == runs
        assert [run.id for run in client.iter_runs(event_id="e07", job="app/two")] == ["e07:app/two"]
        assert list(client.iter_dead_letters()) == []

    async def iterate() -> list[str]:
        async with AsyncClient(url, namespace=namespace) as client:
            assert [letter async for letter in client.iter_dead_letters()] == []
            return [run.id async for run in client.iter_runs()]

    assert asyncio.run(iterate()) == runs


@pytest.mark.usefixtures("runs")
def test_runs_that_settled_are_listed_by_when_they_did(client: Client) -> None:
    """The last one first, whenever its event was sent."""
    found = pages(client, 10, status="succeeded")
    assert found == sorted(found, reverse=True)


def test_a_run_whose_record_is_gone_is_not_listed(
    client: Client, redis: redis_py.Redis, keys: Keys, runs: list[str]
) -> None:
    """Retention may take records out of the middle of a listing."""
    redis.delete(keys.event("e05"), keys.event("e99"))
    assert pages(client, 7) == [run for run in runs if not run.startswith(("e05", "e99"))]


@pytest.mark.usefixtures("runs")
def test_a_run_that_settled_twice_is_listed_once(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """As one does that was retried: in its last state only, and where it settled last."""
    redis.xadd(keys.runs, {"e01:app/one": "s"})
    redis.xadd(keys.runs, {"e00:app/one": "s"})
    redis.hset(keys.event("e00"), "r:app/one", "s 1 0 0 0 default 7-0 host-1 1 2")
    found = [run.id for run in client.list_runs(status="succeeded", limit=1000).runs]
    assert found[:2] == ["e00:app/one", "e01:app/one"]
    assert len(found) == len(set(found)) == 51
    assert "e00:app/one" not in pages(client, 7, status="failed")


def test_a_page_may_be_asked_for_while_events_come_in(client: Client, runs: list[str]) -> None:
    """The cursor stands where it stood."""
    first = client.list_runs(limit=10)
    client.send_events([Event("a") for _ in range(100)])
    second = client.list_runs(limit=10, cursor=first.cursor)
    assert [run.id for run in [*first.runs, *second.runs]] == runs[:20]


def test_nothing_is_listed_where_nothing_is(client: Client) -> None:
    """Not even a cursor."""
    assert client.list_runs().runs == []
    assert client.list_runs(status="failed").cursor is None
    assert client.list_dead_letters().entries == []


# Dead letters.


def bury(redis: redis_py.Redis, keys: Keys, event_id: str, error: bytes = b"") -> str:
    entry: Any = redis.xadd(keys.dead, {"run": f"{event_id}:app/job", "reason": "failed", "error": error})
    return str(entry.decode())


def test_a_dead_letter_says_which_run_it_was_and_why(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """By its id it is found alone."""
    error = codec.encode_outcome(RunError("ValueError", "no such user"), None)
    entry_id = bury(redis, keys, "e:1", error=error)
    (entry,) = client.list_dead_letters().entries
    assert (entry.id, entry.run_id, entry.job) == (entry_id, "e:1:app/job", "app/job")
    assert (entry.reason, entry.error, entry.raw) == ("failed", "ValueError: no such user", {})
    assert abs(entry.dead_at - server_time(redis)) < timedelta(minutes=1)
    assert client.get_dead_letter(entry_id) == entry


def test_what_could_not_be_read_is_kept_as_it_was(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """It belongs to no run; its fields are bytes, also where their names are no text."""
    redis.xadd(
        keys.dead,
        {"reason": "unreadable", "error": "these 2 bytes are not an event", "raw.b": b"\xff\x00", b"raw.\xfe": b""},
    )
    (entry,) = client.list_dead_letters().entries
    assert (entry.run_id, entry.job, entry.reason) == (None, None, "unreadable")
    assert entry.error == "these 2 bytes are not an event"
    assert entry.raw == {"b": b"\xff\x00", "\\xfe": b""}


@pytest.mark.parametrize("limit", [1, 3, 9, 10, 11])
def test_dead_letters_are_listed_newest_first(client: Client, redis: redis_py.Redis, keys: Keys, limit: int) -> None:
    """Page by page, each once."""
    buried = [bury(redis, keys, f"e{n}") for n in range(10)]
    found: list[str] = []
    cursor = None
    while True:
        page = client.list_dead_letters(cursor=cursor, limit=limit)
        found += [entry.id for entry in page.entries]
        cursor = page.cursor
        assert (cursor is None) == (len(page.entries) < limit)
        if cursor is None:
            break
    assert found == buried[::-1]


# Retrying.


@pytest.mark.parametrize("letter", ["f", "t", "i"])
def test_a_failed_run_is_queued_again(client: Client, redis: redis_py.Redis, keys: Keys, letter: str) -> None:
    """From its first attempt; its dead letter is gone, and its record stays."""
    sent = client.send_event(Event("a", {"x": 1}))
    dead = bury(redis, keys, sent.id)
    run_id = add_run(redis, keys, sent.id, "app/job", letter)
    redis.hset(keys.event(sent.id), "r:app/job", f"{letter} 5 0 0 0 mail {dead} host-1 1 2")
    redis.expire(keys.event(sent.id), 60)
    run = client.retry_run(run_id)
    assert (run.id, run.status, run.attempt, run.queue, run.worker) == (run_id, "queued", 1, "mail", None)
    (entry,) = entries(redis, keys.queue("app", "mail"))
    assert (entry[b"e"].decode(), entry[b"j"], codec.decode_value(codec.decode_event(entry[b"b"]).p)) == (
        sent.id,
        b"job",
        {"x": 1},
    )
    assert client.list_dead_letters().entries == []
    assert redis.pttl(keys.event(sent.id)) == -1


@pytest.mark.parametrize("letter", ["q", "x", "w", "s", "c"])
def test_only_a_failed_run_can_be_retried(client: Client, redis: redis_py.Redis, keys: Keys, letter: str) -> None:
    """Any other stays as it is, while its entry is where its record says."""
    run_id = add_run(redis, keys, client.send_event(Event("a")).id, "app/job", letter)
    redis.xadd(keys.queue("app", "default"), {"e": "in its queue"}, id="7-0")
    before = client.get_run(run_id)
    with pytest.raises(RunNotRetryable, match="can't be retried: only a run that ended without success") as caught:
        client.retry_run(run_id)
    assert caught.value.status == before.status
    assert client.get_run(run_id) == before


def test_a_run_whose_entry_was_deleted_can_be_retried(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Once: then it is in its queue."""
    run_id = add_run(redis, keys, client.send_event(Event("a")).id, "app/job", "x")
    assert client.retry_run(run_id).status == "queued"
    with pytest.raises(RunNotRetryable, match="or whose entry is gone"):
        client.retry_run(run_id)
    assert redis.xlen(keys.queue("app", "default")) == 1


def test_a_run_whose_payload_is_gone_cannot_be_retried(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """The error says that retention has taken it."""
    sent = client.send_event(Event("a"))
    run_id = add_run(redis, keys, sent.id, "app/job", "f")
    redis.hdel(keys.event(sent.id), "e")
    with pytest.raises(RunNotRetryable, match="payload is not kept any more"):
        client.retry_run(run_id)
    with pytest.raises(RunNotFound):
        client.retry_run("nobody:app/job")
