"""Says of each job whether it gets an event and, if not, which condition of its trigger fails first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headrace import ContentsGone, EventRecord, QueueControls, Sealed
from headrace.formats.codec import StoredEvent, decode_event
from headrace.formats.outgoing import Outgoing
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import EventStatus, RunStatus
from headrace.model.page import DamagedEntry
from headrace.model.values import decode_value
from headrace.plans import read
from headrace.plans.plan import Plan
from headrace_worker.app.filters import MISSING, explain
from headrace_worker.app.routes import Candidate, StoredTrigger
from headrace_worker.inspect.jobs import near_names
from headrace_worker.inspect.stored_routes import Stored, StoredRoutes, read_stored
from headrace_worker.protocol.switching import Disabled

Condition = Literal["job", "name", "source", "filter", "context_filter"]
Verdict = Literal["matches", "fails", "disabled", "unknown"]


class Failure(msgspec.Struct, frozen=True):
    """The first condition of a trigger that an event does not meet.

    Attributes:
        condition: `job`: the event is for another job alone.
        path: of the value at fault, as in `payload.user.plan`; for the others the field of the event.
        wanted: what passes there.
        found: the value there.
        is_missing: there is none.
    """

    condition: Condition
    path: str
    wanted: str
    found: Any = None
    is_missing: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one job gets an event.

    Attributes:
        job: `<app>/<job id>`.
        verdict: `matches`; `fails`; `disabled`: it would match; `unknown`: its filters can't be tried on an event that
            can't be opened here. Dispatchers that can't open it ignore them, and the worker tries them.
        failure: why it fails.
        disabled: since when and why the job is disabled, whether it would match or not.
        has_worker: a live worker has the job.
        run: the state of the run that it has of this event; None if it has none.
        controls: whether its queue is paused, since when and why, and the queue's limit.
    """

    job: str
    verdict: Verdict
    failure: Failure | None
    disabled: Disabled | None
    has_worker: bool
    run: RunStatus | None
    controls: QueueControls


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes of now make of an event, whatever has become of it.

    Attributes:
        event: its id; None if it is not sent.
        status: where it is in its life; None if it is not sent.
        to_job: the one job that gets it, whatever its trigger; None for every job that it matches.
        sealed: why its contents can't be opened here; None if they can.
        answers: one for each job of every app.
        near_names: names that jobs subscribe to and that are like this one, to which none does.
        earlier: jobs that subscribed to its name in an earlier release of their app, and do not any more; of an event
            that is for one job, this one.
        damaged: routes that can't be read, by the app's name.
    """

    event: str | None
    name: str
    source: str
    status: EventStatus | None
    to_job: str | None
    sealed: str | None
    answers: list[Answer]
    near_names: list[str]
    earlier: list[str]
    damaged: list[DamagedEntry]


class _Facts(msgspec.Struct, frozen=True):
    """What triggers go by."""

    name: str
    source: str
    payload: Any
    context: Any
    to_job: str | None = None

    @property
    def sealed(self) -> str | None:
        return next((each.reason for each in (self.payload, self.context) if isinstance(each, Sealed)), None)


def explain_event(partitions: Partitions, event_id: str, seal: Seal | None) -> Plan[Explanation]:
    """Return which jobs get an event that was sent. To be run with `partial`.

    Raises:
        EventNotFound: no such event is known.
        ContentsGone: they are not kept any more.
    """
    keys = yield from read.find_partition(partitions, event_id)
    record = yield from read.get_event(partitions, event_id, seal)
    if not record.name:
        raise ContentsGone(event_id)
    stored = yield from read_stored([keys])
    facts = _Facts(record.name, record.source, record.payload, record.context, record.to_job)
    return _explanation(facts, stored, record)


def explain_send(partitions: Partitions, event: Outgoing) -> Plan[Explanation]:
    """Return which jobs would get an event, which must not be sealed; send nothing. To be run with `partial`."""
    stored = yield from read_stored([partitions.of(event.terms.ordering_key or event.event_id)])
    return _explanation(_facts_of(decode_event(event.body)), stored, None)


def _facts_of(event: StoredEvent) -> _Facts:
    return _Facts(event.n, event.s, decode_value(event.p), decode_value(event.c), event.j)


def _explanation(facts: _Facts, stored: Stored, record: EventRecord | None) -> Explanation:
    runs = {} if record is None else {run.job: run.status for run in record.runs}
    answers = [
        _answer(
            facts, each, candidate, runs.get(candidate.route.job), stored.controls_of(each.app, candidate.route.queue)
        )
        for each in stored.routes
        for _, candidate in sorted(each.effective.jobs.items())
    ]
    names = {name for each in stored.routes for job in each.effective.jobs.values() for name in job.trigger.names}
    return Explanation(
        event=None if record is None else record.id,
        name=facts.name,
        source=facts.source,
        status=None if record is None else record.status,
        to_job=facts.to_job,
        sealed=facts.sealed,
        answers=answers,
        near_names=[] if facts.name in names or facts.to_job else near_names(facts.name, sorted(names)),
        earlier=_earlier(facts, stored.routes),
        damaged=stored.damaged,
    )


def _earlier(facts: _Facts, routes: Sequence[StoredRoutes]) -> list[str]:
    before = {old.route.job for each in routes for old in each.earlier() if _asks_for(facts, old)}
    now = {job.route.job for each in routes for job in each.effective.jobs.values() if _asks_for(facts, job)}
    return sorted(before - now)


def _asks_for(facts: _Facts, candidate: Candidate) -> bool:
    if facts.to_job is not None:
        return candidate.route.job == facts.to_job
    return facts.name in candidate.trigger.names


def _answer(
    facts: _Facts, routes: StoredRoutes, candidate: Candidate, run: RunStatus | None, controls: QueueControls
) -> Answer:
    disabled = routes.disabled().get(candidate.job_id)
    failure = _failure(facts, candidate)
    if failure is not None:
        verdict: Verdict = "fails"
    elif disabled is not None:
        verdict = "disabled"
    else:
        verdict = "unknown" if _needs_opening(facts, candidate.trigger) else "matches"
    has_worker = bool(routes.workers(*routes.effective.having[candidate.job_id]))
    return Answer(
        job=candidate.route.job, verdict=verdict, failure=failure, disabled=disabled, has_worker=has_worker, run=run,
        controls=controls,
    )  # fmt: skip


def _needs_opening(facts: _Facts, trigger: StoredTrigger) -> bool:
    return facts.sealed is not None and facts.to_job is None and bool(trigger.filter or trigger.context_filter)


def _failure(facts: _Facts, candidate: Candidate) -> Failure | None:
    """Return the first condition that fails, in the order in which a dispatcher tries them."""
    trigger = candidate.trigger
    if facts.to_job is not None:
        is_it = facts.to_job == candidate.route.job
        return None if is_it else Failure("job", "job", facts.to_job, candidate.route.job)
    if facts.name not in trigger.names:
        return Failure("name", "name", _one_of(trigger.names), facts.name)
    if trigger.sources and facts.source not in trigger.sources:
        return Failure("source", "source", _one_of(trigger.sources), facts.source)
    if _needs_opening(facts, trigger):
        return None
    parts: Sequence[tuple[Condition, Any, str, Any]] = (
        ("filter", trigger.filter, "payload", facts.payload),
        ("context_filter", trigger.context_filter, "context", facts.context),
    )
    for condition, definition, at, value in parts:
        if definition and (mismatch := explain(definition, value, at=at)):
            path, found, wanted = mismatch
            if found is MISSING:
                return Failure(condition, path, wanted, is_missing=True)
            return Failure(condition, path, wanted, found)
    return None


def _one_of(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"
