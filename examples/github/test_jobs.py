"""Tests of the jobs: one attempt without a server, and all webhooks on a real one."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jobs import app

from headrace import Event, InvalidArgument
from headrace_worker.testing import SyncHeadrace, call_job

WEBHOOKS = [json.loads(line) for line in Path(__file__).with_name("webhooks.ndjson").read_text("utf-8").splitlines()]


def pull_request(**fields: Any) -> dict[str, Any]:
    given = {"number": 7, "title": "Fix it", "user": {"login": "ada"}, "base": {"ref": "main"}, "draft": False}
    return {"pull_request": given | fields}


def test_an_author_is_welcomed() -> None:
    attempt = call_job(app, "welcome-author", pull_request())
    assert attempt.output == "Welcome, ada, and thanks for #7."


def test_a_draft_is_not_for_the_job() -> None:
    with pytest.raises(InvalidArgument, match="does not pass the filter"):
        call_job(app, "welcome-author", pull_request(draft=True))


def test_a_payload_that_does_not_fit_says_where() -> None:
    attempt = call_job(app, "welcome-author", pull_request(number="seven"))
    assert attempt.status == "invalid_payload"
    assert attempt.error is not None
    assert "`payload.pull_request.number`" in attempt.error.message


def test_a_failed_check_raises_an_alert() -> None:
    check = {"name": "lint", "conclusion": "failure", "head_sha": "abc", "html_url": "https://ci/1"}
    attempt = call_job(app, "report-failed-check", {"check_run": check})
    assert attempt.sent["alert"] == {"check": "lint", "commit": "abc", "url": "https://ci/1"}


@pytest.mark.parametrize("number", [1, 2])
def test_the_pager_is_tried_again(number: int) -> None:
    attempt = call_job(app, "page-on-call", {"check": "lint"}, attempt=number)
    assert (attempt.status, attempt.next_attempt) == ("waiting", number + 1)
    assert attempt.retry_after == timedelta(seconds=0.5)


def test_the_pager_answers_the_third_attempt() -> None:
    assert call_job(app, "page-on-call", {"check": "lint"}, attempt=3).output == "paged about lint"


def test_webhooks_run_their_jobs(headrace_sync: SyncHeadrace) -> None:
    headrace_sync.client.send_events([Event(**webhook) for webhook in WEBHOOKS])
    headrace_sync.client.send_event(Event("review.due", {"number": 7}), deliver_after=86_400)
    runs = headrace_sync.run(app)
    assert Counter(run.job for run in runs)["github/triage-bug"] == 11
    assert runs["page-on-call"].attempt == 3
    headrace_sync.assert_sent("alert.raised", source="ci", times=1)

    headrace_sync.travel(days=1)
    assert headrace_sync.run(app)["remind-reviewer"].output == "#7 still waits for a review"
    headrace_sync.assert_nothing_left()
