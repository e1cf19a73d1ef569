"""Lists are bounded, say how far they looked, and come from where the truth is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis as redis_py

from headrace import Client, Event, Page, RunError
from headrace.calls import indexing
from headrace.formats import codec
from headrace.formats.keys import Keys
from headrace.formats.seal import Seal
from headrace.lists.merge import time_of
from headrace.model.event import RunStatus
from headrace_worker import App, Retry, event_trigger
from tests.support.clients import Kind, open_client
from tests.support.codecs import Scrambler
from tests.support.round_trips import Asked
from tests.support.stored import add_run
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

LINE = "0 0 0 default {entry} host-1 1700000000000 0"


@pytest.fixture
def client(kind: Kind, url: str, namespace: str) -> Iterator[Client]:
    with open_client(kind, url, namespace=namespace) as client:
        yield client


@pytest.fixture
def asked(client: Client, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Count what the client asks from now on; its first questions about the server are behind it."""
    client.has_workers()
    return Asked(client, monkeypatch)


def fill_index(redis: redis_py.Redis, stream: str, entries: int, second: str) -> None:
    """Fill an index with entries of one pair each."""
    with redis.pipeline(transaction=False) as pipe:
        for number in range(entries):
            pipe.xadd(stream, {f"e{number}" if second == "a" else f"e{number}:app/job": second})
        pipe.execute()


def queue_runs(
    redis: redis_py.Redis, client: Client, keys: Keys, count: int, queue: str = "default", first: str = "*"
) -> list[str]:
    """Put runs of new events into a queue, and return their ids in order; `first` is the id of their first entry."""
    millis, _, number = first.partition("-")
    runs = []
    for place, each in enumerate(client.send_events([Event("a") for _ in range(count)])):
        entry_id = f"{millis}-{int(number) + place}" if number else first
        entry: Any = redis.xadd(keys.queue("app", queue), {"e": each.id, "j": "job", "s": "", "b": b""}, id=entry_id)
        redis.hset(
            keys.event(each.id), "r:app/job", f"q 1 {LINE.format(entry=entry.decode())}".replace("default", queue)
        )
        runs.append(f"{each.id}:app/job")
    redis.sadd(keys.queues, f"app/{queue}")
    return runs


def take(redis: redis_py.Redis, keys: Keys, worker: str, count: int, queue: str = "default") -> None:
    """Deliver the next entries of a queue to a worker."""
    stream = keys.queue("app", queue)
    if not redis.exists(stream) or not redis.xinfo_groups(stream):
        redis.xgroup_create(stream, "workers", "0", mkstream=True)
    redis.xreadgroup("workers", worker, {stream: ">"}, count)


def every_page(read: Any, **given: Any) -> list[Any]:
    """Return the items of all pages; each but the last has a cursor, and only the last says that it is complete."""
    found: list[Any] = []
    cursor = None
    while True:
        page: Page[Any] = read(cursor=cursor, **given)
        found += page.items
        cursor = page.cursor
        assert page.searched.complete == (cursor is None)
        if cursor is None:
            return found


@pytest.mark.parametrize(
    ("method", "filters"),
    [
        ("list_events", {"name": "nope"}),
        ("list_runs", {"event_name": "nope"}),
        ("list_runs", {"status": "failed", "job": "app/nope"}),
        ("list_dead_letters", {"error": "nope"}),
    ],
    ids=str,
)
def test_a_filter_that_matches_nothing_costs_four_round_trips_a_page(
    client: Client, redis: redis_py.Redis, keys: Keys, asked: Asked, method: str, filters: dict[str, Any]
) -> None:
    """The page says how far it looked, and its cursor goes on to the end."""
    fill_index(redis, keys.recent, 2_500, "a")
    fill_index(redis, keys.runs, 2_500, "f")
    with redis.pipeline() as pipe:
        for number in range(2_500):
            pipe.xadd(keys.dead, {"run": f"e{number}:app/job", "reason": "failed", "error": b""})
        pipe.execute()
    first = getattr(client, method)(**filters)
    assert (first.items, first.searched.entries, first.searched.complete) == ([], 2_000, False)
    assert len(asked.trips) <= 4
    assert sum(asked.trips) <= 4 + 2  # how far the index goes back is asked, too
    second = getattr(client, method)(cursor=first.cursor, **filters)
    assert (second.items, second.cursor, second.searched.complete) == ([], None, True)
    assert 500 <= second.searched.entries <= 501  # the entry that a page ended in may be looked at again


