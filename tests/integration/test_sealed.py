"""A codec seals payloads: the server can't read them, and nothing is lost where a key is missing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis as redis_py
from structlog.testing import capture_logs

from headrace import AsyncClient, Client, DeadLetter, Event, EventRecord, RunRecord, Sealed, SentEvent
from headrace_worker import App, Context, JobIO, Retry, SyncJobIO, event_trigger
from tests.support.clients import KINDS, Kind, open_client
from tests.support.codecs import Broken, Scrambler
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

CODEC = Scrambler()
SECRET = "kitten"


class Patient(msgspec.Struct):
    name: str


class Seen:
    """An app that notes what its jobs saw."""

    def __init__(self, codec: Any = CODEC, *, filtered: bool = False) -> None:
        self.calls: list[Any] = []
        self.app = App("app", codec=codec)
        trigger = event_trigger(
            "visit",
            filter={"name": [{"$startsWith": "kit"}]} if filtered else None,
            context_filter={"ward": ["3"]} if filtered else None,
        )

        @self.app.job(id="job", trigger=trigger, retry=Retry(max_attempts=2, min_delay=0.01, jitter=False))
        async def job(payload: Patient, ctx: Context) -> str:
            self.calls.append((payload.name, ctx.event.context))
            return f"seen {payload.name}"


over_partitions = pytest.mark.parametrize("partitions", [1, 4])


@pytest.fixture
def partitions() -> int:
    """How many the namespace has, where the test does not say."""
    return 1


@pytest.fixture
def host(url: str, namespace: str, partitions: int) -> WorkerHost:
    return WorkerHost(url, namespace, partitions)


@pytest.fixture
def client(url: str, namespace: str, partitions: int) -> Iterator[Client]:
    with Client(url, namespace=namespace, partitions=partitions, codec=CODEC) as client:
        yield client


@pytest.fixture
def stranger(url: str, namespace: str, partitions: int) -> Iterator[Client]:
    """A client without the codec."""
    with Client(url, namespace=namespace, partitions=partitions) as client:
        yield client


def everything_on(redis: redis_py.Redis) -> bytes:
    """Return all data of the server, as its keys hold it."""
    readers: dict[bytes, Any] = {
        b"hash": redis.hgetall,
        b"stream": redis.xrange,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"set": redis.smembers,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"string": redis.get,
    }
    kinds = {key: bytes(redis.type(key)) for key in redis.scan_iter()}  # type: ignore[arg-type]
    return b"".join(key + repr(readers[kind](key)).encode() for key, kind in kinds.items())


def make_leaky_app() -> App:
    """An app whose jobs put what they see into every possible place."""
    app = App("app", codec=CODEC)

    @app.job(id="good", trigger=event_trigger("visit"))
    async def good(payload: Any, ctx: Context, io: JobIO) -> Any:
        await io.send_event("more", Event("more", ctx.event.context))
        return payload[0]

    @app.job(id="plain", trigger=event_trigger("more"))
    def plain(payload: Any, io: SyncJobIO) -> None:
        io.send_event("most", Event("most", payload))

    @app.job(id="bad", trigger=event_trigger("visit"), retry=Retry(max_attempts=2, min_delay=0))
    async def bad(payload: Any) -> None:
        raise ValueError(payload[0])

    return app


class _Found(msgspec.Struct):
    """What a client says of an event and its runs."""

    event: EventRecord
    letters: list[DeadLetter]
    listed: list[RunRecord]
    duplicate: SentEvent


def ask(client: Client, event_id: str) -> _Found:
    return _Found(
        client.get_event(event_id),
        client.list_dead_letters().items,
        client.list_runs(status="succeeded").items,
        client.send_event(Event("visit", "again", id=event_id)),
    )


@over_partitions
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 20_000])
def test_nothing_that_is_sealed_is_readable_on_the_server(
    kind: Kind, size: int, host: WorkerHost, redis: redis_py.Redis, stranger: Client
) -> None:
    """Payload, context, output and error go through dispatch, retry, settle and dead letter without being seen."""
    payload = [SECRET] * size
    divided = {"namespace": host.namespace, "partitions": host.partitions}
    with open_client(kind, host.url, **divided, codec=CODEC) as client:
        event_id = client.send_event(Event("visit", payload, {"also": SECRET})).id
        assert SECRET.encode() not in everything_on(redis)
        asyncio.run(host.settle(make_leaky_app()))
        assert SECRET.encode() not in everything_on(redis)
        found = ask(client, event_id)
    bad, good = found.event.runs
    assert (found.event.payload, found.event.context) == (payload, {"also": SECRET})
    assert (good.output, bad.error and bad.error.message) == (SECRET, SECRET)
    assert [letter.error for letter in found.letters] == [f"ValueError: {SECRET}"]
    assert [run.output for run in found.listed if run.job == "app/good"] == [SECRET]
    assert (found.duplicate.duplicate, found.duplicate.payload) == (True, payload)

    found = ask(stranger, event_id)
    bad, good = found.event.runs
    values = [found.event.payload, found.event.context, good.output, found.duplicate.payload]
    assert [type(value) for value in values] == [Sealed] * 4
    assert (bad.output, bad.error and bad.error.type) == (None, "Sealed")
    assert [letter.error.partition(":")[0] for letter in found.letters] == ["Sealed"]


async def test_a_worker_with_a_codec_runs_plain_events(host: WorkerHost, stranger: Client) -> None:
    """Events that were sent without a codec run as before."""
    seen = Seen()
    stranger.send_event(Event("visit", {"name": "plain"}))
    await host.settle(seen.app)
    assert seen.calls == [("plain", None)]


@over_partitions
async def test_a_run_waits_for_a_worker_with_the_codec(host: WorkerHost, client: Client, stranger: Client) -> None:
    """A worker without the codec calls nothing and logs why; the run waits, uncounted, for a worker that has it."""
    without, having = Seen(codec=None), Seen()
    sent = client.send_event(Event("visit", {"name": SECRET}))
    async with host.working(without.app):
        await await_until(lambda: [run.status for run in stranger.get_event(sent.id).runs] == ["waiting"], 20)
        error = stranger.get_event(sent.id).runs[0].error
        assert error is not None
        assert error.type == "SealedEvent"
        assert "this process has none" in error.message
    await host.settle(having.app)
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.attempt, run.output) == ("succeeded", 1, f"seen {SECRET}")
    assert (without.calls, having.calls) == ([], [(SECRET, None)])


async def test_a_run_that_no_worker_can_open_is_dead_and_can_be_retried(host: WorkerHost, client: Client) -> None:
    """After the time for which a run waits for its job it is dead as `sealed`, and a retry with the codec runs it."""
    sent = client.send_event(Event("visit", {"name": SECRET}))
    await host.settle(Seen(codec=None).app, unknown_job=0.0)
    (letter,) = client.list_dead_letters().items
    assert letter.reason == "sealed"
    client.retry_run(letter.run_id or "")
    having = Seen()
    await host.settle(having.app)
    assert client.get_event(sent.id).runs[0].status == "succeeded"
    assert having.calls == [(SECRET, None)]


async def test_a_wrong_key_is_a_failed_attempt(host: WorkerHost, client: Client) -> None:
    """A run whose event the codec can't open is tried like one that raises, is dead, and runs after a retry."""
    sent = client.send_event(Event("visit", {"name": SECRET}))
    wrong = Seen(Scrambler(b"other key"))
    await host.settle(wrong.app)
    (letter,) = client.list_dead_letters().items
    assert letter.reason == "failed"
    having = Seen()
    client.retry_run(letter.run_id or "")
    await host.settle(having.app)
    assert client.get_event(sent.id).runs[0].status == "succeeded"
    assert (wrong.calls, having.calls) == ([], [(SECRET, None)])


