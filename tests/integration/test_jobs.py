"""Jobs are listed with what is registered of them, disabled and enabled, and sent an event alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from headrace import AsyncClient, Event, EventRecord, InvalidArgument
from headrace.formats.codec import decode_event
from headrace_worker import App, event_trigger
from headrace_worker.inspect.jobs import UnknownJob
from headrace_worker.operate.app_client import AppClient, AsyncAppClient
from headrace_worker.operate.send_to_job import JobDisabled
from tests.apps.shop import ADULTS
from tests.apps.shop import app as shop
from tests.support.codecs import Scrambler
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
        client.register_app(shop)
        yield client


@pytest.fixture
def undivided(url: str, namespace: str) -> Iterator[AppClient]:
    with AppClient(url, namespace=namespace) as client:
        client.register_app(shop)
        yield client


async def dispatched(client: AppClient, event_id: str) -> EventRecord:
    await await_until(lambda: client.get_event(event_id).status != "pending", what="a dispatch")
    return client.get_event(event_id)


async def jobs_of(client: AppClient, *events: Event) -> list[list[str]]:
    """Send events, and return the jobs that each of them got."""
    return [[run.job for run in (await dispatched(client, each.id)).runs] for each in client.send_events(events)]


# Listing.


@pytest.mark.leaves_records
async def test_jobs_are_listed_with_what_is_registered(client: AppClient, host: WorkerHost) -> None:
    """Triggers, filters and queue; what waits; releases and their live workers, in all partitions together."""
    async with host.working(DISPATCHER):
        await jobs_of(client, *[Event("user.deleted")] * 5)
    audit, welcome = client.list_jobs().items
    assert (audit.job, audit.names, audit.sources) == ("shop/audit", ["user.created", "user.deleted"], [])
    assert (audit.queue, audit.waiting, audit.in_flight, audit.workers) == ("default", 5, 0, [])
    assert (welcome.sources, welcome.filter, welcome.context_filter) == (["web", "api"], ADULTS, {"region": ["eu"]})
    assert (welcome.queue, welcome.waiting, welcome.why, welcome.disabled) == ("mail", 0, "registered", None)
    async with host.working(shop) as worker:
        found = client.get_job("shop/welcome")
        assert (found.why, found.workers) == ("live", [str(worker.name)])
        assert [each.workers for each in found.versions] == [found.workers]


async def test_releases_of_a_job_are_told_apart(client: AppClient, host: WorkerHost) -> None:
    """The newest is shown; workers are counted for each."""
    later = App("shop")
    later.job(id="audit", trigger=event_trigger("user.renamed"))(lambda: None)
    async with host.working(shop) as old, host.working(later) as new:
        audit, welcome = client.list_jobs().items
        assert audit.names == ["user.renamed"]
        assert [each.workers for each in audit.versions] == [[str(new.name)], [str(old.name)]]
        assert welcome.workers == [str(old.name)]


def test_an_unknown_job_is_named_with_what_may_be_meant(client: AppClient) -> None:
    """By every method that takes a job."""
    for ask in (client.get_job, client.disable_job, client.enable_job, client.trigger_job):
        with pytest.raises(UnknownJob, match="did you mean shop/welcome") as caught:
            ask("shop/welcom")
        assert caught.value.near == ["shop/welcome"]
        with pytest.raises(InvalidArgument, match="billing/welcome"):
            ask("welcome")
        for far in ("shop/wine", "shop/nope", "shopping/welcome"):
            with pytest.raises(UnknownJob, match="headrace jobs list") as caught:
                ask(far)
            assert caught.value.near == []


async def test_a_job_that_a_release_dropped(client: AppClient, headrace: Headrace, host: WorkerHost) -> None:
    """It is not registered any more, and what shows the releases is named."""
    later = App("shop")
    later.job(id="audit", trigger=event_trigger("user.renamed"))(lambda: None)
    async with host.working(later):
        with pytest.raises(UnknownJob) as caught:
            client.get_job("shop/welcome")
        assert caught.value.was_registered
        shown = headrace("jobs", "show", "shop/welcome", "--partitions", str(len(client.partitions)))
        fails(shown, 1, "an earlier release of its app had it", "headrace app routes")
        with pytest.raises(UnknownJob, match="did you mean shop/audit") as caught:
            client.get_job("shop/audits")
        assert not caught.value.was_registered


# Disabling.


@pytest.mark.leaves_records
async def test_a_disabled_job_gets_no_runs(client: AppClient, host: WorkerHost) -> None:
    """From the return of the call on, on a dispatcher that has its routes cached; runs that exist go on."""
    async with host.working(DISPATCHER):
        assert await jobs_of(client, Event("user.deleted")) == [["shop/audit"]]
        assert client.disable_job("shop/audit", "too slow").changed
        assert await jobs_of(client, *[Event("user.deleted")] * 10) == [[]] * 10
        async with host.working(shop):  # its registration, and its end, leave the job disabled
            await await_until(lambda: all(run.finished_at for run in client.iter_runs()), what="the run's end")
            assert await jobs_of(client, Event("user.deleted")) == [[]]
        assert await jobs_of(client, Event("user.deleted")) == [[]]
        assert client.enable_job("shop/audit").changed
        assert await jobs_of(client, Event("user.deleted")) == [["shop/audit"]]


@pytest.mark.leaves_records
async def test_no_dispatcher_goes_on_with_a_job_that_was_disabled(client: AppClient, host: WorkerHost) -> None:
    """While events are dispatched all the time: each that is sent after the call makes no run."""
    async with host.working(DISPATCHER), host.working(DISPATCHER):
        for _ in range(5):
            before = client.send_events([Event("user.deleted")] * 50)
            await asyncio.to_thread(client.disable_job, "shop/audit")
            after = client.send_events([Event("user.deleted")] * 50)
            assert not [event.id for event in after if (await dispatched(client, event.id)).runs]
            await asyncio.to_thread(client.enable_job, "shop/audit")
            assert all([(await dispatched(client, event.id)).status for event in before])


def test_a_job_that_is_disabled_again(client: AppClient) -> None:
    """It keeps its time; another reason is taken. To enable one twice changes nothing either."""
    first = client.disable_job("shop/audit", "why")
    again = client.disable_job("shop/audit")
    assert (again.changed, again.since, again.reason) == (False, first.since, "why")
    assert client.disable_job("shop/audit", "because").reason == "because"
    assert [client.enable_job("shop/audit").changed for _ in range(2)] == [True, False]


def test_a_reason_that_is_too_long_is_refused(client: AppClient) -> None:
    """Nothing is disabled."""
    with pytest.raises(InvalidArgument, match="reason"):
        client.disable_job("shop/audit", "x" * 257)
    assert client.get_job("shop/audit").disabled is None


@pytest.mark.leaves_records
async def test_a_new_release_of_the_app_leaves_a_job_disabled(client: AppClient, host: WorkerHost) -> None:
    """To forget the app does not: nothing of its subscriptions is left."""
    client.disable_job("shop/audit")
    later = App("shop")
    later.job(id="audit", trigger=event_trigger("user.renamed"))(lambda: None)
    client.register_app(later)
    assert client.get_job("shop/audit").disabled is not None
    await host.settle(later)
    assert client.get_job("shop/audit").disabled is not None
    client.forget_app("shop")
    client.register_app(shop)
    assert client.get_job("shop/audit").disabled is None


# An event for one job.


@pytest.mark.leaves_records
async def test_an_event_for_one_job_goes_to_no_other(client: AppClient, host: WorkerHost) -> None:
    """Whatever its filters; it has the first name and source of the trigger."""
    sent = client.trigger_job("shop/welcome", {"id": "u_9"}, event_id="t1")
    assert (sent.id, sent.name) == ("t1", "user.created")
    await host.settle(shop)
    record = client.get_event("t1")
    assert [(run.job, run.status, run.output) for run in record.runs] == [("shop/welcome", "succeeded", "u_9")]
    assert (record.to_job, record.source) == ("shop/welcome", "web")
    said = {each.job: each.failure and each.failure.condition for each in client.explain_event("t1").answers}
    assert said == {"shop/audit": "job", "shop/welcome": None}
    assert client.trigger_job("shop/welcome", {"id": "u_9"}, event_id="t1").duplicate


@pytest.mark.leaves_records
async def test_a_sealed_event_for_one_job(url: str, namespace: str) -> None:
    """It is sealed as all are, and the worker does not apply the filters that the event was sent past."""
    app = App("shop", codec=Scrambler())
    app.job(id="audit", trigger=event_trigger("a", filter={"x": [1]}))(lambda payload: payload)
    app.job(id="other", trigger=event_trigger("a"))(lambda: None)
    with AppClient(url, namespace=namespace, codec=Scrambler()) as client:
        client.register_app(app)
        sent = client.trigger_job("shop/audit", {"x": 2})
        await WorkerHost(url, namespace).settle(app)
        assert [(run.job, run.output) for run in client.get_event(sent.id).runs] == [("shop/audit", {"x": 2})]


def test_nothing_is_sent_to_a_disabled_job(client: AppClient) -> None:
    """The error says why it is, and how to enable it."""
    client.disable_job("shop/audit", "too slow")
    with pytest.raises(JobDisabled, match=r"\(too slow\).+ headrace jobs enable shop/audit"):
        client.trigger_job("shop/audit", event_id="t1")
    assert not list(client.iter_runs())


@pytest.mark.leaves_records
async def test_a_job_that_is_disabled_before_the_dispatch_gets_no_run(client: AppClient, host: WorkerHost) -> None:
    """Not even of an event for it alone."""
    sent = client.trigger_job("shop/audit")
    client.disable_job("shop/audit")
    await host.settle(DISPATCHER)
    assert client.get_event(sent.id).runs == []


# Both faces.


async def test_the_awaited_client_does_the_same(url: str, namespace: str) -> None:
    """Each method once."""
    async with AsyncAppClient(url, namespace=namespace) as client:
        assert isinstance(client, AsyncClient)
        assert (await client.register_app(shop)).status == "registered"
        assert [each.app for each in (await client.list_apps()).items] == ["shop"]
        assert [each.job for each in (await client.list_jobs()).items] == ["shop/audit", "shop/welcome"]
        assert (await client.disable_job("shop/audit")).is_disabled
        assert (await client.get_job("shop/audit")).disabled is not None
        assert not (await client.enable_job("shop/audit")).is_disabled
        assert len((await client.explain_send(Event("x"))).answers) == 2
        sent = await client.trigger_job("shop/audit")
        assert (await client.explain_event(sent.id)).to_job == "shop/audit"
        assert (await client.forget_app("shop")).had_subscriptions
        await WorkerHost(url, namespace).settle(DISPATCHER)


# The commands.


async def test_jobs_list_and_show(headrace: Headrace, undivided: AppClient) -> None:
    """A line a job; one job in full."""
    undivided.disable_job("shop/audit", "too slow")
    result = headrace("jobs", "list")
    head, audit, welcome = result.stdout.splitlines()
    assert head.split() == ["JOB", "SUBSCRIBES", "TO", "QUEUE", "WAITING", "WORKERS", "STATE"]
    assert audit.startswith("shop/audit    user.created or user.deleted ")
    assert " default        0        0  disabled since " in audit
    assert welcome.split("  ")[:2] == ["shop/welcome", "user.created from web or api, filtered"]
    assert result.stderr.startswith("no worker of this namespace is alive")
    shown = headrace("jobs", "show", "shop/audit").stdout
    assert "reason          too slow\n" in shown
    assert "release         the one that was registered, as no worker is alive\n" in shown
    assert 'filter          {"plan":["pro","team"]' in headrace("jobs", "show", "shop/welcome").stdout


@pytest.mark.usefixtures("undivided")
def test_jobs_as_json(headrace: Headrace) -> None:
    """Every key is always there."""
    listed = document(headrace("jobs", "list", "--json"))
    (audit, _), fingerprint = listed["jobs"], listed["jobs"][0]["versions"][0]["fingerprint"]
    assert listed["damaged"] == []
    assert audit == {
        "job": "shop/audit",
        "why": "registered",
        "names": ["user.created", "user.deleted"],
        "sources": [],
        "filter": None,
        "context_filter": None,
        "queue": "default",
        "versions": [{"fingerprint": fingerprint, "workers": []}],
        "workers": [],
        "disabled": None,
        "controls": {"queue": "shop/default", "paused_at": None, "reason": "", "limit": "declared"},
        "waiting": 0,
        "in_flight": 0,
    }
    none = {"succeeded": 0, "failed": 0, "canceled": 0, "retried": 0, "mean_s": None}
    more = {"fetched_by": [], "declared_limit": "unknown", "last_hour": none}
    assert document(headrace("jobs", "show", "shop/audit", "--json")) == audit | more


@pytest.mark.usefixtures("undivided")
def test_jobs_disable_and_enable(headrace: Headrace) -> None:
    """They say what has changed, also where nothing has."""
    disable, enable = ("jobs", "disable", "shop/audit"), ("jobs", "enable", "shop/audit")
    first = headrace(*disable, "--reason", "too slow").stdout
    assert first == "job shop/audit is disabled from now on; runs that it has go on\n"
    assert headrace(*disable).stdout.startswith("job shop/audit is disabled as it was since 2")
    switched = document(headrace(*disable, "--json"))
    assert switched | {"since": ""} == {
        "job": "shop/audit",
        "is_disabled": True,
        "changed": False,
        "since": "",
        "reason": "too slow",
    }
    assert headrace(*enable).stdout.startswith("job shop/audit is enabled; it was disabled since 2")
    assert headrace(*enable).stdout == "job shop/audit is enabled; it was not disabled\n"
    fails(headrace("jobs", "disable", "shop/adit"), 1, "did you mean shop/audit?")
    fails(headrace("jobs", "enable", "audit"), 2, "'audit'")


@pytest.mark.leaves_records
@pytest.mark.usefixtures("undivided")
def test_jobs_trigger(headrace: Headrace, redis: redis_py.Redis, prefix: str) -> None:
    """A payload, or an example of the app's code; what is stored is in a format that older dispatchers refuse."""
    result = headrace("jobs", "trigger", "shop/welcome", '{"id": "u_1"}', "--id", "t1")
    assert result.stdout.startswith("t1 user.created accepted 2")
    assert result.stdout.endswith(", for shop/welcome alone\n")
    explained = headrace("events", "explain", "t1")
    assert "shop/welcome  yes " in explained.stdout
    assert "shop/audit" not in explained.stdout
    assert "it is for job shop/welcome alone" in explained.stderr
    body: Any = redis.hget(f"{prefix}event:t1", "e")
    assert (decode_event(body).v, decode_event(body).j) == (3, "shop/welcome")
    example = ("jobs", "trigger", "shop/welcome", "--app", "tests.apps.shop:app", "--example")
    assert document(headrace(*example, "bob", "--json"))["payload"] == {"id": "u_2", "name": "Bob"}
    fails(headrace(*example, "eve"), 2, "no example 'eve'", "it has: ann, bob")
    fails(headrace(*example, "ann", "--app", "tests.apps.everyday:app"), 2, "'everyday'")
    fails(headrace(*example, "ann", '{"id": 1}'), 2, "either a payload or --example")
    fails(headrace("jobs", "trigger", "shop/welcome", "--example", "ann"), 2, "--app and --example together")


