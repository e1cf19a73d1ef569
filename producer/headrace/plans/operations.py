"""What a client does, as plans: generators that yield calls and are sent their results. Pure.

Most are one call. Where the keys are known only from data it is *look, then do*: a read, then a script that checks
again what the read found. `Client` and `AsyncClient` both run these plans and differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast

import msgspec

from headrace.calls import canceling, records, rerunning, sending
from headrace.calls.call import Call
from headrace.calls.listing import read_dead_entry
from headrace.calls.records import FoundRun
from headrace.errors import (
    DamagedRecord,
    DeadEntryNotFound,
    EventConflict,
    EventNotFound,
    HeadraceError,
    InvalidArgument,
    OutOfMemory,
    RunNotFound,
    RunNotRetryable,
    ServerError,
)
from headrace.formats.codec import to_micros
from headrace.formats.keys import Keys
from headrace.formats.outgoing import Outgoing, Replicas
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import FAILED_STATUSES, DeadEntry, EventRecord, RunRecord, RunStatus, SentEvent
from headrace.model.ids import split_run_id
from headrace.model.moments import seconds_of
from headrace.model.retention import Retention
from headrace.plans.listing import Plan, list_dead, list_runs, named, read_place

__all__ = [
    "Plan",
    "cancel_event",
    "find",
    "get_dead",
    "get_event",
    "get_run",
    "list_dead",
    "list_runs",
    "retry_run",
    "seconds",
    "send",
    "watch",
]

T = TypeVar("T")


def send(
    partitions: Partitions,
    events: Sequence[Outgoing],
    token: str,
    seal: Seal | None = None,
    replicas: Replicas | None = None,
) -> Plan[list[SentEvent]]:
    """Every event is with the server, in one round trip; the answers are in the order of the events."""
    if not events:
        return []
    if len(partitions) == 1:
        results = yield from _send_to(partitions.first, events, token, seal, replicas)
    else:
        results = yield from _send_to_each(partitions, events, token, seal, replicas)
    sent = [result for result in results if isinstance(result, SentEvent)]
    for result in results:
        if isinstance(result, EventConflict | DamagedRecord):
            result.sent = sent
            raise result
        if isinstance(result, OutOfMemory) and sent:
            raise OutOfMemory(
                f"the server reached its maxmemory after {len(sent)} of {len(results)} events; "
                "`sent` of this error holds those; send the others again once it has drained",
                sent,
            ) from result
        if isinstance(result, ServerError):
            result.sent = sent
            raise result
    return sent


def _send_to(
    keys: Keys, events: Sequence[Outgoing], token: str, seal: Seal | None, replicas: Replicas | None
) -> Plan[list[SentEvent | HeadraceError]]:
    """What became of each event; behind them the error of the look at the replicas, if it has one."""
    batches = sending.batches(events)
    asked: list[Call[Any]] = [sending.send(keys, batch, f"{token}{n}", seal) for n, batch in enumerate(batches)]
    if replicas is None:
        return _results_of(batches, (yield asked))
    *answers, count = yield [*asked, sending.wait_replicas(replicas)]
    results = _results_of(batches, answers)
    if isinstance(count, HeadraceError):
        return [*results, count]
    return [_with_replicas(result, count) for result in results]


def _results_of(batches: Sequence[Sequence[Outgoing]], answers: Sequence[Any]) -> list[SentEvent | HeadraceError]:
    results: list[SentEvent | HeadraceError] = []
    for batch, answer in zip(batches, answers, strict=True):
        results += [answer] * len(batch) if isinstance(answer, HeadraceError) else answer
    return results


def _with_replicas(result: SentEvent | HeadraceError, count: int) -> SentEvent | HeadraceError:
    return msgspec.structs.replace(result, replicas=count) if isinstance(result, SentEvent) else result


def _send_to_each(
    partitions: Partitions, events: Sequence[Outgoing], token: str, seal: Seal | None, replicas: Replicas | None
) -> Plan[list[SentEvent | HeadraceError]]:
    """What a call sends to one partition are its events there, in their order; all go in one round trip."""
    places: dict[Keys, list[int]] = {}
    for place, event in enumerate(events):
        places.setdefault(partitions.of(event.ordering_key or event.event_id), []).append(place)
    if replicas is not None:  # where one server has them all, it waits for one after the other
        replicas = Replicas(replicas.count, max(replicas.timeout_ms // len(places), 1))
    plans = [
        _send_to(keys, [events[place] for place in those], f"{token}{keys.partition}-", seal, replicas)
        for keys, those in places.items()
    ]
    asked = [next(plan) for plan in plans]
    answers = yield [call for each in asked for call in each]
    placed: list[tuple[int, SentEvent | HeadraceError]] = []
    for plan, each, those in zip(plans, asked, places.values(), strict=True):
        own, answers = answers[: len(each)], answers[len(each) :]
        try:
            plan.send(own)
        except StopIteration as done:
            placed += zip([*those, len(events)], done.value, strict=False)  # an error may be behind them
    return [result for _, result in sorted(placed, key=lambda pair: pair[0])]


def find(partitions: Partitions, event_id: str) -> Plan[Keys]:
    """Returns the keys of the partition that knows an event: its id's or, where it had an ordering key, another.

    Those of its id's if none does. With one partition nothing is asked.
    """
    home = partitions.of(_text("id", event_id))
    if len(partitions) == 1:
        return home
    (is_home,) = yield [records.is_known(home, event_id)]
    if is_home:
        return home
    others = partitions.but(home)
    known = yield [records.is_known(keys, event_id) for keys in others]
    return next((keys for keys, is_there in zip(others, known, strict=True) if is_there), home)


def get_event(partitions: Partitions, event_id: str, seal: Seal | None = None) -> Plan[EventRecord]:
    """Returns the record of an event, or raises EventNotFound."""
    found = yield from _read_record(partitions, event_id, seal)
    if found is None:
        raise EventNotFound(event_id)
    return found


def _read_record(partitions: Partitions, event_id: str, seal: Seal | None) -> Plan[EventRecord | None]:
    _, found = yield from _look_for(partitions, event_id, lambda keys: records.read_record(keys, event_id, seal))
    return found


def _look_for(
    partitions: Partitions, event_id: str, read: Callable[[Keys], Call[T | None]]
) -> Plan[tuple[Keys, T | None]]:
    """Returns what is read of an event, and the partition that has it: its id's or, with an ordering key, another."""
    home = partitions.of(_text("id", event_id))
    found: T | None
    (answer,) = yield [read(home)]
    found = _readable(home, event_id, answer)
    if found is None and len(partitions) > 1:
        others = partitions.but(home)
        answers = yield [read(keys) for keys in others]
        for keys, each in zip(others, answers, strict=True):
            found = _readable(keys, event_id, each)
            if found is not None:
                return keys, found
    return home, found