async def test_filters_see_what_is_inside(host: WorkerHost, client: Client) -> None:
    """A dispatcher with the codec matches sealed events like plain ones: no run where a filter does not pass."""
    seen = Seen(filtered=True)
    sent = client.send_events(
        [
            Event("visit", {"name": SECRET}, {"ward": "3"}),
            Event("visit", {"name": "puppy"}, {"ward": "3"}),
            Event("visit", {"name": SECRET}, {"ward": "4"}),
        ]
    )
    await host.settle(seen.app)
    assert [len(client.get_event(each.id).runs) for each in sent] == [1, 0, 0]
    assert seen.calls == [(SECRET, {"ward": "3"})]


@over_partitions
async def test_filters_are_judged_where_the_key_is(host: WorkerHost, client: Client) -> None:
    """Where a dispatcher can't open an event, the job's worker judges it: what does not pass is canceled, uncalled."""
    seen = Seen(filtered=True)
    sent = client.send_events(
        [
            Event("visit", {"name": SECRET}, {"ward": "3"}),
            Event("visit", {"name": "puppy"}, {"ward": "3"}),
            Event("visit", {"name": SECRET}, {"ward": "4"}),
        ]
    )
    async with (
        host.working(seen.app, dispatchers=0),
        host.working(App("other")),
        AsyncClient(host.url, namespace=host.namespace, partitions=host.partitions, codec=CODEC) as asker,
    ):
        records = [await asker.wait_for_event(each.id, 30) for each in sent]
    assert [record.runs[0].status for record in records] == ["succeeded", "canceled", "canceled"]
    errors = [record.runs[0].error for record in records[1:]]
    assert [error and error.type for error in errors] == ["NotMatched", "NotMatched"]
    assert "`filter`" in str(errors[0])
    assert "`context_filter`" in str(errors[1])
    assert seen.calls == [(SECRET, {"ward": "3"})]
    assert client.list_dead_letters().items == []


