"""A client lists the runs of a namespace, newest first, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_py

from headrace import AsyncClient, Client, Event, EventNotFound, RunError
from headrace.formats import codec
from headrace.formats.keys import Keys
from tests.support.clients import Kind, open_client
from tests.support.stored import add_run


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


def test_a_run_is_what_the_record_holds_of_it(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """It is found by its id, with the error and the times."""
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
    """Return the ids of 200 runs, the newest first: two jobs for each of 100 events; 45 events went in one call."""
    sent = client.send_events([Event("a", id=f"e{n:02}") for n in range(45)])
    sent += [client.send_event(Event("a", id=f"e{n:02}")) for n in range(45, 100)]
    made = []
    for place, each in enumerate(sent):
        made.append(add_run(redis, keys, each.id, "app/one", "s" if place % 2 else "f"))
        made.append(add_run(redis, keys, each.id, "app/two", "q"))
        redis.xadd(keys.queue("app", "default"), {"e": each.id, "j": "two", "s": "", "b": b""})
    redis.sadd(keys.queues, "app/default")
    return [run for pair in zip(made[-2::-2], made[::-2], strict=True) for run in pair]


def pages(client: Client, limit: int, **filters: Any) -> list[str]:
    """The ids of all runs that a listing returns, page by page."""
    found: list[str] = []
    cursor = None
    while True:
        page = client.list_runs(cursor=cursor, limit=limit, **filters)
        found += [run.id for run in page.items]
        cursor = page.cursor
        if cursor is None:
            return found


def test_a_listing_has_every_run_once_newest_first(client: Client, runs: list[str]) -> None:
    """By the times of the sends, those of one call too, whatever the size of the pages."""
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
    assert [run.id for run in client.list_runs(event_id="e07").items] == ["e07:app/one", "e07:app/two"]
    assert [run.id for run in client.list_runs(event_id="e07", status="queued").items] == ["e07:app/two"]
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
    stream = {"succeeded": keys.runs, "queued": keys.queue("app", "default")}.get(status, keys.recent)
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
    """A retried run: in its last state only, at its last settle."""
    redis.xadd(keys.runs, {"e01:app/one": "s"})
    redis.xadd(keys.runs, {"e00:app/one": "s"})
    redis.hset(keys.event("e00"), "r:app/one", "s 1 0 0 0 default 7-0 host-1 1 2")
    found = [run.id for run in client.list_runs(status="succeeded", limit=1000).items]
    assert found[:2] == ["e00:app/one", "e01:app/one"]
    assert len(found) == len(set(found)) == 51
    assert "e00:app/one" not in pages(client, 7, status="failed")


def test_a_page_may_be_asked_for_while_events_come_in(client: Client, runs: list[str]) -> None:
    """The cursor stands where it stood."""
    first = client.list_runs(limit=10)
    client.send_events([Event("a") for _ in range(100)])
    second = client.list_runs(limit=10, cursor=first.cursor)
    assert [run.id for run in [*first.items, *second.items]] == runs[:20]


def test_nothing_is_listed_where_nothing_is(client: Client) -> None:
    """There is no cursor either."""
    assert client.list_runs().items == []
    assert client.list_runs(status="failed").cursor is None
    assert client.list_dead_letters().items == []
