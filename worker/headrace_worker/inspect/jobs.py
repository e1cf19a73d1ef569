"""The jobs of all apps: what they subscribe to, who has them, whether they are disabled, what waits for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from difflib import SequenceMatcher, get_close_matches
from typing import Any

import msgspec

from headrace import HeadraceError, InvalidArgument, QueueControls
from headrace.calls.call import as_text
from headrace.formats.keys import is_name
from headrace.formats.partitions import Partitions
from headrace.model.page import Page, whole
from headrace.plans.plan import Plan
from headrace_worker.app.routes import Candidate, Why
from headrace_worker.inspect.queues import DeclaredLimit, declared_by, serving
from headrace_worker.inspect.stored_routes import Stored, StoredRoutes, read_stored
from headrace_worker.inspect.tallies import Counts, read_stats
from headrace_worker.inspect.workers import read_workers
from headrace_worker.protocol.inspecting import count_canceled, waiting_runs
from headrace_worker.protocol.measuring import count_entries, count_pending
from headrace_worker.protocol.reading import queue_stream
from headrace_worker.protocol.switching import Disabled

_LAST_HOUR = timedelta(hours=1)
_NEAR = 0.7
"""So much of two names is the same where one may be meant by the other: 1 is all of it."""


class UnknownJob(HeadraceError):
    """No app has subscriptions with this job; the message names jobs that may be meant.

    `was_registered` says that an earlier release of its app had it, as far as its subscriptions are still stored.
    """

    def __init__(self, job: str, namespace: str, jobs: Iterable[str], *, was_registered: bool = False) -> None:
        self.job = job
        self.near = near_names(job, jobs)
        self.was_registered = was_registered
        hint = f"did you mean {' or '.join(self.near)}?" if self.near else "headrace jobs list names those that are"
        if was_registered:
            hint = "an earlier release of its app had it: headrace app routes shows which"
        super().__init__(f"no job {job!r} is registered in namespace {namespace!r}; {hint}")


class JobVersion(msgspec.Struct, frozen=True):
    """One of the subscriptions of an app that have the job.

    Attributes:
        fingerprint: its short name.
        workers: live workers that have it.
    """

    fingerprint: str
    workers: list[str]


class RegisteredJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is registered of a job, over all partitions.

    Attributes:
        job: `<app>/<job id>`.
        why: why its subscription counts: `live` workers have it, or none lives, and it was `registered`, workers that
            died (`dead`) or left (`last`) had it.
        names: of the events that it subscribes to.
        sources: of these events; empty for any.
        versions: the subscriptions of its app that count and have the job, newest first; the newest one is shown here.
        workers: live workers that have it, whatever the version.
        disabled: since when and why it gets no runs of new events; None if it does.
        controls: whether its queue is paused, since when and why, and the queue's limit.
        waiting: runs in its queue that no worker has, of other jobs too; None if they can't be counted.
        in_flight: runs in its queue that workers have.
    """

    job: str
    why: Why
    names: list[str]
    sources: list[str]
    filter: dict[str, Any] | None
    context_filter: dict[str, Any] | None
    queue: str
    versions: list[JobVersion]
    workers: list[str]
    disabled: Disabled | None
    controls: QueueControls
    waiting: int | None = None
    in_flight: int | None = None


class JobDetail(RegisteredJob, frozen=True, kw_only=True):
    """A job, with what is known of its queue and of its last hour.

    Attributes:
        fetched_by: live workers that fetch from its queue: one may have the job, and serve other queues.
        declared_limit: that of its queue by their code; None for any number of runs in flight.
        last_hour: what became of its attempts, about.
    """

    fetched_by: list[str]
    declared_limit: DeclaredLimit
    last_hour: Counts


def list_jobs(partitions: Partitions) -> Plan[Page[RegisteredJob]]:
    """Return all jobs of all apps, by name, with what is in their queues, and which routes can't be read.

    To be run with `partial`.
    """
    stored = yield from read_stored(partitions.all)
    counted = yield from _count(partitions, _merged(stored))
    return whole(counted, stored.damaged)


def get_job(partitions: Partitions, job: str) -> Plan[JobDetail]:
    """Return one job, with what is in its queue, and what became of it. To be run with `partial`.

    Raises:
        UnknownJob: it is not registered.
    """
    found = yield from find_job(partitions, job)
    (counted,) = yield from _count(partitions, [found])
    known = yield from read_workers(partitions)
    stats = yield from read_stats(partitions, _LAST_HOUR)
    queue = f"{split_job(job)[0]}/{found.queue}"
    workers = serving(known, queue)
    return JobDetail(
        **msgspec.structs.asdict(counted),
        fetched_by=[each.name for each in workers],
        declared_limit=declared_by(workers, queue),
        last_hour=next((each.counts for each in stats.jobs if each.job == job), Counts()),
    )


