"""Which jobs get an event is said before it is sent and after; of other jobs, the first condition that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from headrace import ContentsGone, Event
from headrace_worker import App, event_trigger
from headrace_worker.inspect.explanation import Explanation, Failure
from headrace_worker.operate.app_client import AppClient
from tests.apps.shop import app as shop
from tests.support.codecs import Scrambler
from tests.support.commands import Headrace, document, fails
from tests.support.workers import WorkerHost

PAYLOAD = {"plan": "pro", "user": {"age": 18}}
GOOD = Event("user.created", PAYLOAD, {"region": "eu"}, source="web")


@pytest.fixture
def client(url: str, namespace: str, count: int) -> Iterator[AppClient]:
    with AppClient(url, namespace=namespace, partitions=count) as client:
        yield client


@pytest.fixture
def undivided(url: str, namespace: str) -> Iterator[AppClient]:
    with AppClient(url, namespace=namespace) as client:
        client.register_app(shop)
        yield client


def verdicts(said: Explanation) -> dict[str, Any]:
    return {each.job: each.failure or each.verdict for each in said.answers}


# What is said.


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({}, None),
        ({"name": "user.deleted"}, Failure("name", "name", "user.created", "user.deleted")),
        ({"source": "cron"}, Failure("source", "source", "one of web, api", "cron")),
        (
            {"payload": PAYLOAD | {"plan": "free"}},
            Failure("filter", "payload.plan", 'one of ["pro", "team"]', "free"),
        ),
        (
            {"payload": {"plan": "pro", "user": {}}},
            Failure("filter", "payload.user.age", "$gte 18", is_missing=True),
        ),
        ({"context": {"region": "us"}}, Failure("context_filter", "context.region", '"eu"', "us")),
        ({"context": None}, Failure("context_filter", "context", "an object")),
    ],
    ids=str,
)
@pytest.mark.leaves_records
def test_the_first_condition_that_fails_is_named(
    client: AppClient, changes: dict[str, Any], failure: Failure | None
) -> None:
    """In the order in which a dispatcher tries them: before the event is sent, and of one that was sent."""
    client.register_app(shop)
    fields = {"name": GOOD.name, "payload": GOOD.payload, "context": GOOD.context, "source": GOOD.source} | changes
    expected = {"shop/audit": "matches", "shop/welcome": failure or "matches"}
    before = client.explain_send(fields)
    assert (before.event, before.status, verdicts(before)) == (None, None, expected)
    sent = client.send_event(fields, deliver_after=60)
    after = client.explain_event(sent.id)
    assert (after.event, after.status, verdicts(after)) == (sent.id, "delayed", expected)
    client.cancel_event(sent.id)


@pytest.mark.leaves_records
async def test_an_explanation_agrees_with_the_dispatch(client: AppClient, url: str, namespace: str) -> None:
    """The jobs that are said to match are those that get runs, whose states are named."""
    client.register_app(shop)
    events = [GOOD, Event("user.created", {"plan": "free"}), Event("user.deleted"), Event("other")]
    expected = [
        {each.job for each in client.explain_send(event).answers if each.verdict == "matches"} for event in events
    ]
    sent = client.send_events(events)
    await WorkerHost(url, namespace, len(client.partitions)).settle(shop)
    for event, jobs in zip(sent, expected, strict=True):
        said = client.explain_event(event.id)
        assert {each.job for each in said.answers if each.run is not None} == jobs
        assert {each.job for each in said.answers if each.verdict == "matches"} == jobs


def test_names_that_may_be_meant(undivided: AppClient) -> None:
    """Only for a name to which no job subscribes."""
    assert undivided.explain_send(Event("user.craeted")).near_names == ["user.created", "user.deleted"]
    assert undivided.explain_send(Event("user.deleted")).near_names == []


def test_a_job_without_a_live_worker(undivided: AppClient) -> None:
    """Its runs will wait: the answer says so."""
    assert [each.has_worker for each in undivided.explain_send(GOOD).answers] == [False, False]


async def test_a_job_with_a_live_worker(undivided: AppClient, host: WorkerHost) -> None:
    """A lease that runs makes one live."""
    async with host.working(shop):
        assert [each.has_worker for each in undivided.explain_send(GOOD).answers] == [True, True]


def test_a_disabled_job(undivided: AppClient) -> None:
    """It would match; since when and why it does not is said. One that fails anyhow says both."""
    undivided.disable_job("shop/audit", "too slow")
    undivided.disable_job("shop/welcome")
    audit, welcome = undivided.explain_send(Event("user.deleted")).answers
    assert (audit.verdict, audit.disabled and audit.disabled.reason) == ("disabled", "too slow")
    assert (welcome.verdict, welcome.disabled and welcome.disabled.reason) == ("fails", None)


@pytest.mark.leaves_records
async def test_what_an_earlier_release_had(undivided: AppClient, headrace: Headrace, host: WorkerHost) -> None:
    """A job that a release dropped, or let subscribe to something else, is named; one that subscribes is not."""
    later = App("shop")
    later.job(id="audit", trigger=event_trigger("user.create"))(lambda: None)
    sent = undivided.send_event(Event("user.deleted"), deliver_after=60)
    asked = undivided.trigger_job("shop/welcome")
    async with host.working(later):
        assert undivided.explain_send(Event("user.created")).earlier == ["shop/audit", "shop/welcome"]
        assert undivided.explain_send(Event("user.deleted")).earlier == ["shop/audit"]
        assert undivided.explain_send(Event("user.create")).earlier == []
        assert undivided.explain_event(asked.id).earlier == ["shop/welcome"]
        result = headrace("events", "explain", sent.id)
        assert result.stdout == (
            "no job subscribes to 'user.deleted'; an earlier release had shop/audit for it: headrace app routes\n"
        )
        result = headrace("events", "explain", asked.id)
        assert "is not registered; an earlier release had shop/welcome for it: headrace app routes" in result.stdout
        other = App("other")
        other.job(id="mail", trigger=event_trigger("user.created"))(lambda: None)
        undivided.register_app(other)
        result = headrace("send", "--explain", "user.created")
        assert "an earlier release had shop/audit, shop/welcome for it: headrace app routes\n" in result.stderr
    undivided.cancel_event(sent.id)


async def test_what_is_registered_and_yet_to_come_is_not_earlier(undivided: AppClient, host: WorkerHost) -> None:
    """It counts once a worker has it."""
    later = App("shop")
    later.job(id="audit", trigger=event_trigger("user.renamed"))(lambda: None)
    async with host.working(shop):
        undivided.register_app(later)
        assert undivided.explain_send(Event("user.renamed")).earlier == []


@pytest.mark.leaves_records
def test_filters_are_unknown_for_what_can_not_be_opened(undivided: AppClient, url: str, namespace: str) -> None:
    """Name and source are not sealed; with the codec the filters are tried as well."""
    with AppClient(url, namespace=namespace, codec=Scrambler()) as opener:
        sent = opener.send_event(GOOD, deliver_after=60)
        assert verdicts(opener.explain_event(sent.id)) == {"shop/audit": "matches", "shop/welcome": "matches"}
        said = undivided.explain_event(sent.id)
        assert verdicts(said) == {"shop/audit": "matches", "shop/welcome": "unknown"}
        assert said.sealed is not None
        opener.cancel_event(sent.id)


@pytest.mark.leaves_records
def test_routes_that_are_damaged_are_named(
    undivided: AppClient, headrace: Headrace, redis: redis_py.Redis, prefix: str
) -> None:
    """Those of the other apps are explained."""
    redis.sadd(f"{prefix}queues", "broken/default", "odd/default")
    redis.hset(f"{prefix}routes:broken", mapping={"last": "f0", "n:f0": "1", "s:f0": "?"})
    redis.set(f"{prefix}routes:odd", "no hash")
    try:
        said = undivided.explain_send(GOOD)
        assert set(verdicts(said)) == {"shop/audit", "shop/welcome"}
        assert [each.id for each in said.damaged] == ["broken", "odd"]
        for command in (("send", "--explain", "x"), ("jobs", "list"), ("app", "routes")):
            result = headrace(*command)
            assert "app broken, partition 0: subscriptions f0 can't be read\n" in result.stderr
            assert "app odd, partition 0: " in result.stderr
        for command in (("jobs", "list"), ("app", "routes")):
            damaged = document(headrace(*command, "--json"))["damaged"]
            assert damaged[0] == {"id": "broken", "error": "partition 0: subscriptions f0 can't be read"}
    finally:
        redis.delete(f"{prefix}routes:odd")


@pytest.mark.leaves_records
def test_contents_that_are_gone_are_not_explained(undivided: AppClient, redis: redis_py.Redis, prefix: str) -> None:
    """Nothing can be tried on them."""
    sent = undivided.send_event(GOOD, deliver_after=60)
    redis.hdel(f"{prefix}event:{sent.id}", "e")
    with pytest.raises(ContentsGone, match=sent.id):
        undivided.explain_event(sent.id)
    undivided.cancel_event(sent.id)


# The commands.


async def test_events_explain_prints_what_it_found(
    headrace: Headrace, undivided: AppClient, url: str, namespace: str
) -> None:
    """A line a job of the event's name, the matching ones first; jobs of other names are counted, or listed."""
    undivided.send_event(Event("user.deleted", {"note": "x" * 500}, id="e1"))
    await WorkerHost(url, namespace).settle(shop)
    result = headrace("events", "explain", "e1")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["JOB", "GETS", "IT", "WHY"],
        ["shop/audit", "yes", "no", "live", "worker", "has", "the", "job;", "its", "run", "is", "succeeded"],
    ]
    assert result.stderr == "1 job subscribes to other events; --json lists them\n"
    everything = headrace("events", "explain", "e1", "--all")
    assert 'shop/welcome  no       name is "user.deleted", wanted user.created\n' in everything.stdout


