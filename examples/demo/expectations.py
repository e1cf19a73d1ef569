"""The outcomes that the demo must have, computed in plain Python, without triggers and filters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from headrace import EventRecord, RunRecord

FLAKY_JOB, FLAKY_ATTEMPTS = "github/page-on-call", 3
REPORTING_JOB, FURTHER_NAME = "github/report-failed-check", "alert.raised"

_PULL_REQUEST_ACTIONS = {"opened", "reopened", "synchronize", "closed"}
_BUG_EVENTS = {"github.issues.opened", "github.issues.labeled", "github.issue_comment.created"}


def expected_jobs(name: str, source: str, payload: Any) -> set[str]:
    """Return the jobs, `<app>/<id>`, that must have a run for an event."""
    jobs = {
        "welcome-author": name == "github.pull_request.opened"
        and source == "github.com"
        and payload["pull_request"]["base"]["ref"] == payload["repository"]["default_branch"]
        and not payload["pull_request"]["draft"],
        "index-pull-request": name.startswith("github.pull_request.")
        and name.rpartition(".")[2] in _PULL_REQUEST_ACTIONS,
        "report-failed-check": name == "github.check_run.completed"
        and payload["check_run"]["conclusion"] in ("failure", "timed_out"),
        "page-on-call": name == "alert.raised" and source == "ci",
        "build-docs": name == "github.push"
        and payload["ref"].startswith("refs/heads/")
        and any("README.md" in commit["added"] for commit in payload["commits"]),
        "triage-bug": name in _BUG_EVENTS
        and source == "github.com"
        and payload["issue"]["state"] == "open"
        and any(label["name"].lower() == "bug" for label in payload["issue"]["labels"]),
        "announce-release": name == "github.release.published"
        and not payload["release"]["prerelease"]
        and not payload["release"]["draft"],
        "remind-reviewer": name == "review.due",
    }
    return {f"github/{job}" for job, is_expected in jobs.items() if is_expected}


JOBS = {
    "github/welcome-author": "PRs against the default branch",
    "github/index-pull-request": "PRs opened, changed or closed",
    "github/report-failed-check": "check runs that failed",
    "github/page-on-call": "alerts of a job; fails twice",
    "github/build-docs": "pushes that add README.md",
    "github/triage-bug": "open issues labeled bug",
    "github/announce-release": "releases, but no previews",
    "github/remind-reviewer": "reviews due, sent with a delay",
}
"""Every job, and in words the events that it runs for."""


def find_faults(records: Sequence[EventRecord], delayed_id: str, canceled_id: str) -> list[str]:
    """Return a line for each outcome that is not as expected.

    Args:
        records: of all events that were sent, those that jobs sent included.
        delayed_id: the id of the delayed event.
        canceled_id: the id of the canceled event.
    """
    faults = [fault for record in records for fault in _faults_of(record, canceled_id)]
    by_id = {record.id: record for record in records}
    faults += _timing_faults(by_id.get(delayed_id), by_id.get(canceled_id))
    runs = [run for record in records for run in record.runs]
    faults += [f"{job} has no run at all" for job in JOBS if all(run.job != job for run in runs)]
    sent = {run.output for run in runs if run.job == REPORTING_JOB and run.status == "succeeded"}
    known = {record.id for record in records if record.name == FURTHER_NAME}
    faults += [f"{REPORTING_JOB} has sent no event {event_id}" for event_id in sorted(sent - known)]
    return faults


def _faults_of(record: EventRecord, canceled_id: str) -> Iterable[str]:
    where = f"event {record.id} ({record.name})"
    expected = set() if record.id == canceled_id else expected_jobs(record.name, record.source, record.payload)
    found = [run.job for run in record.runs]
    if not record.is_settled:
        yield f"{where} has not settled: " + (", ".join(f"{r.job} {r.status}" for r in record.runs) or record.status)
    for job in sorted(expected.difference(found)):
        yield f"{where} should have a run of {job}, and has none"
    for job in sorted(set(found) - expected):
        yield f"{where} should have no run of {job}, and has one"
    for run in record.runs:
        yield from _run_faults(run)


def _run_faults(run: RunRecord) -> Iterable[str]:
    attempts = FLAKY_ATTEMPTS if run.job == FLAKY_JOB else 1
    if run.status != "succeeded":
        yield f"run {run.id} is {run.status}" + (f": {run.error.type}: {run.error.message}" if run.error else "")
    elif run.attempt != attempts:
        yield f"run {run.id} succeeded in attempt {run.attempt} and not in {attempts}"


def _timing_faults(delayed: EventRecord | None, canceled: EventRecord | None) -> Iterable[str]:
    if delayed is None or delayed.delivered_at is None or delayed.deliver_at is None:
        yield "the delayed event was not delivered"
    elif delayed.delivered_at < delayed.deliver_at:
        yield f"the delayed event was delivered at {delayed.delivered_at}, before its time {delayed.deliver_at}"
    if canceled is None or canceled.status != "canceled":
        yield f"the canceled event is {canceled.status if canceled else 'not known'}"