def find_job(partitions: Partitions, job: str) -> Plan[RegisteredJob]:
    """Return one job as it is registered. To be run with `partial`.

    Raises:
        UnknownJob: it is not registered.
    """
    split_job(job)
    stored = yield from read_stored(partitions.all)
    jobs = {each.job: each for each in _merged(stored)}
    if job not in jobs:
        was_registered = any(old.route.job == job for each in stored.routes for old in each.earlier())
        raise UnknownJob(job, partitions.namespace, jobs, was_registered=was_registered)
    return jobs[job]


def split_job(job: object) -> tuple[str, str]:
    """Return the app and the id of a job, `<app>/<job id>`, or raise InvalidArgument."""
    app, _, job_id = job.partition("/") if isinstance(job, str) else ("", "", "")
    if not (is_name(app) and is_name(job_id)):
        raise InvalidArgument("job", f"{job!r} does not name an app and its job, as in billing/welcome")
    return app, job_id


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that are most like one that is not among them, at most three.

    Where both name an app and something of it, each part has to be like its own: a name is not near for its app alone.
    """
    return get_close_matches(name, [each for each in names if _is_near(name, each)], n=3, cutoff=_NEAR)


def _is_near(name: str, other: str) -> bool:
    parts = zip(name.split("/"), other.split("/"), strict=False)
    return all(SequenceMatcher(None, *pair).ratio() >= _NEAR for pair in parts)


def _merged(stored: Stored) -> list[RegisteredJob]:
    """Return each job once, with what its partitions know of it together."""
    jobs: dict[str, RegisteredJob] = {}
    for each in stored.routes:
        disabled = each.disabled()
        for job_id, candidate in each.effective.jobs.items():
            controls = stored.controls_of(each.app, candidate.route.queue)
            found = _job(each, candidate, each.effective.having[job_id], disabled.get(job_id), controls)
            known = jobs.get(found.job)
            jobs[found.job] = found if known is None else _merge(known, found)
    return [jobs[name] for name in sorted(jobs)]


def _job(
    routes: StoredRoutes,
    candidate: Candidate,
    prints: Sequence[bytes],
    disabled: Disabled | None,
    controls: QueueControls,
) -> RegisteredJob:
    trigger = candidate.trigger
    return RegisteredJob(
        job=candidate.route.job,
        why=routes.effective.why or "last",
        names=list(trigger.names),
        sources=list(trigger.sources),
        filter=trigger.filter,
        context_filter=trigger.context_filter,
        queue=candidate.route.queue,
        versions=[JobVersion(as_text(each), routes.workers(each)) for each in prints],
        workers=routes.workers(*prints),
        disabled=disabled,
        controls=controls,
    )


def _merge(known: RegisteredJob, other: RegisteredJob) -> RegisteredJob:
    """Return a job as it is known, with the workers of another partition, and disabled if it is so in one of them."""
    workers = {each.fingerprint: each.workers for each in known.versions}
    for each in other.versions:
        workers[each.fingerprint] = sorted({*workers.get(each.fingerprint, ()), *each.workers})
    return msgspec.structs.replace(
        known,
        versions=[JobVersion(*pair) for pair in workers.items()],
        workers=sorted({*known.workers, *other.workers}),
        disabled=known.disabled or other.disabled,
    )


def _count(partitions: Partitions, jobs: Sequence[RegisteredJob]) -> Plan[list[RegisteredJob]]:
    """Return the jobs with what is in their queues, in all partitions."""
    queues = list(dict.fromkeys((split_job(job.job)[0], job.queue) for job in jobs))
    streams = [queue_stream(keys, *queue) for queue in queues for keys in partitions.all]
    if not streams:
        return list(jobs)
    counts = yield [
        call
        for stream in streams
        for call in (count_entries(stream.key), count_pending(stream), count_canceled(stream))
    ]
    size = 3 * len(partitions)
    sums = {queue: _sum(counts[at * size : (at + 1) * size]) for at, queue in enumerate(queues)}
    return [_counted(job, sums[split_job(job.job)[0], job.queue]) for job in jobs]


def _sum(counts: Sequence[Any]) -> tuple[int, int] | None:
    """Return how many runs wait in a queue and how many workers have; None if a partition can't say."""
    if any(isinstance(each, HeadraceError) for each in counts):
        return None
    entries, pending, canceled = (sum(counts[at::3]) for at in range(3))
    return waiting_runs(entries, pending, canceled), pending


def _counted(job: RegisteredJob, counts: tuple[int, int] | None) -> RegisteredJob:
    waiting, in_flight = counts or (None, None)
    return msgspec.structs.replace(job, waiting=waiting, in_flight=in_flight)