def _readable(keys: Keys, event_id: str, answer: Any) -> Any:
    """Returns the answer, or raises it if it is an error; of a record that is no hash it is said where that is."""
    if type(answer) is ServerError:
        raise DamagedRecord(event_id, keys.event(event_id), str(answer)) from answer
    if isinstance(answer, HeadraceError):
        raise answer
    return answer


def get_run(partitions: Partitions, run: str, seal: Seal | None = None) -> Plan[RunRecord]:
    """Returns the record of a run, or raises RunNotFound."""
    _, found = yield from _find_run(partitions, run, seal)
    return found.run


def _find_run(partitions: Partitions, run: str, seal: Seal | None) -> Plan[tuple[Keys, FoundRun]]:
    parts = split_run_id(_text("id", run))
    if parts is None:
        raise RunNotFound(run)
    event_id, job = parts
    keys, found = yield from _look_for(partitions, event_id, lambda keys: records.read_run(keys, event_id, job, seal))
    if found is None:
        raise RunNotFound(run)
    return keys, found


def cancel_event(
    partitions: Partitions, event_id: str, retention: Retention, seal: Seal | None = None
) -> Plan[EventRecord]:
    """A delayed event is canceled; the record says whether it is, or that it was delivered before."""
    keys = yield from find(partitions, event_id)
    before: EventRecord | None
    after: EventRecord | None
    look = records.read_record(keys, event_id, seal)
    answers = yield [look, canceling.cancel(keys, event_id, retention), look]
    before, canceled_at, after = (_readable(keys, event_id, answer) for answer in answers)
    if after is not None:
        return after
    if before is None or canceled_at is None:
        raise EventNotFound(event_id)
    # Nothing is kept of it (retention), so only we can still say what it was.
    return msgspec.structs.replace(before, status="canceled", canceled_at=canceled_at, is_dispatched=True)