async def test_a_source_is_matched_by_every_dispatcher(host: WorkerHost, client: Client) -> None:
    """A dispatcher that can't open an event makes no run of it for a job with another source."""
    app = App("app", codec=CODEC)
    app.job(id="job", trigger=event_trigger("visit", source="lab", filter={"name": ["x"]}))(lambda: None)
    sent = client.send_event(Event("visit", {"name": "x"}, source="shop"))
    async with (
        host.working(app, dispatchers=0),
        host.working(App("other")),
        AsyncClient(host.url, namespace=host.namespace) as asker,
    ):
        assert (await asker.wait_for_event(sent.id, 30)).runs == []


async def test_a_copied_event_runs_nothing(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """Data that was sealed for one event opens in no other event: without the key it can't be sent under a new id."""
    keys = client.partitions.first
    sent = client.send_event(Event("visit", {"name": SECRET}))
    stolen: Any = redis.hget(keys.event(sent.id), "e")
    redis.hset(keys.event("copy"), mapping={"e": stolen, "m": "t.1 c 0 1 0 -"})
    redis.xadd(keys.events, {"i": "copy", "z": len(stolen), "b": stolen})
    seen = Seen()
    await host.settle(seen.app)
    (run,) = client.get_event("copy").runs
    assert run.status == "failed"
    assert run.error is not None
    assert "WrongKey" in run.error.message
    assert seen.calls == [(SECRET, None)]


async def test_an_outcome_that_can_not_be_sealed_is_not_stored(
    host: WorkerHost, client: Client, redis: redis_py.Redis
) -> None:
    """The run has succeeded although the codec fails on its output; its record says what is missing."""
    seen = Seen(Broken())
    sent = client.send_event(Event("visit", {"name": SECRET}))
    await host.settle(seen.app)
    (run,) = client.get_event(sent.id).runs
    assert (run.status, run.output) == ("succeeded", None)
    assert run.error is not None
    assert run.error.type == "NotSealed"
    assert SECRET.encode() not in everything_on(redis)


async def test_a_delayed_event_can_be_sealed_afterwards(host: WorkerHost, client: Client, stranger: Client) -> None:
    """Sent again with a codec while it is delayed, a plain event is replaced by a sealed one."""
    stranger.send_event(Event("visit", {"name": "plain"}, id="e1"), deliver_after=3_600)
    client.send_event(Event("visit", {"name": SECRET}, id="e1"))
    seen = Seen()
    await host.settle(seen.app)
    assert seen.calls == [(SECRET, None)]


async def test_a_slow_codec_is_named_in_the_log(host: WorkerHost) -> None:
    """Nothing else goes on during its calls, so the log says that once in a while; its runs succeed."""

    class Slow(Scrambler):
        def decode(self, data: bytes, bound_to: bytes, /) -> bytes:
            time.sleep(0.12)
            return super().decode(data, bound_to)

    seen = Seen(Slow())
    with capture_logs() as lines, Client(host.url, namespace=host.namespace, codec=CODEC) as client:
        async with host.working(seen.app):
            ids = [sent.id for sent in client.send_events([Event("visit", {"name": SECRET})] * 5)]
            await await_until(lambda: all(client.get_event(each).is_settled for each in ids), 30, what="settled events")
    assert len(seen.calls) == 5
    (line,) = [line for line in lines if line["event"].startswith("the codec is slow")]
    assert (line["log_level"], line["codec"], line["call"]) == ("warning", "Slow", "decode")
    assert line["seconds"] >= 0.12