@pytest.mark.parametrize(("method", "filters"), [("list_events", {"source": "nope"}), ("list_runs", {"job": "app/no"})])
def test_a_page_reads_500_records_at_most(
    client: Client, redis: redis_py.Redis, keys: Keys, asked: Asked, method: str, filters: dict[str, Any]
) -> None:
    """In four round trips, where only the records know what is asked for."""
    fill_index(redis, keys.recent, 600, "a")
    page = getattr(client, method)(**filters)
    assert (page.items, page.searched.complete) == ([], False)
    assert len(asked.trips) <= 4
    assert sum(asked.trips) <= 501 + 1 + 2
    page = getattr(client, method)(cursor=page.cursor, **filters)
    assert page.searched.complete


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_executing_runs_come_from_the_queues(client: Client, redis: redis_py.Redis, keys: Keys, limit: int) -> None:
    """Those that were delivered, first the oldest, with the worker that has them; whatever their records say yet."""
    runs = queue_runs(redis, client, keys, 30, first="1000-1")
    other = queue_runs(redis, client, keys, 5, "other", first="2000-1")
    take(redis, keys, "w1", 10)
    take(redis, keys, "w2", 10)
    take(redis, keys, "w1", 2, "other")
    executing = every_page(client.list_runs, status="executing", limit=limit)
    assert [(run.id, run.worker) for run in executing] == [
        *((run, "w1" if place < 10 else "w2") for place, run in enumerate(runs[:20])),
        *((run, "w1") for run in other[:2]),
    ]
    assert {run.status for run in executing} == {"executing"}
    queued = every_page(client.list_runs, status="queued", limit=limit)
    assert [run.id for run in queued] == runs[20:] + other[2:]

    def ids(**filters: Any) -> list[str]:
        return [run.id for run in every_page(client.list_runs, limit=limit, **filters)]

    assert ids(status="executing", worker="w2") == runs[10:20]
    assert ids(status="executing", queue="app/other") == other[:2]
    assert ids(status="queued", queue="app/other") == other[2:]
    assert ids(status="executing", job="app/nope") == ids(status="queued", queue="none/default") == []
    assert ids(status="executing", older_than=3_600) == []
    assert len(ids(status="executing", older_than=timedelta(0))) == 22


