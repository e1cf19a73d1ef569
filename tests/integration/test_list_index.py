"""How far back lists go by time and by name: it is shown and set, and the leader keeps to it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event, InvalidArgument, ListIndex
from headrace.calls.indexing import INDEX_ENTRIES
from headrace.formats.keys import Keys
from headrace_worker import App
from tests.support.clients import Kind, open_client
from tests.support.commands import Headrace, document, fails
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

NODE = 100
"""A stream drops its entries by whole nodes, of so many at most."""
BEGIN_MS = 1_700_000_000_000


def fill(redis: redis_py.Redis, stream: str, entries: int, first_ms: int = BEGIN_MS) -> None:
    pipe = redis.pipeline(transaction=False)
    for number in range(entries):
        pipe.xadd(stream, {"gone": "a"}, id=f"{first_ms + number}-0")
    pipe.execute()


def at(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1_000, UTC)


async def test_the_leader_trims_the_indexes(host: WorkerHost, redis: redis_py.Redis, keys: Keys) -> None:
    """Each to as many entries as are kept by default, and not below that."""
    fill(redis, keys.recent, 3 * INDEX_ENTRIES + 500)
    fill(redis, keys.runs, INDEX_ENTRIES + NODE)
    async with host.working(App("app")):
        await await_until(lambda: redis.xlen(keys.recent) < INDEX_ENTRIES + NODE)
    assert redis.xlen(keys.recent) >= INDEX_ENTRIES
    assert redis.xlen(keys.runs) in (INDEX_ENTRIES, INDEX_ENTRIES + NODE)


async def test_the_leader_keeps_what_is_set(
    host: WorkerHost, client: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """The first index to be trimmed shows that the other was looked at, and left."""
    assert client.keep_listed(2 * INDEX_ENTRIES).kept == 2 * INDEX_ENTRIES
    fill(redis, keys.recent, 2 * INDEX_ENTRIES)
    fill(redis, keys.runs, 2 * INDEX_ENTRIES + 500)
    async with host.working(App("app")):
        await await_until(lambda: redis.xlen(keys.runs) < 2 * INDEX_ENTRIES + NODE)
        assert redis.xlen(keys.recent) == 2 * INDEX_ENTRIES
        assert redis.xlen(keys.runs) >= 2 * INDEX_ENTRIES
        client.keep_listed(INDEX_ENTRIES)
        await await_until(lambda: max(map(redis.xlen, (keys.recent, keys.runs))) < INDEX_ENTRIES + NODE)


@pytest.mark.parametrize("stored", ["", "many", "-5", "5", "1e5", "99999999", b"\xff"], ids=str)
async def test_what_is_no_such_number_counts_as_none(
    host: WorkerHost, client: Client, redis: redis_py.Redis, keys: Keys, stored: Any
) -> None:
    """Some other program may have written it."""
    redis.hset(keys.meta, "index_entries", stored)
    assert client.get_list_index().kept == INDEX_ENTRIES
    fill(redis, keys.recent, INDEX_ENTRIES + 500)
    async with host.working(App("app")):
        await await_until(lambda: redis.xlen(keys.recent) < INDEX_ENTRIES + NODE)


def test_an_empty_index(client: Client) -> None:
    """Nothing is listed since any time."""
    assert client.get_list_index() == ListIndex(
        kept=INDEX_ENTRIES, events=0, events_since=None, runs=0, runs_since=None
    )


def test_several_partitions(url: str, namespace: str, redis: redis_py.Redis, kind: Kind) -> None:
    """They are whole since the last of the oldest entries, of those that may have dropped any; else since the first."""
    with open_client(kind, url, namespace=namespace, partitions=3) as client:
        first, second, third = client.partitions.all
        fill(redis, first.recent, 5, BEGIN_MS + 50_000_000)
        fill(redis, second.recent, 4, BEGIN_MS)
        assert client.get_list_index().events_since == at(BEGIN_MS)
        fill(redis, third.recent, INDEX_ENTRIES, BEGIN_MS + 7)
        found = client.keep_listed(50_000)
        assert (found.kept, found.events, found.events_since) == (50_000, INDEX_ENTRIES + 9, at(BEGIN_MS + 7))
        assert (found.runs, found.runs_since) == (0, None)


@pytest.mark.parametrize("entries", [9_999, 1_000_001, 0, -1, True, 20_000.0, "20000", None], ids=repr)
def test_bad_numbers(client: Client, entries: Any) -> None:
    """They are refused by the argument's name, and nothing is set."""
    with pytest.raises(InvalidArgument, match="entries: must be a whole number from 10,000 to 1,000,000, not"):
        client.keep_listed(entries)
    assert client.get_list_index().kept == INDEX_ENTRIES


def test_the_commands(headrace: Headrace, client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """They show what the method returns; what is set is in the audit, and what is wrong is named."""
    fill(redis, keys.recent, 1_234)
    shown = headrace("index", "show").stdout.splitlines()
    assert [re.split(" {2,}", line) for line in shown] == [
        ["keeps", "10,000 entries of events and of runs in each partition"],
        ["events", "1,234 entries"],
        ["events since", "2023-11-14T22:13:20.000Z"],
        ["runs", "0 entries"],
    ]
    kept = document(headrace("index", "keep", "20000", "--reason", "an audit", "--json"))
    assert kept == document(headrace("index", "show", "--json"))
    assert (kept["kept"], kept["events"], kept["events_since"]) == (20_000, 1_234, "2023-11-14T22:13:20Z")
    (entry,) = client.list_audit().items
    assert (entry.verb, entry.asked, entry.reason) == ("index keep", {"entries": 20_000}, "an audit")
    fails(headrace("index", "keep", "9999"), 2, "Invalid value for 'N': 9999 is not in the range 10000<=x<=1000000")
    fails(headrace("index", "keep", "many"), 2, "'many' is not a valid integer")
    assert len(client.list_audit().items) == 1
    assert client.send_event(Event("a"), deliver_after=60).id in {each.id for each in client.list_events().items}
