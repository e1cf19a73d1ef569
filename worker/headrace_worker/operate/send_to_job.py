"""Sends an event to one job, whatever its trigger. Pure.

The event has a format of its own (`codec.ONE_JOB_FORMAT`): dispatchers of releases that know no such events refuse it,
where they would give it to every job that its name matches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace import Event, HeadraceError, SentEvent
from headrace.formats.partitions import Partitions
from headrace.model.typed import event_name_of
from headrace.plans.plan import Plan
from headrace.plans.prepare import SendOptions
from headrace_worker.inspect.jobs import RegisteredJob, find_job

PlanToSend = Callable[[Event, SendOptions, str], Plan[list[SentEvent]]]
"""Returns the plan by which a client sends one event to one job, `<app>/<job id>`."""


class JobDisabled(HeadraceError):
    """The job is disabled, so an event that is sent to it would make no run; nothing was sent."""

    def __init__(self, job: RegisteredJob) -> None:
        self.job = job.job
        why = job.disabled.reason if job.disabled else None
        super().__init__(
            f"job {job.job!r} is disabled{f' ({why})' if why else ''}, so nothing was sent; "
            f"headrace jobs enable {job.job} enables it"
        )


class Asked(msgspec.Struct, frozen=True):
    """What an event has beside its payload; None for what the job's trigger says, or the client makes."""

    name: str | None = None
    context: Any = None
    event_id: str | None = None


def trigger_job(
    partitions: Partitions, job: str, payload: Any, asked: Asked, plan_to_send: PlanToSend
) -> Plan[SentEvent]:
    """Make an event of a payload, with a name and a source of the job's trigger, and send it to the job alone.

    Raises:
        UnknownJob: it is not registered.
        JobDisabled: it gets no runs.
    """
    found = yield from find_enabled(partitions, job)
    name = asked.name or event_name_of(type(payload)) or found.names[0]
    source = found.sources[0] if found.sources else None
    event = Event(name, payload, asked.context, id=asked.event_id, source=source)
    (sent,) = yield from plan_to_send(event, SendOptions(), job)
    return sent


def find_enabled(partitions: Partitions, job: str) -> Plan[RegisteredJob]:
    """Return a job that may get events. To be run with `partial`.

    Raises:
        UnknownJob: it is not registered.
        JobDisabled: it gets no runs.
    """
    found = yield from find_job(partitions, job)
    if found.disabled is not None:
        raise JobDisabled(found)
    return found
