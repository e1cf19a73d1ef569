"""Disables and enables jobs: whether new events make runs of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from headrace import InvalidArgument
from headrace.formats.outgoing import MAX_TEXT
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace_worker.inspect.jobs import UnknownJob, find_job, split_job
from headrace_worker.inspect.stored_routes import raise_errors
from headrace_worker.protocol.switching import Disabled, disable, enable

_LAST = datetime.max.replace(tzinfo=UTC)


class SwitchedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is once it was disabled or enabled.

    Attributes:
        job: `<app>/<job id>`.
        is_disabled: new events make no runs of it.
        changed: it was not so before, in some partition at least.
        since: since when it is, or was, disabled; None if it never was.
        reason: that was given.
    """

    job: str
    is_disabled: bool
    changed: bool
    since: datetime | None
    reason: str | None


def disable_job(partitions: Partitions, job: str, reason: str | None) -> Plan[SwitchedJob]:
    """Let no event that is dispatched from now on make a run of a job, in each partition. To be run with `partial`.

    Raises:
        UnknownJob: it is not registered.
    """
    app, job_id = split_job(job)
    said = _checked(reason)
    yield from find_job(partitions, job)
    answers = yield [disable(keys, app, job_id, said) for keys in partitions.all]
    raise_errors(answers)
    known = [each.disabled for each in answers if each.disabled is not None]
    if not known:
        raise UnknownJob(job, partitions.namespace, ())
    return _switched(job, known, is_disabled=True, changed=any(each.is_new for each in answers))


def enable_job(partitions: Partitions, job: str) -> Plan[SwitchedJob]:
    """Let events make runs of a job again, in each partition. To be run with `partial`.

    Raises:
        UnknownJob: it is not registered.
    """
    app, job_id = split_job(job)
    answers = yield [enable(keys, app, job_id) for keys in partitions.all]
    raise_errors(answers)
    known = [each for each in answers if each is not None]
    if not known:
        yield from find_job(partitions, job)
    return _switched(job, known, is_disabled=False, changed=bool(known))


def _checked(reason: str | None) -> str:
    if reason is not None and not 1 <= len(reason) <= MAX_TEXT:
        raise InvalidArgument("reason", f"must have 1 to {MAX_TEXT} characters, not {len(reason)}")
    return reason or ""


def _switched(job: str, known: Sequence[Disabled], *, is_disabled: bool, changed: bool) -> SwitchedJob:
    """Return what the partitions know together: disabled since the first of them was."""
    first = min(known, key=lambda each: each.since or _LAST, default=Disabled(None, None))
    return SwitchedJob(job=job, is_disabled=is_disabled, changed=changed, since=first.since, reason=first.reason)
