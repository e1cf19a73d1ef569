"""A namespace of several partitions behaves like one with a single partition; its events live in all of them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner

from headrace import Client, ConfigurationError, DeadLetterNotFound, Event, EventNotFound, RunNotFound, SentEvent
from headrace.calls import sending
from headrace.formats.partitions import Partitions
from headrace.plans.prepare import SendOptions, prepare
from headrace.scripts import load
from headrace.transport.single import Transport
from headrace_worker import App, Context, JobIO, Retry, event_trigger
from headrace_worker.cli.root import root as main
from tests.support.clients import KINDS, Kind, open_client
from tests.support.processes import Processes
from tests.support.proxy import Proxy, has_data
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

N = 4


@pytest.fixture
def host(url: str, namespace: str) -> WorkerHost:
    return WorkerHost(url, namespace, partitions=N)


@pytest.fixture
def partitions(namespace: str) -> Partitions:
    return Partitions(namespace, N)


@pytest.fixture
def client(url: str, namespace: str) -> Iterator[Client]:
    with Client(url, namespace=namespace, partitions=N) as client:
        yield client


def _events(count: int, name: str = "echo") -> list[Event]:
    return [Event(name, payload=n, id=f"{name}-{n}") for n in range(count)]


def make_app(seen: list[Any]) -> App:
    app = App("app")

    @app.job(id="echo", trigger=event_trigger("echo"))
    async def echo(payload: Any) -> Any:
        seen.append(payload)
        return payload

    @app.job(id="fail", trigger=event_trigger("fail"), retry=Retry(max_attempts=2, min_delay=0.01))
    async def fail(payload: Any) -> None:
        seen.append(payload)
        raise ValueError(payload)

    return app


# The number of partitions.


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_to_use_a_namespace_fixes_its_number(kind: Kind, url: str, namespace: str) -> None:
    """A client with another one is refused with both numbers and the way out, whatever it asks for first."""
    with open_client(kind, url, namespace=namespace, partitions=3) as first:
        first.list_dead_letters()
    with open_client(kind, url, namespace=namespace) as second:
        for _ in range(2):
            with pytest.raises(ConfigurationError) as caught:
                second.send_event(Event("a"))
            for part in (f"namespace {namespace!r} has had 3 partitions", "not the 1", "HEADRACE_PARTITIONS=3"):
                assert part in str(caught.value)
    with open_client(kind, url, namespace=namespace, partitions=3) as third:
        assert third.list_runs().items == []


async def test_a_worker_with_another_number_does_not_start(host: WorkerHost, client: Client) -> None:
    """It leaves nothing, and its runs wait for a worker with the right number."""
    client.send_event(Event("echo"))
    for number in (1, 5):
        with pytest.raises(ConfigurationError, match=rf"has had 4 partitions .* not the {number}"):
            await WorkerHost(host.url, host.namespace, number).make(make_app([])).run()
    seen: list[Any] = []
    await host.settle(make_app(seen))
    assert seen == [None]


async def test_a_lost_number_of_partitions_is_written_again(
    host: WorkerHost, redis: redis_py.Redis, partitions: Partitions
) -> None:
    """After a flush of the server a process with another number is still refused."""
    seen: list[Any] = []
    async with host.working(make_app(seen), lease=0.6):
        redis.flushall()
        await await_until(lambda: redis.hget(partitions.first.meta, "partitions") == b"4", 20)
        with Client(host.url, namespace=host.namespace) as other, pytest.raises(ConfigurationError):
            other.send_event(Event("echo"))


@pytest.mark.parametrize("count", [0, -1, 1_025, 1.0, True, "4"])
def test_a_number_of_partitions_is_a_whole_one(count: Any) -> None:
    """Anything else is refused before a server is asked."""
    with pytest.raises(ConfigurationError, match="partitions must be a whole number from 1 to 1,024"):
        Client("redis://localhost:1", partitions=count)


def test_the_environment_says_the_number(url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEADRACE_PARTITIONS counts where no argument is given, for clients and for the command line."""
    monkeypatch.setenv("HEADRACE_PARTITIONS", "4")
    with Client(url, namespace=namespace) as client:
        sent = client.send_event(Event("echo"))
        assert len(client.partitions) == 4
    env = {"HEADRACE_URL": url, "HEADRACE_NAMESPACE": namespace}
    assert CliRunner().invoke(main, ["events", "show", sent.id], env=env).exit_code == 0
    refused = CliRunner().invoke(main, ["events", "show", sent.id, "--partitions", "2"], env=env)
    assert (refused.exit_code, "has had 4 partitions" in refused.stderr) == (2, True)
    monkeypatch.setenv("HEADRACE_PARTITIONS", "four")
    client = Client(url, namespace=namespace)
    with client, pytest.raises(ConfigurationError, match=r"HEADRACE_PARTITIONS.*not 'four'"):
        client.get_event(sent.id)


