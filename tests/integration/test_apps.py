"""An app's subscriptions count from its registration on, before its first worker starts, until the app is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis as redis_py

from headrace import Event, EventRecord
from headrace.formats.partitions import Partitions
from headrace_worker import App, Retry, event_trigger
from headrace_worker.errors import DefinitionError
from headrace_worker.operate import forget_app
from headrace_worker.operate.app_client import AppClient
from headrace_worker.operate.forget_app import AppAlive, ForgottenApp, UnknownApp
from headrace_worker.testing import run_until_settled
from tests.apps.everyday import app as everyday
from tests.support.commands import Headrace, document, fails
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

DISPATCHER = App("dispatcher", dispatch_only=True)


@pytest.fixture
def host(url: str, namespace: str, count: int) -> WorkerHost:
    return WorkerHost(url, namespace, count)


@pytest.fixture
def client(url: str, namespace: str, count: int) -> Iterator[AppClient]:
    with AppClient(url, namespace=namespace, partitions=count) as client:
        yield client


def shop(*names: str) -> App:
    """Return a release of the app `shop`: it has a job for each of these names of events."""
    app = App("shop")
    for name in names:
        app.job(id=name, trigger=event_trigger(name))(lambda: None)
    return app


OLD, NEW = shop("buy", "old"), shop("buy", "new")


async def _dispatched(client: AppClient, *names: str) -> list[set[str]]:
    """Send an event of each name; return the jobs that got each."""
    sent = [each.id for each in client.send_events([Event(name) for name in names])]

    async def record(event_id: str) -> EventRecord:
        await await_until(lambda: client.get_event(event_id).status != "pending", what="a dispatch")
        return client.get_event(event_id)

    return [{run.job for run in (await record(event_id)).runs} for event_id in sent]


# Register.


@pytest.mark.leaves_records
async def test_runs_wait_for_the_first_worker(client: AppClient, host: WorkerHost) -> None:
    """What is sent between the registration and the first worker's start is run by that worker."""
    assert client.register_app(OLD).status == "registered"
    async with host.working(DISPATCHER):
        assert await _dispatched(client, *["buy"] * 5) == [{"shop/buy"}] * 5
    await host.settle(OLD)
    assert [run.status for run in client.iter_runs()] == ["succeeded"] * 5


@pytest.mark.leaves_records
async def test_events_that_nobody_dispatched_are_found(client: AppClient, host: WorkerHost) -> None:
    """With no worker at all, events wait for a dispatch, which makes runs by what is registered."""
    client.register_app(OLD)
    sent = client.send_event(Event("buy"))
    await host.settle(DISPATCHER)
    assert [run.status for run in client.get_event(sent.id).runs] == ["queued"]


@pytest.mark.leaves_records
async def test_registered_again(client: AppClient, redis: redis_py.Redis, namespace: str) -> None:
    """Nothing changes, and the answer says so."""
    client.register_app(OLD)

    def stored() -> list[Any]:
        return [
            (redis.hgetall(keys.routes("shop")), redis.get(keys.routes_version), redis.smembers(keys.queues))
            for keys in Partitions(namespace, len(client.partitions)).all
        ]

    before = stored()
    assert client.register_app(OLD).status == "known"
    assert stored() == before


@pytest.mark.leaves_records
async def test_a_later_registration_counts(client: AppClient, host: WorkerHost) -> None:
    """Of two that no worker has, the last registered counts alone, as the release of that command is deployed."""
    client.register_app(NEW)
    client.register_app(OLD)
    async with host.working(DISPATCHER):
        assert await _dispatched(client, "buy", "old", "new") == [{"shop/buy"}, {"shop/old"}, set()]


@pytest.mark.leaves_records
async def test_a_registration_waits_while_older_workers_live(client: AppClient, host: WorkerHost) -> None:
    """The jobs of live workers lose no event, and get none that they do not have; then the new release counts."""
    async with host.working(DISPATCHER):
        async with host.working(OLD):
            assert client.register_app(NEW).status == "waiting"
            assert await _dispatched(client, "buy", "old", "new") == [{"shop/buy"}, {"shop/old"}, set()]
            await await_until(lambda: all(run.finished_at for run in client.iter_runs()), what="the old runs' end")
        assert await _dispatched(client, "buy", "old", "new") == [{"shop/buy"}, set(), {"shop/new"}]
    await host.settle(NEW)
    assert {run.status for run in client.iter_runs()} == {"succeeded"}
    assert not list(client.iter_dead_letters())


