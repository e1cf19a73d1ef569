"""The app of the test with GitHub's webhooks: a dozen jobs whose filters look at what is really in the payloads.

Each call of a function is a line in the file that HEADRACE_TEST_CALLS names.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from headrace_worker import App, Context, JobIO, SyncJobIO, Trigger, event_trigger

DATA = Path(__file__).parents[1] / "data" / "github-webhooks.ndjson"
EVENTS: list[dict[str, Any]] = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
ANY = sorted({event["name"] for event in EVENTS})

TRIGGERS: dict[str, Trigger] = {
    "everything": event_trigger(ANY),
    "opened-against-default": event_trigger(
        "github.pull_request.opened", filter={"pull_request": {"base": {"ref": ["main", "master"]}}}
    ),
    "not-succeeded": event_trigger(
        ["github.check_run.completed", "github.check_run.created", "github.workflow_run.completed"],
        filter={"check_run": {"conclusion": [{"$anythingBut": ["success", "neutral"]}]}},
    ),
    "readme-added": event_trigger("github.push", filter={"commits": {"added": [{"$includes": "README.md"}]}}),
    "branch-pushed": event_trigger(
        "github.push", source="github.com", filter={"deleted": [False], "ref": [{"$startsWith": "refs/heads/"}]}
    ),
    "private": event_trigger(ANY, filter={"repository": {"private": [True]}}),
    "of-an-organization": event_trigger(ANY, filter={"organization": [{"$exists": True}]}),
    "by-a-bot": event_trigger(ANY, filter={"sender": {"type": [{"$ignoreCaseEquals": "bOT"}]}}),
    "few-issues": event_trigger(ANY, filter={"repository": {"open_issues_count": [{"$gte": 1}, {"$lt": 10}]}}),
    "labelled": event_trigger(ANY, filter={"issue": {"labels": {"name": ["bug"]}}}),
    "a-step-failed": event_trigger(
        ["github.workflow_job.completed", "github.workflow_job.in_progress"],
        filter={"workflow_job": {"steps": {"conclusion": ["failure"], "number": [{"$gt": 1}]}}},
    ),
    "on-a-gpu": event_trigger(ANY, filter={"workflow_job": {"labels": [{"$includes": "gpu"}]}}),
    "not-merged": event_trigger(ANY, filter={"pull_request": {"merged": [{"$not": True}]}}),
    "nothing-concluded": event_trigger(ANY, filter={"workflow_job": {"conclusion": [{"$isNull": True}]}}),
    "small-change": event_trigger(ANY, filter={"pull_request": {"additions": [{"$between": [1, 100]}]}}),
    "second-third": event_trigger(ANY, source=["github.com", "web"], context_filter={"third": [2]}),
    "elsewhere": event_trigger(ANY, source="gitlab.com"),
}

app = App("webhooks", version="test")


def _note(ctx: Context) -> None:
    line = f"{ctx.job.id} {ctx.event.id}\n".encode()
    file = os.open(os.environ["HEADRACE_TEST_CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


async def _asynchronous(payload: dict[str, Any], io: JobIO, ctx: Context) -> int:  # noqa: ARG001 - as real ones do
    _note(ctx)
    await asyncio.sleep(0)
    return len(payload)


def _plain(payload: dict[str, Any], io: SyncJobIO, ctx: Context) -> int:  # noqa: ARG001 - as real ones do
    _note(ctx)
    return len(payload)


for _place, (_id, _trigger) in enumerate(TRIGGERS.items()):
    app.job(id=_id, trigger=_trigger, queue=f"q{_place % 3}")(_plain if _place % 2 else _asynchronous)