# A life in all partitions.


async def test_events_of_one_call_go_to_every_partition_and_run_once(
    host: WorkerHost, client: Client, redis: redis_py.Redis, partitions: Partitions
) -> None:
    """The answers are in the order of the events; each is found by its id, and has run."""
    sent = client.send_events(_events(60))
    assert [each.payload for each in sent] == list(range(60))
    assert all(each.delivered_at is not None for each in sent)
    stored = {keys.partition: redis.xlen(keys.events) for keys in partitions.all}
    assert sum(stored.values()) == 60
    assert all(stored.values())
    for event in sent:
        assert redis.exists(partitions.of(event.id).event(event.id))
    seen: list[Any] = []
    await host.settle(make_app(seen))
    assert sorted(seen) == list(range(60))
    for event in sent:
        (run,) = client.get_event(event.id).runs
        assert (run.status, run.output, client.get_run(run.id)) == ("succeeded", event.payload, run)
    again = client.send_events(_events(60))
    assert all(each.duplicate for each in again)


def test_a_look_at_the_replicas_takes_no_longer_than_was_said(client: Client, partitions: Partitions) -> None:
    """For any number of partitions: four waits in a row would be longer than a client waits for a reply."""
    sent = client.send_events([Event("none") for _ in range(40)], wait_replicas=1, wait_replicas_timeout=3)
    assert {partitions.of(event.id).partition for event in sent} == set(range(N))
    assert {event.replicas for event in sent} == {0}