def test_runs_that_execute_for_long_are_found_by_when_they_began(
    client: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """Not by when they came into the queue, which is before; also in a closed queue."""
    stream = keys.queue("app", "default")
    hour_ms = 3_600_000
    old = int(redis.time()[0]) * 1000 - 2 * hour_ms
    runs = queue_runs(redis, client, keys, 3, first=f"{old}-1")
    take(redis, keys, "w1", 3)
    redis.xclaim(stream, "workers", "w1", 0, [f"{old}-{number}" for number in (1, 2)], idle=hour_ms, justid=True)
    for is_closed in (False, True):
        if is_closed:
            client.pause_queue("app/default")
        assert [run.id for run in client.list_runs(status="executing", older_than=1_800).items] == runs[:2]
        assert client.list_runs(status="executing", older_than=5_400).items == []


def test_open_runs_cost_four_round_trips(client: Client, redis: redis_py.Redis, keys: Keys, asked: Asked) -> None:
    """However many there are, and whether or not a filter matches; those that execute are not read one by one."""
    queue_runs(redis, client, keys, 600)
    take(redis, keys, "w1", 550)
    filters: tuple[dict[str, Any], ...] = ({}, {"job": "app/nope"}, {"event_name": "nope"})
    statuses: tuple[RunStatus, ...] = ("executing", "queued", "waiting")
    for status, given in itertools.product(statuses, filters):
        asked.trips.clear()
        client.list_runs(status=status, **given)
        assert len(asked.trips) <= 4, (status, given)
        assert sum(asked.trips) <= 4 + (500 if "event_name" in given else 100), (status, given)


def test_queued_runs_of_a_paused_queue_cost_four_round_trips(
    client: Client, redis: redis_py.Redis, keys: Keys, asked: Asked
) -> None:
    """Where no run of it is in flight any more."""
    runs = queue_runs(redis, client, keys, 10)
    redis.xgroup_create(keys.queue("app", "default"), "workers", "0")
    client.pause_queue("app/default")
    asked.trips.clear()
    assert [run.id for run in client.list_runs(status="queued").items] == runs
    assert len(asked.trips) == 4
    take(redis, keys, "w1", 10)
    assert [run.id for run in client.list_runs(status="queued").items] == runs


def test_runs_of_a_worker_behind_500_others_are_listed_at_once(
    client: Client, redis: redis_py.Redis, keys: Keys, asked: Asked
) -> None:
    """For one round trip more."""
    runs = queue_runs(redis, client, keys, 620)
    take(redis, keys, "w1", 600)
    take(redis, keys, "w2", 10)
    asked.trips.clear()
    assert [run.id for run in client.list_runs(status="executing", worker="w2").items] == runs[600:610]
    assert len(asked.trips) == 5


@pytest.mark.leaves_records
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_delayed_entries_come_soonest_first(client: Client, redis: redis_py.Redis, keys: Keys, limit: int) -> None:
    """Events and waiting runs, of one time too, each on one page; a member that another program wrote is named."""
    at = [client.send_event(Event("a", id=f"e{n}"), deliver_after=3_600 + n // 10).deliver_at for n in range(30)]
    redis.zadd(keys.due, {f"e:e{n}": 4_000_000_000_000 for n in range(10, 20)})
    waiting = client.send_event(Event("b", id="w")).id
    redis.hset(keys.event(waiting), "r:app/job", "w 2 0 0 0 default - w1 1 0")
    redis.zadd(keys.due, {f"r:default:{waiting}:app/job": 3_000_000_000_000, "odd": 5_000_000_000_000, "e:gone": 1})
    found = every_page(client.list_delayed, limit=limit)
    assert [(each.kind, each.id) for each in found] == [
        *(("event", f"e{n}") for n in (*range(10), *range(20, 30))),
        ("run", "w:app/job"),
        *(("event", f"e{n}") for n in range(10, 20)),
    ]
    assert (found[20].job, found[20].attempt, found[20].event_name) == ("app/job", 2, "b")
    assert [run.id for run in every_page(client.list_runs, status="waiting", limit=limit)] == ["w:app/job"]
    assert [each.id for each in client.list_delayed().damaged] == ["odd"]
    until = every_page(client.list_delayed, limit=limit, until=at[9])
    assert [each.id for each in until] == [f"e{n}" for n in range(10)]
    assert len(every_page(client.list_delayed, limit=limit, since=at[20])) == 21


@pytest.mark.leaves_records
def test_a_page_of_delayed_goes_on_where_its_last_entry_is_gone(
    client: Client, redis: redis_py.Redis, keys: Keys
) -> None:
    """None is left out and none comes twice, among entries of one time."""
    names = [f"e{n:04}" for n in range(1_200)]
    client.send_events([Event("a", id=name) for name in names], deliver_after=3_600)
    redis.zadd(keys.due, {f"e:{name}": 4_000_000_000_000 for name in names})
    first = client.list_delayed(limit=400)
    second = client.list_delayed(limit=400, cursor=first.cursor)
    redis.zrem(keys.due, *(f"e:{name}" for name in names[700:800]), *(f"e:{name}" for name in names[:5]))
    third = client.list_delayed(limit=400, cursor=second.cursor)
    assert [each.id for each in first.items + second.items + third.items] == names


def test_events_are_listed_by_what_their_records_say(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """By name, source, account and state; `unmatched` are those that settled without a run."""
    client.send_event(Event("a", id="delayed", source="shop"), deliver_after=3_600)
    client.send_event(Event("a", id="pending"), account_id="acme")
    for event_id, header in (("unmatched", "t s 0 1 0 0"), ("settled", "t s 0 1 0 1"), ("gone", "")):
        client.send_event(Event("b", id=event_id))
        redis.hset(keys.event(event_id), "m", header)
    add_run(redis, keys, "settled", "app/job", "s")
    redis.delete(keys.event("gone"))

    def ids(**filters: Any) -> list[str]:
        return [each.id for each in every_page(client.list_events, **filters)]

    assert ids() == ["settled", "unmatched", "pending", "delayed"]
    assert ids(name="a") == ["pending", "delayed"]
    assert ids(source="shop") == ids(state="delayed") == ["delayed"]
    assert ids(account_id="acme") == ids(state=["pending"]) == ["pending"]
    assert ids(state="unmatched") == ["unmatched"]
    assert ids(state="settled") == ["settled", "unmatched"]


def test_an_event_is_listed_with_when_it_was_first_sent(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """Whatever time it names itself, and however often it is sent while it is delayed; `due` does not know it."""
    began = client.server_time()
    long_ago = codec.from_millis(1_577_836_800_000)
    client.send_event(Event("a", id="delayed", timestamp=long_ago), deliver_after=3_600)
    entries: Any = redis.xrange(keys.recent)
    sent_at = time_of(entries[0][0].decode())
    client.send_event(Event("a", 2, id="delayed", timestamp=long_ago), deliver_after=7_200)
    (listed,) = client.list_events().items
    (by_time,) = client.list_events(state="delayed", since=began).items
    assert listed.sent_at == by_time.sent_at == sent_at
    assert began <= sent_at <= client.server_time()
    assert client.list_events(state="delayed").items[0].sent_at is client.get_event("delayed").sent_at is None
    client.cancel_event("delayed")
    assert client.list_events().items[0].sent_at == sent_at


@pytest.mark.leaves_records
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_delayed_events_come_from_due(client: Client, redis: redis_py.Redis, keys: Keys, limit: int) -> None:
    """All that there are, the soonest first, whatever the index of what was sent still knows; each filter narrows."""
    for number in range(130, 0, -1):
        event = Event("a" if number % 2 else "b", id=f"e{number:03}", source="shop" if number % 3 else "web")
        client.send_event(event, deliver_after=3_600 + number, account_id="acme" if number % 5 else None)
    redis.xtrim(keys.recent, maxlen=20, approximate=False)
    redis.zadd(keys.due, {"r:default:e001:app/job": 1, "e:gone": 2, "e:canceled": 3, "odd": 4})
    redis.hset(keys.event("canceled"), mapping={"e": redis.hget(keys.event("e001"), "e") or b"", "m": "t c 3 0 5 -"})

    def numbers(**filters: Any) -> list[int]:
        return [int(each.id[1:]) for each in every_page(client.list_events, state=["delayed"], limit=limit, **filters)]

    every = range(1, 131)
    assert numbers() == [*every]
    assert numbers(name="a") == [number for number in every if number % 2]
    assert numbers(source="web") == [number for number in every if number % 3 == 0]
    assert numbers(account_id="acme", name="b") == [number for number in every if number % 5 and not number % 2]
    assert numbers(name="nope") == []
    assert [each.id for each in client.list_events(state="delayed").damaged] == ["odd"]


@pytest.mark.leaves_records
def test_delayed_events_cost_four_round_trips(client: Client, redis: redis_py.Redis, keys: Keys, asked: Asked) -> None:
    """And 500 records, whether a filter matches or not; the page says how far it looked, and goes on behind that."""
    for part in range(2):
        client.send_events([Event("a", id=f"e{part * 400 + n:03}") for n in range(400)], deliver_after=3_600 + part)
    redis.delete(keys.recent)
    filters: tuple[dict[str, Any], ...] = ({}, {"name": "nope"})
    for given in filters:
        asked.trips.clear()
        first = client.list_events(state="delayed", limit=20, **given)
        second = client.list_events(state="delayed", limit=20, cursor=first.cursor, **given)
        assert len(asked.trips) <= 3 + 4
        assert sum(asked.trips) <= (2 * 20 if not given else 800) + 4
        assert (first.searched.complete, second.searched.complete) == (False, bool(given))
        assert first.searched.entries == (500 if given else 20)


@pytest.mark.parametrize(
    ("method", "filters", "stream"),
    [
        ("list_events", {}, "recent"),
        ("list_events", {"name": "nope"}, "recent"),
        ("list_events", {"state": "delayed", "until": codec.from_millis(5)}, "recent"),
        ("list_runs", {"event_name": "nope"}, "recent"),
        ("list_runs", {"status": "failed"}, "runs"),
    ],
    ids=str,
)
def test_a_list_says_since_when_it_has_all(  # noqa: PLR0917 - fixtures, and the case
    client: Client, redis: redis_py.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch,
    method: str, filters: dict[str, Any], stream: str,
) -> None:  # fmt: skip
    """If the index has dropped its oldest entries, and what is asked for may be older; else it has all."""
    monkeypatch.setattr(indexing, "INDEX_ENTRIES", 3)
    read = partial(getattr(client, method), **filters)

    def since(**given: Any) -> int | None:
        found = read(**given).searched.remembered_since
        return None if found is None else codec.to_micros(found) // 1_000

    assert since() is None
    for number in (7, 8, 9):
        assert since() is None
        redis.xadd(getattr(keys, stream), {"e": "a"}, id=f"{number}-5")
    assert since() == since(since=codec.from_millis(6)) == since(since=codec.from_millis(7)) == 7
    assert since(since=codec.from_millis(8)) is None
    for entry_id, limit in (("9-6", 1), ("9-6", 100)):
        assert since(cursor=f"{entry_id}~0", limit=limit) == 7
    assert client.list_events(state="delayed").searched.remembered_since is None


@pytest.mark.leaves_records
def test_several_partitions_are_whole_since_the_last_of_their_oldest(
    url: str, namespace: str, redis: redis_py.Redis, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those whose index has dropped entries."""
    monkeypatch.setattr(indexing, "INDEX_ENTRIES", 2)
    with open_client(kind, url, namespace=namespace, partitions=3) as client:
        for keys, ids in zip(client.partitions.all, (("3-0", "30-0"), ("10-0", "11-0"), ("20-0",)), strict=True):
            for entry_id in ids:
                redis.xadd(keys.recent, {"e": "a"}, id=entry_id)
        assert client.list_events().searched.remembered_since == codec.from_millis(10)
        assert client.list_events(since=codec.from_millis(5)).searched.remembered_since == codec.from_millis(10)
        assert client.list_events(since=codec.from_millis(11)).searched.remembered_since is None


def test_dead_letters_are_narrowed_and_grouped(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """By job, reason and text of the error; groups say when they began and ended."""
    for number in range(9):
        kind = "ValueError" if number % 3 else "KeyError"
        error = codec.encode_outcome(RunError(kind, f"no {number}"), None)
        job = "app/one" if number < 6 else "app/two"
        redis.xadd(keys.dead, {"run": f"e{number}:{job}", "reason": "failed", "error": error}, id=f"{number + 1}-1")
    redis.xadd(keys.dead, {"reason": "unreadable", "error": "odd"}, id="20-1")

    def ids(**filters: Any) -> list[str]:
        return [each.id for each in every_page(client.list_dead_letters, **filters)]

    assert ids(job="app/two") == ["9-1", "8-1", "7-1"]
    assert ids(reason="unreadable") == ["20-1"]
    assert ids(error="KeyError") == ["7-1", "4-1", "1-1"]
    assert ids(error="no 8", job="app/two") == ["9-1"]
    assert ids(since=codec.from_millis(8), until=codec.from_millis(9)) == ["9-1", "8-1"]
    groups = client.dead_letter_groups()
    assert [(each.job, each.reason, each.error_type, each.count, each.newest_id) for each in groups.items] == [
        ("app/one", "failed", "ValueError", 4, "6-1"),
        ("app/two", "failed", "ValueError", 2, "9-1"),
        ("app/one", "failed", "KeyError", 2, "4-1"),
        (None, "unreadable", None, 1, "20-1"),
        ("app/two", "failed", "KeyError", 1, "7-1"),
    ]
    assert (groups.items[0].oldest, groups.items[0].newest) == (codec.from_millis(2), codec.from_millis(6))
    assert (groups.searched.entries, groups.searched.complete) == (10, True)


@pytest.mark.parametrize("limit", [1, 1000])
def test_sealed_errors_that_are_not_opened_are_counted(
    client: Client, redis: redis_py.Redis, keys: Keys, url: str, namespace: str, limit: int
) -> None:
    """They may be asked for by their text, which can't be looked for; with the codec it is."""
    seal, plain = Seal(Scrambler(), namespace), codec.encode_outcome(RunError("KeyError", "no"), None)
    for number, job in enumerate(["app/one", "app/one", "app/two"]):
        run = f"e{number}:{job}"
        error = codec.seal_outcome(plain, run, seal)
        redis.xadd(keys.dead, {"run": run, "reason": "failed", "error": error}, id=f"{number + 1}-1")
    redis.xadd(keys.dead, {"run": "e3:app/one", "reason": "failed", "error": plain}, id="4-1")

    def counts(client: Client, **filters: Any) -> tuple[int, int]:
        pages, cursor = [client.list_dead_letters(limit=limit, **filters)], None
        while cursor := pages[-1].cursor:
            pages.append(client.list_dead_letters(limit=limit, cursor=cursor, **filters))
        return sum(len(each.items) for each in pages), sum(each.searched.not_compared for each in pages)

    def grouped(client: Client, **filters: Any) -> tuple[int, int]:
        page = client.dead_letter_groups(**filters)
        return sum(each.count for each in page.items), page.searched.not_compared

    for ask in (counts, grouped):
        assert ask(client, error="KeyError") == (1, 3)
        assert ask(client, error="KeyError", job="app/two") == (0, 1)
        assert ask(client, error="KeyError", reason="lost") == (0, 0)
        assert ask(client, error="Sealed") == (3, 0)
        assert ask(client) == (4, 0)
        with Client(url, namespace=namespace, codec=Scrambler()) as opener:
            assert ask(opener, error="KeyError") == (4, 0)


def test_dead_letters_are_not_read_backwards_from_before_the_first(
    client: Client, redis: redis_py.Redis, keys: Keys, asked: Asked
) -> None:
    """A server would go through all of them; a page behind the oldest, and a time before it, have none."""
    for number in (5, 6, 7):
        redis.xadd(keys.dead, {"run": "e:app/job", "reason": "failed", "error": b""}, id=f"{number}-1")
    for given in ({"until": codec.from_millis(4)}, {"cursor": "5-1"}):
        page = client.list_dead_letters(**given)
        assert (page.items, page.cursor, page.searched.complete) == ([], None, True)
    assert client.dead_letter_groups(until=codec.from_millis(4)).items == []
    assert asked.commands == ["XRANGE"] * 3
    assert [letter.id for letter in client.list_dead_letters(cursor="6-1").items] == ["5-1"]
    assert [letter.id for letter in client.list_dead_letters(until=codec.from_millis(5)).items] == ["5-1"]


AGE = ["XLEN", "XRANGE"]
"""What tells how far an index goes back, beside the first read."""
INDEXES = [("list_events", "recent", {"name": "nope"}), ("list_runs", "runs", {"status": "failed", "job": "app/no"})]


@pytest.mark.parametrize(("method", "index", "filters"), INDEXES, ids=str)
def test_an_index_is_not_read_backwards_from_before_its_first_entry(  # noqa: PLR0917 - four are fixtures
    client: Client,
    redis: redis_py.Redis,
    keys: Keys,
    asked: Asked,
    method: str,
    index: str,
    filters: dict[str, Any],
) -> None:
    """By a time before it, by a cursor behind which the index was trimmed since, or once a page has read it."""
    stream, read = getattr(keys, index), getattr(client, method)
    for number in range(501):
        redis.xadd(stream, {f"e{number}:app/job": "f"}, id=f"{number + 5}-1")
    read(until=codec.from_millis(4), **filters)
    assert asked.commands == ["XRANGE", *AGE]

    asked.commands.clear()
    page = read(cursor="505-1~0", **filters)
    assert (page.items, page.cursor, page.searched.entries) == ([], None, 500)
    assert asked.commands == ["XRANGE", *AGE, "XREVRANGE"]

    redis.xtrim(stream, minid="300-1", approximate=False)
    asked.commands.clear()
    for cursor in ("299-2~0", "300-1~0", "0-0~0"):
        page = read(cursor=cursor, **filters)
        assert (page.items, page.cursor, page.searched.complete) == ([], None, True)
    assert asked.commands == ["XRANGE", *AGE] * 3
    assert read(cursor="300-2~0", **filters).searched.entries == 1
    assert asked.commands[9:] == ["XRANGE", *AGE, "XREVRANGE"]


def test_a_partition_whose_index_begins_later_is_left_out(
    url: str, namespace: str, redis: redis_py.Redis, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four, one begins before the time that is asked for, and one has nothing."""
    with open_client(kind, url, namespace=namespace, partitions=4) as client:
        for keys, first in zip(client.partitions.all, (7, 3, 9), strict=False):
            redis.xadd(keys.recent, {"e": "a"}, id=f"{first}-1")
        client.has_workers()
        asked = Asked(client, monkeypatch)
        page = client.list_events(name="nope", until=codec.from_millis(5))
        assert (page.searched.entries, page.searched.complete) == (1, True)
        assert asked.commands == [*["XRANGE"] * 4, *["XLEN"] * 4, *["XRANGE"] * 4, "XREVRANGE"]


@pytest.mark.parametrize(("method", "filters"), [("list_events", {"source": "nope"}), ("list_runs", {"job": "app/no"})])
def test_a_page_that_goes_on_reads_500_records_too(
    client: Client, redis: redis_py.Redis, keys: Keys, asked: Asked, method: str, filters: dict[str, Any]
) -> None:
    """In the two round trips that are left."""
    fill_index(redis, keys.recent, 1_100, "a")
    first = getattr(client, method)(**filters)
    asked.trips.clear()
    page = getattr(client, method)(cursor=first.cursor, limit=1000, **filters)
    assert (page.items, page.searched.complete) == ([], False)
    assert asked.trips == [1 + len(AGE), 1, 250, 250]


def test_a_key_of_another_type_is_named_and_hides_no_other(client: Client, redis: redis_py.Redis, keys: Keys) -> None:
    """An index, a queue, `due` and `dead`: each list says what it could not read."""
    runs = queue_runs(redis, client, keys, 3)
    redis.sadd(keys.queues, "app/odd", "app/none")
    odd = [keys.queue("app", "odd"), keys.recent, keys.due, keys.dead, keys.runs]
    redis.delete(keys.recent)
    for key in odd:
        redis.set(key, "x", px=60_000)
    queued = client.list_runs(status="queued")
    assert [run.id for run in queued.items] == runs
    assert [each.id for each in queued.damaged] == [odd[0]]
    for page, key in (
        (client.list_events(), keys.recent),
        (client.list_runs(), keys.recent),
        (client.list_runs(status="failed"), keys.runs),
        (client.list_delayed(), keys.due),
        (client.list_dead_letters(), keys.dead),
    ):
        assert [each.id for each in page.damaged] == [key]
        assert "type" in page.damaged[0].error
    take(redis, keys, "w1", 3)
    redis.delete(keys.event(runs[1].partition(":")[0]))
    assert [run.id for run in client.list_runs(status="executing").items] == [runs[0], runs[2]]
    redis.delete(*odd)


@pytest.mark.leaves_records
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_several_partitions_are_one_list(
    url: str, namespace: str, redis: redis_py.Redis, kind: Kind, limit: int
) -> None:
    """Open runs by their entries, delayed ones by their times, each once, whatever the pages are."""
    with open_client(kind, url, namespace=namespace, partitions=3) as client:
        places = client.partitions.all
        for number in range(30):
            keys = places[number % 3]
            event_id = f"e{number:02}"
            sent = client.send_event(Event("a", id=event_id), deliver_after=3_600)
            home = client.partitions.of(sent.id)
            redis.zadd(home.due, {f"e:{event_id}": 4_000_000_000_000 + number // 20})
            entry = f"{5 + number // 3}-0"
            redis.hset(
                keys.event(f"r{number}"), mapping={"m": "t s 0 1 0 1", "r:app/job": f"q 1 {LINE.format(entry=entry)}"}
            )
            redis.xadd(keys.queue("app", "default"), {"e": f"r{number}", "j": "job", "s": "", "b": b""}, id=entry)
            redis.sadd(keys.queues, "app/default")
        for keys in places:
            take(redis, keys, "w1", 4)
        executing = every_page(client.list_runs, status="executing", limit=limit)
        assert [run.event_id for run in executing] == [f"r{number}" for number in range(12)]
        queued = every_page(client.list_runs, status="queued", limit=limit)
        assert [run.event_id for run in queued] == [f"r{number}" for number in range(12, 30)]
        delayed = [each.id for each in every_page(client.list_delayed, limit=limit)]
        assert delayed == sorted(
            (f"e{number:02}" for number in range(30)),
            key=lambda each: (int(each[1:]) // 20, client.partitions.of(each).partition, each),
        )
        assert len(every_page(client.list_events, limit=limit)) == 30


@pytest.mark.parametrize("partitions", [1, 4])
async def test_a_page_has_the_cursor_of_each_item(url: str, namespace: str, partitions: int) -> None:
    """From it the list goes on with that item; in each list that acts on many go through."""
    host, app = WorkerHost(url, namespace, partitions), App("app")

    @app.job(id="fails", trigger=event_trigger("fails"), retry=Retry(max_attempts=1))
    async def fails() -> None:
        raise ValueError

    @app.job(id="waits", trigger=event_trigger("waits"), retry=Retry(min_delay=3_600, max_delay=3_600))
    async def waits() -> None:
        raise ValueError

    with Client(url, namespace=namespace, partitions=partitions) as client:
        client.send_events([Event("later") for _ in range(9)], deliver_after=3_600)
        client.send_events([Event("fails") for _ in range(9)])
        client.send_events([Event("waits") for _ in range(9)])
        async with host.working(app):
            await await_until(lambda: len(client.list_runs(status="waiting").items) == 9)
            await await_until(lambda: len(client.list_dead_letters().items) == 9)
        client.pause_queue("app/default")
        client.send_events([Event("fails") for _ in range(9)])
        async with host.working(App("other", dispatch_only=True)):
            await await_until(lambda: len(client.list_runs(status="queued").items) == 9)
        lists: list[Callable[..., Page[Any]]] = [
            client.list_events,
            client.list_dead_letters,
            partial(client.list_events, name="fails"),
            partial(client.list_events, state="delayed"),
            partial(client.list_runs, status="failed"),
            partial(client.list_runs, event_name="waits"),
            partial(client.list_runs, status="queued"),
            partial(client.list_runs, status="waiting"),
        ]
        for read in lists:
            page = read(limit=50)
            assert len(page.items) == len(page.cursors) >= 9
            for item, cursor in zip(page.items, page.cursors, strict=True):
                assert read(cursor=cursor, limit=1).items[0].id == item.id
        client.resume_queue("app/default")
        for event in client.iter_events():
            client.cancel_event(event.id, runs=True)