def test_app_routes(headrace: Headrace, undivided: AppClient) -> None:
    """Which releases are registered, which one counts, and why."""
    later = App("shop")
    later.job(id="audit", trigger=event_trigger("user.renamed"))(lambda: None)
    undivided.register_app(later)
    undivided.disable_job("shop/audit")
    result = headrace("app", "routes")
    title, head, new, old, disabled = result.stdout.splitlines()
    assert title == "app shop: those subscriptions count that were registered, as no worker is alive"
    assert head.split() == ["FINGERPRINT", "COUNTS", "REGISTERED", "WORKERS", "JOBS"]
    assert new.split()[1:] == ["yes", "yes", "-", "audit"]
    assert old.split()[1:] == ["no", "no", "-", "audit,", "welcome"]
    assert disabled == "disabled: audit"
    (app,) = document(headrace("app", "routes", "--json"))["apps"]
    newest, _ = app.pop("versions")
    assert app == {"app": "shop", "why": "registered", "disabled": ["audit"]}
    assert list(newest) == ["fingerprint", "jobs", "counts", "registered", "workers"]
    assert newest["jobs"] == ["audit"]


def test_app_routes_without_an_app(headrace: Headrace) -> None:
    """That is said."""
    assert headrace("app", "routes").stdout == "no app is registered\n"