async def test_runs_are_listed_over_all_partitions(host: WorkerHost, client: Client) -> None:
    """Newest first, page by page, each event once."""
    sent = [client.send_event(event) for event in _events(30)]
    assert [run.id for run in client.list_runs().items] == []
    await host.settle(make_app([]))
    listed: list[str] = []
    cursor: str | None = None
    while True:
        page = client.list_runs(cursor=cursor, limit=7)
        listed += [run.event_id for run in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(listed) == sorted(each.id for each in sent)
    # In ms, and those of one ms in the order of partitions. Redis 7.0 may give an entry the ms after its script's.
    when = {each.id: each.delivered_at for each in sent if each.delivered_at}
    for newer, older in pairwise(listed):
        assert when[older] - when[newer] <= timedelta(milliseconds=1)
    settled = client.list_runs(status="succeeded", job="app/echo", limit=1_000).items
    assert {run.event_id for run in settled} == set(listed)


async def test_dead_letters_of_all_partitions_are_listed_and_retried(host: WorkerHost, client: Client) -> None:
    """Each under an id of its own, newest first; a retry takes the letter away."""
    client.send_events(_events(24, "fail"))
    seen: list[Any] = []
    await host.settle(make_app(seen))
    assert Counter(seen) == dict.fromkeys(range(24), 2)
    letters = []
    cursor: str | None = None
    while True:
        page = client.list_dead_letters(cursor=cursor, limit=5)
        letters += page.items
        cursor = page.cursor
        if cursor is None:
            break
    assert {letter.run_id for letter in letters} == {f"fail-{n}:app/fail" for n in range(24)}
    assert len({letter.id for letter in letters}) == len(letters) == 24
    assert [letter.dead_at for letter in letters] == sorted((each.dead_at for each in letters), reverse=True)
    for letter in letters:
        assert client.get_dead_letter(letter.id) == letter
    with pytest.raises(DeadLetterNotFound):
        client.get_dead_letter("5-5~3")
    for letter in letters[:10]:
        assert client.retry_run(letter.run_id or "").status == "queued"
        with pytest.raises(DeadLetterNotFound):
            client.get_dead_letter(letter.id)
    await host.settle(make_app([]))
    assert len(client.list_dead_letters().items) == 24


async def test_each_partition_delivers_and_cancels_delayed_events(host: WorkerHost, client: Client) -> None:
    """Each partition has its own leader and its own due times."""
    sent = client.send_events(_events(20), deliver_after=0.3)
    for event in sent[:8]:
        assert client.cancel_event(event.id).status == "canceled"
    moved = client.send_event(_events(20)[8], deliver_after=timedelta(milliseconds=1))
    assert moved.deliver_at is not None
    seen: list[Any] = []
    await host.settle(make_app(seen))
    assert sorted(seen) == list(range(8, 20))


async def test_a_wait_ends_for_an_event_in_any_partition(host: WorkerHost, client: Client) -> None:
    """Before it has run, and after."""
    sent = client.send_events(_events(8))
    async with host.working(make_app([])):
        for event in [*sent, *sent]:
            record = await asyncio.to_thread(client.wait_for_event, event.id, 20)
            assert [run.status for run in record.runs] == ["succeeded"]
    with pytest.raises(EventNotFound):
        await asyncio.to_thread(client.wait_for_event, "none", 1)
    with pytest.raises(RunNotFound):
        client.get_run("none:app/echo")


async def test_a_run_sends_to_every_partition_once(host: WorkerHost, client: Client) -> None:
    """The ids are derived from the run, so a repeated attempt sends nothing twice."""
    seen: list[Any] = []
    app = make_app(seen)

    @app.job(id="fan", trigger=event_trigger("fan"), retry=Retry(max_attempts=2, min_delay=0.01))
    async def fan(io: JobIO, ctx: Context) -> None:
        await io.send_events("all", [Event("echo", payload=n) for n in range(20)])
        if not ctx.run.is_retry:
            raise RuntimeError("again")

    client.send_event(Event("fan"))
    await host.settle(app)
    assert sorted(seen) == list(range(20))


async def test_an_event_that_is_not_in_its_ids_partition_is_found(
    host: WorkerHost, client: Client, partitions: Partitions
) -> None:
    """Such an event was sent with an ordering key: reads, cancels and waits find it."""
    transport = Transport(host.url)
    for number, event in enumerate(_events(N)):
        elsewhere = partitions.all[(partitions.of(event.id or "").partition + 1 + number % (N - 1)) % N]
        prepared = prepare([event], SendOptions(deliver_after=60), now=_now)
        transport.run([sending.send(elsewhere, prepared, "token")])
    transport.close()
    assert client.get_event("echo-0").payload == 0
    assert client.cancel_event("echo-1").status == "canceled"
    assert (await asyncio.to_thread(client.wait_for_event, "echo-1", 1)).status == "canceled"
    for number in (0, 2, 3):
        client.cancel_event(f"echo-{number}")


def _now() -> datetime:
    return datetime.now(UTC)


async def test_events_of_one_ordering_key_share_a_partition(
    host: WorkerHost, client: Client, redis: redis_py.Redis, partitions: Partitions
) -> None:
    """They run in their order there, and each is found by its id."""
    sent = client.send_events(_events(12), ordering_key="key")
    assert redis.xlen(partitions.of("key").events) == 12
    seen: list[Any] = []
    await host.settle(make_app(seen))
    assert seen == list(range(12))
    for event in sent:
        assert client.wait_for_event(event.id, 5).runs[0].output == event.payload
    assert all(each.duplicate for each in client.send_events(_events(12), ordering_key="key"))


# One worker for all partitions.


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_all_partitions_share_the_slots_of_a_worker(host: WorkerHost, client: Client, concurrency: int) -> None:
    """However many partitions have runs, no more execute at once, and all get their turn."""
    now = most = 0
    app = App("app")

    @app.job(id="busy", trigger=event_trigger("echo"))
    async def busy() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        await asyncio.sleep(0.002)
        now -= 1

    client.send_events(_events(60))
    await host.settle(app, concurrency=concurrency)
    assert most == concurrency


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_what_came_with_a_lost_reply_waits_for_a_slot(
    host: WorkerHost, proxy: Proxy, client: Client, concurrency: int
) -> None:
    """Other partitions have taken the slots meanwhile; each run is executed once, and never more than fit."""
    now = most = 0
    seen: list[Any] = []
    app = App("app")

    @app.job(id="busy", trigger=event_trigger("echo"))
    async def busy(payload: Any) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        seen.append(payload)
        now -= 1

    async with WorkerHost(proxy.url, host.namespace, partitions=N).working(app, concurrency=concurrency):
        cut = proxy.cut_after_request(load("take").sha.encode(), 3, only=has_data)
        client.send_events(_events(60))
        await await_until(lambda: len(seen) >= 60, 30)
    await host.settle(app)
    assert (cut.done, most) == (3, concurrency)
    assert sorted(seen) == list(range(60))


async def test_a_busy_partition_does_not_starve_the_others(
    host: WorkerHost, client: Client, partitions: Partitions
) -> None:
    """While its backlog takes all the slots it can get, an event of another one runs."""
    gate = asyncio.Event()
    seen: list[str] = []
    app = App("app")

    @app.job(id="hold", trigger=event_trigger("echo"))
    async def hold(ctx: Context) -> None:
        seen.append(ctx.event.id)
        await gate.wait()

    of_one = [event for event in _events(200) if partitions.of(event.id or "").partition == 1][:30]
    client.send_events(of_one)
    other = next(event for event in _events(200) if partitions.of(event.id or "").partition == 2)
    async with host.working(app, concurrency=40):
        await await_until(lambda: len(seen) == 30, 20)
        client.send_event(other)
        await await_until(lambda: other.id in seen, 20)
        gate.set()
    await host.settle(app)


async def test_an_idle_worker_is_woken_by_any_partition(host: WorkerHost, client: Client) -> None:
    """It is woken, and does not poll: its reads would last for minutes."""
    seen: list[Any] = []
    async with host.working(make_app(seen), block=60, lease=60):
        for number, event in enumerate(_events(12), 1):
            client.send_event(event)
            await await_until(lambda number=number: len(seen) == number, 20)  # type: ignore[misc]


async def test_a_quarantined_run_is_alone_among_all_partitions(
    host: WorkerHost, client: Client, redis: redis_py.Redis, partitions: Partitions
) -> None:
    """Runs of other partitions begin before it or after it, not beside it."""
    open_now: set[str] = set()
    beside: set[str] = set()
    app = App("app")

    @app.job(id="busy", trigger=event_trigger("echo"))
    async def busy(ctx: Context) -> None:
        open_now.add(ctx.event.id)
        if ctx.event.id == poison.id:
            for _ in range(20):
                beside.update(open_now)
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.005)
        open_now.discard(ctx.event.id)

    poison: SentEvent = client.send_event(Event("echo"))
    keys = partitions.of(poison.id)
    queue = keys.queue("app", "default")
    async with host.working(app, queues=("none",)):
        await await_until(lambda: redis.xlen(queue) == 1)
    entries: Any = redis.xrange(queue)
    ((entry, fields),) = entries
    redis.xdel(queue, entry)
    again = redis.xadd(queue, {**fields, b"s": b"1 2 0 0 0"})
    line: Any = redis.hget(keys.event(poison.id), "r:app/busy")
    redis.hset(keys.event(poison.id), "r:app/busy", line.replace(entry, again))
    client.send_events(_events(80))
    await host.settle(app, concurrency=8, lease=6)
    assert beside == {poison.id}


