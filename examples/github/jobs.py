"""Jobs for the events of a GitHub repository, whose webhooks are sent as `github.<event>.<action>` from `github.com`.

They do nothing but take a moment, as a call to some API would.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from headrace import Event
from headrace_worker import App, Context, JobIO, Retry, event_trigger

app = App("github", version="1.0")


class User(msgspec.Struct):
    login: str


class Branch(msgspec.Struct):
    ref: str


class PullRequest(msgspec.Struct):
    number: int
    title: str
    user: User
    base: Branch


class PullRequestOpened(msgspec.Struct):
    """What the jobs read of GitHub's payload; the rest of it is passed over."""

    pull_request: PullRequest


# The payload fits the annotation, or the run ends as `invalid_payload` and says where it does not.
@app.job(
    id="welcome-author",
    trigger=event_trigger(
        "github.pull_request.opened",
        source="github.com",
        filter={"pull_request": {"base": {"ref": ["main", "master"]}, "draft": [False]}},
    ),
)
async def welcome_author(payload: PullRequestOpened) -> str:
    """Only pull requests against the default branch. It shares its event with `index-pull-request`."""
    await asyncio.sleep(0.2)
    return f"Welcome, {payload.pull_request.user.login}, and thanks for #{payload.pull_request.number}."


# One job can listen to several names. A plain function runs in a thread.
@app.job(
    id="index-pull-request",
    trigger=event_trigger(
        [
            "github.pull_request.opened",
            "github.pull_request.reopened",
            "github.pull_request.synchronize",
            "github.pull_request.closed",
        ]
    ),
)
def index_pull_request(payload: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.1)
    return {"indexed": payload["pull_request"]["html_url"], "state": payload["pull_request"]["state"]}


@app.job(
    id="report-failed-check",
    trigger=event_trigger("github.check_run.completed", filter={"check_run": {"conclusion": ["failure", "timed_out"]}}),
)
async def report_failed_check(payload: dict[str, Any], io: JobIO) -> str:
    """Send a further event: once, however many attempts this run takes, as its id is made of the run and the key."""
    check = payload["check_run"]
    await asyncio.sleep(0.3)
    alert = {"check": check["name"], "commit": check["head_sha"], "url": check["html_url"]}
    sent = await io.send_event("alert", Event("alert.raised", payload=alert, source="ci"))
    return sent.id


class PagerUnavailable(Exception):
    """The pager's service did not answer."""


@app.job(
    id="page-on-call",
    trigger=event_trigger("alert.raised", source="ci"),
    retry=Retry(max_attempts=5, min_delay=0.5, jitter=False),
    timeout=10,
)
async def page_on_call(payload: dict[str, Any], ctx: Context) -> str:
    """Fails twice and then succeeds."""
    await asyncio.sleep(0.1)
    if ctx.run.attempt < 3:
        raise PagerUnavailable(f"the pager answered 503 to attempt {ctx.run.attempt}")
    return f"paged about {payload['check']}"


@app.job(
    id="build-docs",
    trigger=event_trigger(
        "github.push",
        filter={"ref": [{"$startsWith": "refs/heads/"}], "commits": {"added": [{"$includes": "README.md"}]}},
    ),
)
async def build_docs(payload: dict[str, Any]) -> dict[str, str]:
    """Only pushes to a branch with a commit that touches the page."""
    await asyncio.sleep(0.4)
    return {"built": payload["after"]}


@app.job(
    id="triage-bug",
    trigger=event_trigger(
        ["github.issues.opened", "github.issues.labeled", "github.issue_comment.created"],
        source="github.com",
        filter={"issue": {"labels": {"name": [{"$ignoreCaseEquals": "BUG"}]}, "state": ["open"]}},
    ),
)
async def triage_bug(payload: dict[str, Any]) -> str:
    await asyncio.sleep(0.15)
    return f"#{payload['issue']['number']} {payload['issue']['title']}"


@app.job(
    id="announce-release",
    trigger=event_trigger("github.release.published", filter={"release": {"prerelease": [False], "draft": [False]}}),
)
async def announce_release(payload: dict[str, Any]) -> str:
    await asyncio.sleep(0.25)
    return f"{payload['repository']['full_name']} {payload['release']['tag_name']} is out"


@app.job(id="remind-reviewer", trigger=event_trigger("review.due"))
async def remind_reviewer(payload: dict[str, Any]) -> str:
    """Its events are sent ahead of time, with a delay; one that is canceled before never gets here."""
    await asyncio.sleep(0.1)
    return f"#{payload['number']} still waits for a review"
