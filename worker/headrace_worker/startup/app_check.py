"""Looks through an app's definition for what can't be meant, without a server. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import msgspec

from headrace.model.values import decode_value
from headrace_worker.app.app import App
from headrace_worker.app.filters import impossible_parts
from headrace_worker.app.job import Job


class Finding(msgspec.Struct, frozen=True):
    """What was found of a job, by its id, in words."""

    job: str
    says: str


class CheckedJob(msgspec.Struct, frozen=True):
    """A job as it is defined."""

    job: str
    names: list[str]
    sources: list[str]
    filter: dict[str, Any] | None
    context_filter: dict[str, Any] | None
    queue: str
    examples: list[str]


class CheckedApp(msgspec.Struct, frozen=True):
    """An app's jobs, by their ids.

    Attributes:
        problems: what can't be meant.
        notes: what may be.
    """

    app: str
    jobs: list[CheckedJob]
    problems: list[Finding]
    notes: list[Finding]


def check_app(app: App) -> CheckedApp:
    """Return what an app is made of, and what is wrong with it."""
    jobs = [app.jobs[job_id] for job_id in sorted(app.jobs)]
    checked = [_described(job, sorted(app.examples[job.id])) for job in jobs]
    return CheckedApp(app.name, checked, [*_impossible(jobs), *_alike(jobs), *_twins(jobs)], list(_untyped(jobs)))


def _described(job: Job, examples: list[str]) -> CheckedJob:
    trigger = job.trigger
    names, sources = list(trigger.names), list(trigger.sources)
    return CheckedJob(job.id, names, sources, trigger.filter, trigger.context_filter, job.queue, examples)


def _impossible(jobs: list[Job]) -> Iterator[Finding]:
    for job in jobs:
        for definition, at in ((job.trigger.filter, "filter"), (job.trigger.context_filter, "context_filter")):
            for path in impossible_parts(definition or {}, at):
                yield Finding(job.id, f"no value passes {path}, so no event ever matches; change its operators")


def _alike(jobs: list[Job]) -> Iterator[Finding]:
    for one, other in combinations(jobs, 2):
        if one.function is other.function and one.trigger == other.trigger:
            says = f"it is the job {other.id!r} again: the same function for the same events, which runs twice for each"
            yield Finding(one.id, says)


def _twins(jobs: list[Job]) -> Iterator[Finding]:
    """Find events with two classes, which no schema can describe."""
    known: dict[str, tuple[Any, Job]] = {}
    for job in jobs:
        for kind in job.trigger.types:
            first, its_job = known.setdefault(kind.__event__, (kind, job))
            if first is not kind:
                classes = f"{kind.__qualname__} here, {first.__qualname__} in job {its_job.id!r}"
                yield Finding(job.id, f"event {kind.__event__!r} has two classes: {classes}; declare it once")


def _untyped(jobs: list[Job]) -> Iterator[Finding]:
    for job in jobs:
        if job.parse is decode_value:
            yield Finding(job.id, "its payload has no type, so nothing checks what it gets; annotate payload")
