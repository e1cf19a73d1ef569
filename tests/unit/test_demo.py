"""The demo's jobs run for what they must, and the demo finds what is not as it should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples.demo import expectations
from examples.demo.events import load_events
from examples.demo.play import EXAMPLE
from examples.github.jobs import app
from headrace import EventRecord, RunError, RunRecord
from headrace.formats import codec
from headrace.formats.codec import StoredEvent
from headrace_worker.app.routes import Routes, fingerprint_of, subscriptions_of

ROOT = Path(__file__).parents[2]
ALL_WEBHOOKS = ROOT / "tests" / "data" / "github-webhooks.ndjson"
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def match() -> Callable[[str, str, Any], set[str]]:
    """Return the jobs that the dispatcher would match."""
    blob = subscriptions_of(app)
    name = fingerprint_of(blob).encode()
    routes = Routes("1", {"github": {b"s:" + name: blob, b"n:" + name: b"1", b"w:worker": name}})

    def matched(name: str, source: str, payload: Any) -> set[str]:
        body = codec.encode_event(name, source, codec.to_micros(NOW), payload, None, None)
        event: StoredEvent = codec.decode_event(body)
        return {route.job for route in routes.match(event)}

    return matched


def test_triggers_match_what_plain_python_expects(match: Callable[[str, str, Any], set[str]]) -> None:
    """For all 327 webhooks, as they are and from another source; each job is expected somewhere, and not everywhere."""
    webhooks = [json.loads(line) for line in ALL_WEBHOOKS.read_text().splitlines()]
    made = load_events(EXAMPLE)
    events = [(each["name"], each["source"], each["payload"]) for each in webhooks]
    events += [(each.name, each.source, each.payload) for each in (made.other_branch, made.delayed)]
    events += [(name, "elsewhere", payload) for name, _, payload in events] + [("alert.raised", "ci", {})]
    expected = [expectations.expected_jobs(*event) for event in events]
    assert [match(*event) for event in events] == expected
    assert set().union(*expected) == set(expectations.JOBS)


def test_the_sample_is_unchanged_and_attributed() -> None:
    """Each of its lines is one of the test data's, and the license of their source stands beside them."""
    sample = (EXAMPLE / "webhooks.ndjson").read_text().splitlines()
    assert len(sample) == 100
    assert set(sample) <= set(ALL_WEBHOOKS.read_text().splitlines())
    readme = (EXAMPLE / "README.md").read_text()
    assert "https://github.com/octokit/webhooks" in readme
    assert "Permission is hereby granted" in readme


# What is not as it should be.


def run(job: str, event_id: str, **fields: Any) -> RunRecord:
    attempt = expectations.FLAKY_ATTEMPTS if job == expectations.FLAKY_JOB else 1
    given = {"status": "succeeded", "attempt": attempt, **fields}
    return RunRecord(id=f"{event_id}:{job}", event_id=event_id, job=job, queue="default", **given)


def record(name: str, event_id: str, payload: Any, *runs: RunRecord, **fields: Any) -> EventRecord:
    given = {"source": "github.com", "status": "settled", "deliver_at": None, "canceled_at": None, **fields}
    return EventRecord(
        id=event_id, name=name, payload=payload, context=None, timestamp=NOW, account_id=None,
        delivered_at=None if given["status"] != "settled" else NOW, runs=list(runs), **given,
    )  # fmt: skip


def good_records() -> dict[str, EventRecord]:
    """One event for each job, all of it as it should be."""
    pull_request = {"base": {"ref": "main"}, "draft": False}
    alert_id = "alert-of-check"
    failed_check = run("github/report-failed-check", "check", output=alert_id)
    records = [
        record(
            "github.pull_request.opened", "pr",
            {"pull_request": pull_request, "repository": {"default_branch": "main"}},
            run("github/welcome-author", "pr"), run("github/index-pull-request", "pr"),
        ),
        record("github.check_run.completed", "check", {"check_run": {"conclusion": "failure"}}, failed_check),
        record("alert.raised", alert_id, {}, run("github/page-on-call", alert_id), source="ci"),
        record(
            "github.push", "push", {"ref": "refs/heads/main", "commits": [{"added": ["README.md"]}]},
            run("github/build-docs", "push"),
        ),
        record(
            "github.issues.opened", "bug", {"issue": {"state": "open", "labels": [{"name": "Bug"}]}},
            run("github/triage-bug", "bug"),
        ),
        record(
            "github.release.published", "release", {"release": {"prerelease": False, "draft": False}},
            run("github/announce-release", "release"),
        ),
        record("review.due", "due", None, run("github/remind-reviewer", "due"), deliver_at=NOW),
        record("review.due", "canceled", None, status="canceled", deliver_at=NOW, canceled_at=NOW),
        record("github.fork", "fork", {}),
    ]  # fmt: skip
    return {each.id: each for each in records}


def faults(records: dict[str, EventRecord]) -> list[str]:
    return expectations.find_faults(list(records.values()), "due", "canceled")


def test_what_is_as_it_should_be_has_no_faults() -> None:
    """Nothing is said of it."""
    assert faults(good_records()) == []


def changed(event_id: str, **fields: Any) -> dict[str, EventRecord]:
    records = good_records()
    records[event_id] = msgspec.structs.replace(records[event_id], **fields)
    return records


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (changed("pr", runs=[run("github/welcome-author", "pr")]), "should have a run of github/index-pull-request"),
        (changed("fork", runs=[run("github/build-docs", "fork")]), "should have no run of github/build-docs"),
        (changed("push", status="dispatched"), "has not settled: github/build-docs succeeded"),
        (changed("fork", status="pending"), "has not settled: pending"),
        (
            changed("push", runs=[run("github/build-docs", "push", status="failed", error=RunError("E", "why"))]),
            "run push:github/build-docs is failed: E: why",
        ),
        (changed("push", runs=[run("github/build-docs", "push", attempt=2)]), "succeeded in attempt 2 and not in 1"),
        (changed("due", deliver_at=NOW + timedelta(milliseconds=1)), "before its time"),
        (changed("due", status="delayed", delivered_at=None), "was not delivered"),
        (changed("canceled", status="settled", delivered_at=NOW), "the canceled event is settled"),
        ({key: each for key, each in good_records().items() if key != "due"}, "the delayed event was not delivered"),
        ({key: each for key, each in good_records().items() if key != "canceled"}, "the canceled event is not known"),
        ({key: each for key, each in good_records().items() if key != "release"}, "announce-release has no run at all"),
        (
            {key: each for key, each in good_records().items() if each.name != "alert.raised"},
            "has sent no event alert-of-check",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_said(records: dict[str, EventRecord], words: str) -> None:
    """The line names the event or run at fault."""
    assert any(words in fault for fault in faults(records)), faults(records)