@pytest.mark.usefixtures("undivided")
def test_send_explain_sends_nothing(headrace: Headrace, redis: redis_py.Redis, prefix: str) -> None:
    """It says why, with values cut short, and whether a job would get the event by its exit code."""
    payload = json.dumps({"plan": "x" * 500})
    result = headrace("send", "--explain", "user.created", payload, "--source", "web")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if "welcome" in line]
    assert line.endswith(f'payload.plan is "{"x" * 79}…, wanted one of ["pro", "team"]')
    assert redis.xlen(f"{prefix}events") == 0
    result = headrace("send", "--explain", "user.craeted")
    assert (result.exit_code, result.stdout) == (
        1,
        "no job subscribes to 'user.craeted'; did you mean user.created or user.deleted?\n",
    )
    assert redis.xlen(f"{prefix}recent") == 0


@pytest.mark.usefixtures("undivided")
def test_explanations_as_json(headrace: Headrace) -> None:
    """Every key is always there."""
    controls = {"queue": "shop/default", "paused_at": None, "reason": "", "limit": "declared"}
    said = document(headrace("send", "--explain", "user.created", '{"plan": "free"}', "--source", "web", "--json"))
    assert said == {
        "event": None,
        "name": "user.created",
        "source": "web",
        "status": None,
        "to_job": None,
        "sealed": None,
        "answers": [
            {
                "job": "shop/audit",
                "verdict": "matches",
                "failure": None,
                "disabled": None,
                "has_worker": False,
                "run": None,
                "controls": controls,
            },
            {
                "job": "shop/welcome",
                "verdict": "fails",
                "failure": {
                    "condition": "filter",
                    "path": "payload.plan",
                    "wanted": 'one of ["pro", "team"]',
                    "found": '"free"',
                    "is_missing": False,
                },
                "disabled": None,
                "has_worker": False,
                "run": None,
                "controls": controls | {"queue": "shop/mail"},
            },
        ],
        "near_names": [],
        "earlier": [],
        "damaged": [],
    }


def test_what_can_not_be_explained(headrace: Headrace) -> None:
    """An event that is not known is exit code 1, one that can't be sent 2, as is a file."""
    fails(headrace("events", "explain", "nope"), 1, "'nope'")
    fails(headrace("send", "--explain", ""), 2, "name")
    fails(headrace("send", "--explain", "--file", "-", stdin=""), 2, "leave out --file")


@pytest.mark.usefixtures("undivided")
def test_control_codes_of_a_payload_do_not_reach_a_terminal(headrace: Headrace) -> None:
    """They are escaped, as everywhere."""
    result = headrace("send", "--explain", "user.created", '{"plan": "\\u001b[31m"}', "--source", "web")
    assert "\x1b" not in result.stdout
    assert "[31m" in result.stdout


def test_without_any_app(headrace: Headrace) -> None:
    """No job subscribes to anything."""
    assert headrace("send", "--explain", "x").stdout == "no job subscribes to 'x'\n"
