"""Runs that wait behind another one of their ordering key are listed, and acts on many runs leave none of them out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from headrace import Client, Event, InvalidArgument, RunRecord
from headrace.lists import waiting_runs
from headrace_worker import App, RetryAfter, event_trigger
from headrace_worker.cli.root import root
from headrace_worker.operate.bulk import Times
from headrace_worker.operate.open_runs import OpenRuns
from tests.support.commands import document, fails
from tests.support.round_trips import Asked
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

KEYS, LONG = 5, 6
"""So many ordering keys have so many events each, for each of three jobs."""
PER_JOB = KEYS * (LONG - 1)


class Scene:
    """Of each key one run executes, one has failed and waits for its next attempt, and one is in a paused queue."""

    def __init__(self, url: str, namespace: str, partitions: int) -> None:
        self.host = WorkerHost(url, namespace, partitions)
        self.begun: list[tuple[str, Any]] = []
        self.go_on = asyncio.Event()
        self.app = App("app")

        @self.app.job(id="held", trigger=event_trigger("held", "other"))
        async def held(payload: Any) -> None:
            self.begun.append(("held", payload))
            await self.go_on.wait()

        @self.app.job(id="failing", trigger=event_trigger("failing"), queue="late")
        async def failing(payload: Any) -> None:
            self.begun.append(("failing", payload))
            raise RetryAfter(3_600)

        @self.app.job(id="queued", trigger=event_trigger("queued"), queue="paused")
        async def queued(payload: Any) -> None:
            self.begun.append(("queued", payload))

    @asynccontextmanager
    async def played(self, client: Client) -> AsyncIterator[None]:
        async with self.host.working(self.app, concurrency=50):
            client.pause_queue("app/paused")
            for key in range(KEYS):
                for name in ("held", "failing", "queued"):
                    events = [Event(name, number, id=f"{name}-{key}-{number}") for number in range(LONG)]
                    client.send_events(events, ordering_key=f"key ~:{key}")
            await await_until(lambda: len(self.begun) == 2 * KEYS, what="the first runs of all keys")
            await await_until(lambda: len(client.list_runs(status="queued").items) == KEYS)
            await await_until(lambda: len(client.list_delayed().items) == KEYS)
            try:
                yield
            finally:
                self.go_on.set()


@pytest.fixture(params=[1, 3], ids=["one partition", "three partitions"])
def scene(request: pytest.FixtureRequest, url: str, namespace: str) -> Scene:
    return Scene(url, namespace, request.param)


@pytest.fixture
def command(scene: Scene) -> Callable[..., Result]:
    env = {
        "HEADRACE_URL": scene.host.url,
        "HEADRACE_NAMESPACE": scene.host.namespace,
        "HEADRACE_PARTITIONS": str(scene.host.partitions),
    }
    return lambda *args: CliRunner().invoke(root, [*map(str, args)], env=env, catch_exceptions=False)


def behind(job: str) -> list[str]:
    return sorted(f"{job}-{key}-{number}:app/{job}" for key in range(KEYS) for number in range(1, LONG))


ALL = sorted(behind("held") + behind("failing") + behind("queued"))


def listed(client: Client, asked: Asked, limit: int = 100, **filters: Any) -> list[str]:
    """Return all that is listed, page by page; each has its bounds, and the cursor of each item goes on with it."""
    runs: list[RunRecord] = []
    read = partial(client.list_runs, status="waiting", behind=True, limit=limit, **filters)
    cursor = None
    while True:
        asked.trips.clear()
        page = read(cursor=cursor)
        assert (len(asked.trips) <= 7, sum(asked.trips) < 500, len(page.items) <= limit) == (True, True, True)
        assert [read(cursor=each).items[0] for each in page.cursors] == page.items
        runs += page.items
        if (cursor := page.cursor) is None:
            return sorted(run.id for run in runs)


@pytest.mark.leaves_records
async def test_they_are_a_list(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them once, in pages of any length; filters narrow it."""
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        client.has_workers()
        read = partial(listed, client, Asked(client, monkeypatch))
        async with scene.played(client):
            for limit in (1, 4, 7, 100):
                assert read(limit) == ALL
            assert read(job="app/failing") == behind("failing")
            assert read(queue="app/paused") == behind("queued")
            assert read(2, queue="app/late") == behind("failing")
            assert read(3, event_name="held") == behind("held")
            assert read(queue="none/paused") == read(job="app/none") == read(event_name="none") == []
            first = client.get_event("held-0-0").delivered_at
            assert first is not None
            assert (read(since=first), read(until=first - timedelta(milliseconds=1))) == (ALL, [])
            waiting = client.list_runs(status="waiting").items
            assert {(run.job, run.attempt) for run in waiting} == {("app/failing", 2)}