def watch(keys: Keys, event_id: str, seal: Seal | None = None) -> Plan[EventRecord]:
    """The settling of the event will be published, and this is its record now."""
    _, record = yield [records.watch(keys, _text("id", event_id)), records.read_record(keys, event_id, seal)]
    if record is None:
        raise EventNotFound(event_id)
    found: EventRecord = _readable(keys, event_id, record)
    return found


def get_dead(partitions: Partitions, entry_id: str, seal: Seal | None = None) -> Plan[DeadEntry]:
    """Returns one dead letter, or raises DeadEntryNotFound."""
    place = read_place(_text("id", entry_id), partitions)
    if place is None:
        raise DeadEntryNotFound(entry_id)
    (entries,) = yield [read_dead_entry(partitions.all[place.partition], place.entry, seal)]
    if not entries:
        raise DeadEntryNotFound(entry_id)
    return named(place, entries[0])


def retry_run(partitions: Partitions, run: str, seal: Seal | None = None) -> Plan[RunRecord]:
    """A run that ended without success, or whose entry was deleted, is queued again from its first attempt."""
    keys, found = yield from _find_run(partitions, run, seal)
    known = found.run
    is_open = known.status in ("queued", "executing")
    if not is_open and known.status not in FAILED_STATUSES:
        raise RunNotRetryable(run, known.status, "only a run that ended without success can be")
    ended_ms = to_micros(known.finished_at) // 1000 if known.finished_at else 0
    again = rerunning.rerun(keys, known.event_id, known.job, known.queue, found.ordering_key, ended_ms)
    answers = yield [again, records.read_run(keys, known.event_id, known.job, seal)]
    (answer, _), following = (_readable(keys, known.event_id, each) for each in answers)
    if answer == "missing":
        raise RunNotFound(run)
    if answer == "gone":
        raise RunNotRetryable(run, known.status, "the event's payload is not kept any more (retention)")
    if is_open and answer == "refused":
        raise RunNotRetryable(
            run, known.status, "only a run that ended without success, or whose entry is gone, can be"
        )
    # A refusal says that it was queued since we looked: by our own call whose reply was lost, or by someone else.
    if following is not None:
        return cast("FoundRun", following).run
    return _queued_again(known, "waiting" if answer == "waits" else "queued")


def _queued_again(run: RunRecord, status: RunStatus) -> RunRecord:
    """Returns what the record said of a run that was queued again and of which nothing is kept any more (retention)."""
    return RunRecord(id=run.id, event_id=run.event_id, job=run.job, status=status, attempt=1, queue=run.queue)


def seconds(timeout: float | timedelta) -> float:
    """Returns how long to wait, in seconds; raises InvalidArgument."""
    given = seconds_of(timeout)
    if given is None or not given >= 0:  # as NaN is not
        raise InvalidArgument("timeout", f"must be seconds >= 0 or a timedelta, not {timeout!r}")
    return given


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidArgument(field, f"must be a string that is not empty, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidArgument(field, f"has a lone surrogate, which UTF-8 can't carry: {exc}") from exc
    return value
