"""Workers are listed by name, page by page, however many there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from headrace import InvalidArgument
from headrace.formats.partitions import Partitions
from headrace_worker.inspect.workers import MAX_LEASES, MAX_WORKERS
from headrace_worker.operate.app_client import AppClient
from tests.support.clients import Kind, open_app_client
from tests.support.commands import Headrace, document, fails
from tests.support.round_trips import Asked

COUNT, PARTITIONS = MAX_WORKERS + 101, 2
FAR_MS = 2**52
NAMES = [f"w{number:04}" for number in range(COUNT)]


@pytest.fixture
def client(url: str, namespace: str, redis: redis_py.Redis) -> Iterator[AppClient]:
    """A namespace with more workers than are read for other looks, the first by name with the lease that ends first."""
    with redis.pipeline(transaction=False) as pipe:
        for keys in Partitions(namespace, PARTITIONS).all:
            for number, name in enumerate(NAMES):
                pipe.zadd(keys.workers, {name: FAR_MS + number})
                pipe.hset(keys.worker(name), mapping={"app": "app", "queues": "app/default", "slots": str(number)})
        pipe.execute()
    with AppClient(url, namespace=namespace, partitions=PARTITIONS) as client:
        client.has_workers()
        yield client


@pytest.mark.leaves_records
def test_pages_have_each_worker_once(client: AppClient) -> None:
    """By name, with what is known of each in all partitions; the last page says that nothing is behind it."""
    first = client.list_workers(limit=250)
    second = client.list_workers(cursor=first.cursor, limit=250)
    last = client.list_workers(cursor=second.cursor, limit=250)
    pages = [first, second, last]
    assert [each.name for page in pages for each in page.items] == NAMES
    assert [each.slots for page in pages for each in page.items] == list(range(COUNT))
    assert {tuple(each.partitions) for page in pages for each in page.items} == {(0, 1)}
    assert [page.cursor for page in pages] == [f"behind:{NAMES[249]}", f"behind:{NAMES[499]}", None]
    assert [(page.searched.entries, page.searched.complete) for page in pages] == [
        (250, False), (250, False), (101, True),
    ]  # fmt: skip


@pytest.mark.leaves_records
@pytest.mark.usefixtures("client")
def test_an_iteration_goes_through_all_pages(kind: Kind, url: str, namespace: str) -> None:
    """Called or awaited."""
    with open_app_client(kind, url, namespace=namespace, partitions=PARTITIONS) as client:
        assert [each.name for each in client.iter_workers()] == NAMES


@pytest.mark.leaves_records
def test_a_page_that_ends_with_the_last_worker_is_the_last(client: AppClient) -> None:
    """No empty page follows; a cursor is good when its worker has left."""
    page = client.list_workers(cursor=f"behind:{NAMES[-11]}-left", limit=10)
    assert ([each.name for each in page.items], page.cursor) == (NAMES[-10:], None)


@pytest.mark.leaves_records
def test_a_page_takes_two_round_trips(client: AppClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the leases it reads the workers on it alone."""
    asked = Asked(client, monkeypatch)
    client.list_workers(limit=10)
    assert asked.trips == [1 + 3 * PARTITIONS, 10 * PARTITIONS]


@pytest.mark.leaves_records
def test_any_worker_is_shown(client: AppClient) -> None:
    """The one whose lease ends first of all, too."""
    assert client.get_worker(NAMES[0]).worker.slots == 0


@pytest.mark.leaves_records
def test_more_leases_than_a_list_reads_are_pointed_out(
    client: AppClient, redis: redis_py.Redis, namespace: str, headrace: Headrace
) -> None:
    """Those that end last are there, and no page says that it is complete."""
    keys = Partitions(namespace, PARTITIONS).all[0]
    redis.zadd(keys.workers, {f"x{number:05}": FAR_MS + COUNT for number in range(MAX_LEASES)})
    redis.delete(Partitions(namespace, PARTITIONS).all[1].workers)
    page = client.list_workers(cursor=f"behind:x{MAX_LEASES - 3:05}")
    assert ([each.name for each in page.items], page.cursor) == (["x09998", "x09999"], None)
    assert not page.searched.complete
    result = headrace("workers", "list", "--partitions", "2", "--cursor", "behind:x09998")
    assert result.stderr == "there are more than this list can show\n"


@pytest.mark.usefixtures("client")
@pytest.mark.leaves_records
def test_workers_are_paged_on_the_command_line(headrace: Headrace) -> None:
    """As the other lists are; with --all and --json a line for each."""
    args = ("workers", "list", "--partitions", "2")
    page = document(headrace(*args, "--limit", "2", "--cursor", f"behind:{NAMES[3]}", "--json"))
    assert ([each["name"] for each in page["workers"]], page["cursor"]) == (NAMES[4:6], f"behind:{NAMES[5]}")
    assert headrace(*args).stderr == f"more: --cursor behind:{NAMES[19]}\n"
    lines = headrace(*args, "--all", "--json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == NAMES
    assert "--since" not in headrace(*args, "--help").stdout
    fails(headrace(*args, "--since", "1h"), 2, "--since")


@pytest.mark.leaves_records
@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": 1001}, {"cursor": 7}, {"cursor": NAMES[3]}], ids=str)
def test_a_wrong_argument_is_named(client: AppClient, given: dict[str, Any]) -> None:
    """As of every list."""
    with pytest.raises(InvalidArgument, match=next(iter(given))):
        client.list_workers(**given)