@pytest.mark.leaves_records
async def test_a_list_of_many_queues_and_long_lines(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit on a page comes on the next ones: queues, their entries, members of `due`, and of lines."""
    monkeypatch.setattr(waiting_runs, "READ", 4)
    monkeypatch.setattr(waiting_runs, "_QUEUES_AT_ONCE", 1)
    monkeypatch.setattr(waiting_runs, "RECORDS", 2)
    monkeypatch.setattr(waiting_runs, "LEAST", 2)
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        async with scene.played(client):
            found = [run.id for run in client.iter_runs(status="waiting", behind=True)]
            assert sorted(found) == ALL
            found = [run.id for run in client.iter_runs(status="waiting", behind=True, job="app/queued")]
            assert sorted(found) == behind("queued")


@pytest.mark.leaves_records
async def test_a_list_goes_on_in_a_line_that_has_moved_on(scene: Scene) -> None:
    """What was listed last has ended meanwhile, with what was before it; or another program has written there."""
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        async with scene.played(client):
            page = client.list_runs(status="waiting", behind=True, job="app/queued", limit=3)
            client.cancel_runs([run.id for run in page.items])
            found = list(page.items)
            while page.cursor is not None:
                page = client.list_runs(status="waiting", behind=True, job="app/queued", cursor=page.cursor)
                found += page.items
            assert sorted(run.id for run in found) == behind("queued")
            for bad in ("", "x", "WzAsIiIsIjAtMCIsIiIsIiJd" * 2, "WzksIiIsIjAtMCIsIiIsIiJd", 5):
                with pytest.raises(InvalidArgument, match="cursor: "):
                    client.list_runs(status="waiting", behind=True, cursor=bad)  # type: ignore[arg-type]


@pytest.mark.leaves_records
async def test_what_is_no_line_is_left_out(scene: Scene, redis: redis_py.Redis) -> None:
    """Something else under its key, or in it, is named as damaged or passed over, and costs no other line."""
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        async with scene.played(client):
            first, second = (client.partitions.of(f"key ~:{key}").line("app/queued", f"key ~:{key}") for key in (0, 1))
            redis.delete(first)
            redis.set(first, "foreign")
            redis.execute_command("LINSERT", second, "AFTER", redis.lindex(second, 0), b"\xff foreign")
            listed = [run.id for run in client.iter_runs(status="waiting", behind=True, job="app/queued")]
            assert sorted(listed) == [each for each in behind("queued") if not each.startswith("queued-0-")]
            redis.delete(first)


@pytest.mark.leaves_records
async def test_a_line_whose_first_run_moves_is_not_left_out(scene: Scene, redis: redis_py.Redis) -> None:
    """It was in `due` while the queues were looked through, and is in a queue while `due` is."""
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        async with scene.played(client):
            client.pause_queue("app/late")
            page = client.list_runs(status="waiting", behind=True, limit=1)
            found = list(page.items)
            for keys in client.partitions.all:
                redis.zadd(keys.due, {member: 1 for member, _ in redis.zscan_iter(keys.due)})
                redis.lpush(keys.wake, "1")
            late = partial(client.list_runs, status="queued", queue="app/late")
            await await_until(lambda: len(late().items) == KEYS, what="runs whose time has come")
            while page.cursor is not None:
                page = client.list_runs(status="waiting", behind=True, cursor=page.cursor)
                found += page.items
            assert sorted({run.id for run in found}) == ALL


@pytest.mark.leaves_records
async def test_what_waited_behind_another_at_a_time_is_listed(scene: Scene) -> None:
    """Also if it is the first of its line since then: an act is for what there was when it was asked for."""
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        async with scene.played(client):
            then = client.server_time()
            await await_until(lambda: client.server_time() > then)
            client.cancel_run("queued-0-0:app/queued")
            queued = partial(client.list_runs, status="queued", job="app/queued")
            await await_until(lambda: "queued-0-1:app/queued" in [run.id for run in queued().items])
            read = partial(client.iter_runs, status="waiting", behind=True, job="app/queued")
            assert sorted(run.id for run in read(until=then)) == behind("queued")
            assert sorted(run.id for run in read()) == [each for each in behind("queued") if "-0-1:" not in each]
            rest = [run.id for run in OpenRuns(client, (), {"job": "app/queued"}).read(Times(then), None, 1_000).items]
            assert "queued-0-1:app/queued" in rest


@pytest.mark.leaves_records
async def test_a_line_that_moves_within_a_page_loses_none(
    scene: Scene, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first run ends between the look for the last listed one and the read behind that."""
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        async with scene.played(client):
            transport: Any = client._transport
            run = transport.run

            def moving(calls: Any, **given: Any) -> Any:
                lines = {call.args[1] for call in calls if call.args[0] == "LRANGE"}
                for line in lines if transport.run is moving else ():
                    redis.lpop(line)
                return run(calls, **given)

            page = client.list_runs(status="waiting", behind=True, job="app/queued", limit=1)
            found = list(page.items)
            monkeypatch.setattr(transport, "run", moving)
            page = client.list_runs(status="waiting", behind=True, job="app/queued", limit=1, cursor=page.cursor)
            assert page.items[0].id == found[0].id.replace("-1:", "-2:")
            monkeypatch.undo()


CANCELED: dict[str, tuple[str, ...]] = {
    "job": ("--job", "app/queued"),
    "queue": ("--queue", "app/paused"),
    "name": ("--event-name", "queued"),
    "waiting": ("--status", "waiting", "--status", "queued", "--job", "app/queued"),
}


@pytest.mark.leaves_records
@pytest.mark.parametrize("given", CANCELED.values(), ids=CANCELED)
async def test_a_cancellation_leaves_none_out(
    scene: Scene, command: Callable[..., Result], given: tuple[str, ...]
) -> None:
    """Dry run and act agree, and once the queue goes on nothing of it begins."""
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        async with scene.played(client):
            meant = document(command("runs", "cancel", *given, "--dry-run", "--json"))
            done = command("runs", "cancel", *given, "--yes")
            assert (meant["count"], done.exit_code) == (KEYS * LONG, 0), done.output
            assert done.stdout.count("queued-") == KEYS * LONG
            await _nothing_begins(scene, client)


@pytest.mark.leaves_records
async def test_a_purge_leaves_none_out(scene: Scene, command: Callable[..., Result]) -> None:
    """A purge throws away what waits for its turn in the queue, too."""
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        async with scene.played(client):
            done = command("queues", "purge", "app/paused", "--yes=app/paused")
            assert (done.exit_code, f"{KEYS * LONG} done, 0 failed, 0 left" in done.output) == (0, True), done.output
            await _nothing_begins(scene, client)


@pytest.mark.leaves_records
async def test_a_purge_leaves_what_has_begun(scene: Scene, command: Callable[..., Result]) -> None:
    """Runs that execute, or wait for their next attempt, go on; those behind them are gone."""
    with Client(scene.host.url, namespace=scene.host.namespace, partitions=scene.host.partitions) as client:
        async with scene.played(client):
            for queue in ("app/default", "app/late"):
                done = command("queues", "purge", queue, f"--yes={queue}")
                assert (done.exit_code, f"{PER_JOB} done, 0 failed, 0 left" in done.output) == (0, True), done.output
            begun = sorted(f"{name}-{key}-0:app/{name}" for key in range(KEYS) for name in ("failing", "held"))
            left = client.list_runs(status=("executing", "waiting")).items
            assert sorted(run.id for run in left if run.queue != "paused") == begun
            scene.go_on.set()
            await await_until(lambda: client.get_run("held-0-0:app/held").status == "succeeded")
            assert len(scene.begun) == 2 * KEYS


async def _nothing_begins(scene: Scene, client: Client) -> None:
    """A run that is sent last has ended, so those before it would have begun."""
    client.resume_queue("app/paused")
    for key in range(KEYS):
        client.send_event(Event("queued", "last", id=f"last-{key}"), ordering_key=f"key ~:{key}")
    await await_until(lambda: scene.begun.count(("queued", "last")) == KEYS)
    assert [each for each in scene.begun if each[0] == "queued"] == [("queued", "last")] * KEYS


def test_the_option(client: Client, command: Callable[..., Result]) -> None:
    """It is for waiting runs alone, and says so."""
    for given in ({}, {"status": "queued"}, {"status": ("waiting", "queued")}, {"status": "waiting", "worker": "w"}):
        with pytest.raises(InvalidArgument, match="behind: is for runs that wait"):
            client.list_runs(behind=True, **given)
    fails(command("runs", "list", "--behind"), 2, "--behind is for runs that wait; give --status waiting")
    assert document(command("runs", "list", "--behind", "--status", "waiting", "--json"))["runs"] == []