@pytest.mark.leaves_records
async def test_an_older_worker_that_starts_again(client: AppClient, host: WorkerHost) -> None:
    """It counts while it lives, and leaves the registration as it was."""
    await host.settle(OLD)
    client.register_app(NEW)
    async with host.working(DISPATCHER):
        async with host.working(OLD):
            assert await _dispatched(client, "old", "new") == [{"shop/old"}, set()]
        assert await _dispatched(client, "old", "new") == [set(), {"shop/new"}]


@pytest.mark.leaves_records
async def test_a_registration_ends_with_its_first_worker(client: AppClient, host: WorkerHost) -> None:
    """After a way back to the older release, its workers' subscriptions stay when they stop."""
    await host.settle(OLD)
    client.register_app(NEW)
    await host.settle(NEW)
    await host.settle(OLD)
    async with host.working(DISPATCHER):
        assert await _dispatched(client, "old", "new") == [{"shop/old"}, set()]


@pytest.mark.leaves_records
async def test_a_registration_beside_its_own_worker(client: AppClient, host: WorkerHost) -> None:
    """A worker is alive with the same subscriptions: they count already."""
    async with host.working(NEW):
        assert client.register_app(NEW).status == "live"
        assert await _dispatched(client, "new") == [{"shop/new"}]


def test_an_app_without_jobs_is_not_registered(client: AppClient) -> None:
    """It has no subscriptions."""
    with pytest.raises(DefinitionError, match="app 'dispatcher' has no jobs"):
        client.register_app(DISPATCHER)


# Forget.


def _forgotten(queues: dict[str, int], *, had_subscriptions: bool = True, delayed: int = 0) -> ForgottenApp:
    return ForgottenApp("shop", had_subscriptions, queues, delayed, is_complete=True)


@pytest.mark.leaves_records
async def test_a_forgotten_app_gets_no_runs(client: AppClient, host: WorkerHost) -> None:
    """Events that come after it make no runs, until the app is registered once more."""
    client.register_app(OLD)
    async with host.working(DISPATCHER):
        assert await _dispatched(client, "buy") == [{"shop/buy"}]
        assert client.forget_app("shop") == _forgotten({"default": 1})
        assert await _dispatched(client, "buy", "old") == [set(), set()]
        assert client.forget_app("shop") == _forgotten({"default": 1}, had_subscriptions=False)
        client.register_app(OLD)
        assert await _dispatched(client, "buy") == [{"shop/buy"}]


@pytest.mark.leaves_records
async def test_what_is_left_of_a_forgotten_app_is_counted(client: AppClient, host: WorkerHost) -> None:
    """Runs in each of its queues and those that wait for their next attempt; none of other apps, no delayed event."""
    client.send_event(Event("mail"), deliver_after=3_600)
    async with host.working(_failing("shop")), host.working(_failing("other")):
        for event in client.send_events([Event("fail")] * 3):
            await await_until(partial(_wait, client, event.id), what="failed attempts")
    async with host.working(DISPATCHER):
        await _dispatched(client, "mail", "mail")
    assert client.forget_app("shop") == _forgotten({"default": 0, "mail": 2}, delayed=3)


def _failing(name: str) -> App:
    """Return an app with a job that fails at first, and one in another queue."""
    app = App(name)

    @app.job(id="fail", trigger=event_trigger("fail"), retry=Retry.fixed(3_600, max_attempts=2))
    async def fail() -> None:
        raise ValueError("not yet")

    app.job(id="mail", trigger=event_trigger("mail"), queue="mail")(lambda: None)
    return app


def _wait(client: AppClient, event_id: str) -> bool:
    """Whether both runs of the event wait for their next attempt."""
    return [run.status for run in client.get_event(event_id).runs] == ["waiting", "waiting"]