def test_app_check(headrace: Headrace) -> None:
    """Jobs, notes and problems; problems are exit code 1, an app that can't be loaded is 2. No server is asked."""
    good = headrace("app", "check", "tests.apps.shop:app", HEADRACE_URL=None)
    assert good.exit_code == 0
    title, head, audit, _ = good.stdout.splitlines()
    assert (title, re.split("  +", audit)[:2]) == ("app shop", ["audit", "user.created or user.deleted"])
    assert re.split("  +", head) == ["JOB", "SUBSCRIBES TO", "FILTER", "CONTEXT FILTER", "QUEUE"]
    assert good.stderr.startswith("note: job audit: its payload has no type")
    bad = headrace("app", "check", "tests.apps.odd_jobs:app")
    assert bad.exit_code == 1
    assert "problem: job never: no value passes filter.a, so no event ever matches" in bad.stderr
    assert "problem: job one: it is the job 'two' again" in bad.stderr
    two_classes = "event 'paid' has two classes: PaidToo here, Paid in job 'receipt'; declare it once"
    assert f"problem: job thanks: {two_classes}" in bad.stderr
    found = document(headrace("app", "check", "tests.apps.odd_jobs:app", "--json"))
    assert list(found) == ["app", "jobs", "problems", "notes"]
    assert [each["job"] for each in found["problems"]] == ["never", "one", "thanks"]
    assert list(found["jobs"][0]) == ["job", "names", "sources", "filter", "context_filter", "queue", "examples"]
    fails(headrace("app", "check", "tests.apps.nothing:app"), 2, "tests.apps.nothing")