async def test_runs_of_a_killed_process_are_rescued_in_all_partitions(
    client: Client, processes: Processes, partitions: Partitions, tmp_path: Path
) -> None:
    """Its lease expires in each partition, and each partition's leader rescues."""
    options = ("--partitions", str(N), "--lease", "1")
    first = processes.worker("tests.apps.everyday:app", *options)
    sent = client.send_events([Event("once", payload=str(tmp_path), id=f"once-{n}") for n in range(8)])
    assert len({partitions.of(event.id).partition for event in sent}) == N
    await await_until(lambda: first.output.count(" first in ") == 8, 30)
    first.kill()
    second = processes.worker("tests.apps.everyday:app", *options)
    for event in sent:
        (run,) = (await asyncio.to_thread(client.wait_for_event, event.id, 30)).runs
        assert (run.status, run.lost) == ("succeeded", 1)
    assert second.output.count(" again in ") == 8
    second.terminate()
    assert second.wait() == 0


async def test_a_dead_childs_leases_end_in_all_partitions(client: Client, processes: Processes, tmp_path: Path) -> None:
    """Its runs go to the other workers at once, not when a lease of minutes expires."""
    workers = processes.worker("tests.apps.everyday:app", "--partitions", str(N), "--lease", "300", "--processes", "2")
    sent = client.send_events([Event("once", payload=str(tmp_path), id=f"once-{n}") for n in range(16)])
    await await_until(lambda: workers.output.count(" first in ") == len(sent), 30)
    ((pid, count), *_) = Counter(re.findall(r"first in (\d+)", workers.output)).most_common()
    os.kill(int(pid), signal.SIGKILL)
    await await_until(lambda: workers.output.count(" again in ") == count, 60)
    await await_until(lambda: workers.output.count("worker started") == 3, 30)
    workers.interrupt()
    await await_until(lambda: workers.output.count("worker stops") == 2, 30)
    workers.interrupt()
    assert workers.wait() == 0