@pytest.mark.leaves_records
async def test_a_long_list_of_delayed_runs_is_not_read_whole(
    client: AppClient, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first ones are looked at, and the answer says whether that were all."""
    monkeypatch.setattr(forget_app, "_PAGE", 2)
    monkeypatch.setattr(forget_app, "_PAGES", 2)
    client.register_app(OLD)
    due = client.partitions.all[-1].due
    for place in range(4):
        redis.zadd(due, {f"r:default:e{place}:shop/buy": 4_000_000_000_000 + place})
    answers = [client.forget_app("shop")]
    redis.zrem(due, "r:default:e3:shop/buy")
    answers.append(client.forget_app("shop"))
    redis.delete(due)
    assert [(each.delayed, each.is_complete) for each in answers] == [(4, False), (3, True)]


@pytest.mark.leaves_records
async def test_an_app_with_live_workers_is_not_forgotten(client: AppClient, host: WorkerHost) -> None:
    """The error names them, and nothing has changed; once they have stopped the app can be forgotten."""
    async with host.working(OLD) as worker:
        with pytest.raises(AppAlive, match=f"live workers: {worker.name};") as caught:
            client.forget_app("shop")
        assert (caught.value.app, caught.value.workers) == ("shop", [worker.name])
        assert await _dispatched(client, "buy") == [{"shop/buy"}]
    assert client.forget_app("shop").had_subscriptions


@pytest.mark.leaves_records
async def test_a_worker_brings_a_forgotten_app_back(client: AppClient, host: WorkerHost) -> None:
    """With its runs: they have waited for it."""
    client.register_app(OLD)
    async with host.working(DISPATCHER):
        await _dispatched(client, "buy")
    client.forget_app("shop")
    async with host.working(OLD):
        assert await _dispatched(client, "old") == [{"shop/old"}]
    await host.settle(OLD)
    assert {run.job: run.status for run in client.iter_runs()} == {"shop/buy": "succeeded", "shop/old": "succeeded"}


def test_an_unknown_app_is_not_forgotten(client: AppClient) -> None:
    """The error names the apps that there are."""
    with pytest.raises(UnknownApp, match="there is none at all"):
        client.forget_app("shop")
    client.register_app(OLD)
    client.register_app(everyday)
    with pytest.raises(UnknownApp, match="there is everyday, shop") as caught:
        client.forget_app("nope")
    assert caught.value.apps == ["everyday", "shop"]


# The commands.


@pytest.fixture
def undivided(url: str, namespace: str) -> Iterator[AppClient]:
    with AppClient(url, namespace=namespace) as client:
        yield client


REGISTER = ("app", "register", "tests.apps.everyday:app")


@pytest.mark.leaves_records
async def test_the_commands_say_what_they_did(
    headrace: Headrace, undivided: AppClient, url: str, namespace: str, settle: Callable[[], Any]
) -> None:
    """Registered, registered already; a forgotten app with what it leaves, and one that had no subscriptions."""
    first = "app everyday, 7 jobs: subscriptions are registered; runs wait for the first worker\n"
    assert headrace(*REGISTER).stdout == first
    assert "registered already" in headrace(*REGISTER).stdout
    undivided.send_event(Event("echo"))
    await run_until_settled(DISPATCHER, url, namespace=namespace)
    forgotten = headrace("app", "forget", "everyday")
    assert forgotten.stdout == "app everyday is forgotten: new events make no runs of its jobs\n"
    assert forgotten.stderr == "left where they are, for a worker of app everyday: 1 run in queue default\n"
    assert headrace("app", "forget", "everyday").stdout.startswith("app everyday had no subscriptions: ")
    await settle()
    forgotten = headrace("app", "forget", "everyday")
    assert (forgotten.stderr, forgotten.exit_code) == ("", 0)


@pytest.mark.leaves_records
async def test_the_commands_say_what_live_workers_mean(headrace: Headrace, url: str, namespace: str) -> None:
    """With the same subscriptions, or with others; an app that is alive is not forgotten."""
    host = WorkerHost(url, namespace)
    async with host.working(everyday) as worker:
        assert "alive with the same subscriptions" in headrace(*REGISTER).stdout
        fails(headrace("app", "forget", "everyday"), 1, "'everyday'", str(worker.name), "stop them first")
    old = App("everyday")
    old.job(id="old", trigger=event_trigger("old"))(lambda: None)
    async with host.working(old):
        assert "alive with other ones, which count until" in headrace(*REGISTER).stdout


def test_the_commands_print_json(headrace: Headrace) -> None:
    """One document each."""
    registered = document(headrace(*REGISTER, "--json"))
    assert registered == {"app": "everyday", "jobs": sorted(everyday.jobs), "status": "registered"}
    assert document(headrace("app", "forget", "everyday", "--json")) == {
        "app": "everyday",
        "had_subscriptions": True,
        "queues": {"default": 0},
        "delayed": 0,
        "is_complete": True,
    }


def test_an_unknown_app_is_exit_code_1(headrace: Headrace) -> None:
    """The line names the apps that there are."""
    headrace(*REGISTER)
    fails(headrace("app", "forget", "nope"), 1, "no app 'nope'", "there is everyday")


def test_delayed_runs_that_were_not_all_counted_are_said(headrace: Headrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a number that may be too small."""
    monkeypatch.setattr(forget_app, "_PAGES", 0)
    headrace(*REGISTER)
    assert "at least 0 runs delayed" in headrace("app", "forget", "everyday").stderr
