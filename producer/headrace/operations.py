"""What a client does, as plans: generators that yield calls and are sent their results. Pure.

Most are one call. Where the keys are known only from data it is *look, then do*: a read, then a script that checks
again what the read found. `Client` and `AsyncClient` both run these plans and differ in nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from headrace import calls
from headrace.calls import Call, IndexEntry, Retention
from headrace.codec import STATUS_LETTER
from headrace.errors import (
    DeadEntryNotFound,
    EventConflict,
    EventNotFound,
    HeadraceError,
    InvalidArgument,
    OutOfMemory,
    RunNotFound,
    RunNotRetryable,
    ServerError,
    UnsupportedServer,
)
from headrace.event import (
    FAILED_STATUSES,
    FINAL_STATUSES,
    DeadEntry,
    DeadPage,
    EventRecord,
    RunPage,
    RunRecord,
    SentEvent,
)
from headrace.ids import split_run_id
from headrace.keys import Keys
from headrace.outgoing import Outgoing
from headrace.seal import Seal

T = TypeVar("T")
Plan = Generator[Sequence[Call[Any]], list[Any], T]

_LOWEST = {"redis": (6, 2), "valkey": (7, 2)}
_PAGE_READS = 20
_ENTRY_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


def check_server() -> Plan[None]:
    """The server is a Redis or Valkey that Headrace runs on, or UnsupportedServer says what it is."""
    (info,) = yield [calls.server_info()]
    is_valkey = "valkey_version" in info
    kind = "valkey" if is_valkey else "redis"
    version = info.get(f"{kind}_version", "")
    try:
        numbers = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        numbers = (0, 0)
    if not version:
        raise UnsupportedServer("the server does not say which version it has; Headrace runs on Redis and Valkey")
    if numbers < _LOWEST[kind]:
        lowest = ".".join(map(str, _LOWEST[kind]))
        raise UnsupportedServer(f"the server is {kind} {version}; Headrace needs {kind} {lowest} or newer")


def send(keys: Keys, events: Sequence[Outgoing], token: str, seal: Seal | None = None) -> Plan[list[SentEvent]]:
    """Every event is with the server, in one round trip; the answers are in the order of the events."""
    if not events:
        return []
    batches = calls.batches(events)
    answers = yield [calls.send(keys, batch, f"{token}{n}", seal) for n, batch in enumerate(batches)]
    results: list[SentEvent | HeadraceError] = []
    for batch, answer in zip(batches, answers, strict=True):
        results += [answer] * len(batch) if isinstance(answer, HeadraceError) else answer
    sent = [result for result in results if isinstance(result, SentEvent)]
    for result in results:
        if isinstance(result, EventConflict):
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


def get_event(keys: Keys, event_id: str, seal: Seal | None = None) -> Plan[EventRecord]:
    """Returns the record of an event, or raises EventNotFound."""
    (record,) = yield [calls.read_record(keys, _text("id", event_id), seal)]
    if record is None:
        raise EventNotFound(event_id)
    found: EventRecord = record
    return found


def get_run(keys: Keys, run: str, seal: Seal | None = None) -> Plan[RunRecord]:
    """Returns the record of a run, or raises RunNotFound."""
    parts = split_run_id(_text("id", run))
    if parts is None:
        raise RunNotFound(run)
    (record,) = yield [calls.read_record(keys, parts[0], seal)]
    for known in record.runs if record else ():
        if known.job == parts[1]:
            found: RunRecord = known
            return found
    raise RunNotFound(run)


def cancel_event(keys: Keys, event_id: str, retention: Retention, seal: Seal | None = None) -> Plan[EventRecord]:
    """A delayed event is canceled; the record says whether it is, or that it was delivered before."""
    answers = yield [calls.cancel(keys, _text("id", event_id), retention), calls.read_record(keys, event_id, seal)]
    if answers[1] is None:
        raise EventNotFound(event_id)
    found: EventRecord = answers[1]
    return found


def watch(keys: Keys, event_id: str, seal: Seal | None = None) -> Plan[EventRecord]:
    """The settling of the event will be published, and this is its record now."""
    _, record = yield [calls.watch(keys, _text("id", event_id)), calls.read_record(keys, event_id, seal)]
    if record is None:
        raise EventNotFound(event_id)
    if isinstance(record, HeadraceError):
        raise record
    found: EventRecord = record
    return found


def list_runs(
    keys: Keys, job: str | None, status: str | None, cursor: str | None, limit: int, *, seal: Seal | None = None
) -> Plan[RunPage]:
    """Returns a page of runs, newest first: by when they settled for a final status, else by when they were sent."""
    if status is not None and status not in STATUS_LETTER:
        raise InvalidArgument("status", f"{status!r} is none of {', '.join(STATUS_LETTER)}")
    _check_limit(limit)
    stream = keys.runs if status in FINAL_STATUSES else keys.recent
    skip = 0
    if cursor is not None:
        cursor, skip = _split_cursor(cursor)
    found: list[RunRecord] = []
    seen: set[str] = set()
    while True:
        (entries,) = yield [calls.read_index(stream, cursor, _PAGE_READS)]
        indexed = [event for entry in entries for event in _events_of(entry, job, status)][skip:]
        for first in range(0, len(indexed), _PAGE_READS):
            chunk = indexed[first : first + _PAGE_READS]
            answers = yield [calls.read_runs(keys, event.id, seal) for event in chunk]
            for event, runs in zip(chunk, answers, strict=True):
                if event.id not in seen:
                    seen.add(event.id)
                    found += [run for run in runs if job in (None, run.job) and status in (None, run.status)]
                if len(found) >= limit:
                    return RunPage(found, event.cursor)
        if len(entries) < _PAGE_READS:
            return RunPage(found, None)
        cursor, skip = entries[-1].id, 0


class _Indexed(msgspec.Struct, frozen=True):
    """An event that a listing names, and the cursor that goes on behind it."""

    id: str
    cursor: str


def _events_of(entry: IndexEntry, job: str | None, status: str | None) -> list[_Indexed]:
    if status in FINAL_STATUSES:  # the index names runs, with the letters of their states
        runs = [split_run_id(run) for run, letter in entry.pairs if letter == STATUS_LETTER[status or ""]]
        ids = [parts[0] for parts in runs if parts and job in (None, parts[1])]
    else:
        ids = [event_id for event_id, _ in entry.pairs]
    return [_Indexed(event_id, f"{_next_id(entry.id)}~{place}") for place, event_id in enumerate(dict.fromkeys(ids), 1)]


def _check_limit(limit: object) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1000:
        raise InvalidArgument("limit", f"must be 1 to 1000, not {limit!r}")


def _next_id(entry_id: str) -> str:
    """The smallest entry id behind this one, so that a read of what is before it begins with this one."""
    millis, _, number = entry_id.partition("-")
    return f"{millis}-{int(number) + 1}"


def _split_cursor(cursor: str) -> tuple[str, int]:
    entry_id, _, skip = cursor.partition("~")
    if not skip.isdecimal():
        raise InvalidArgument("cursor", f"{cursor!r} is none that a listing has returned")
    return _check_cursor(entry_id), int(skip)


def _check_cursor(cursor: str) -> str:
    if not _is_entry_id(cursor):
        raise InvalidArgument("cursor", f"{cursor!r} is none that a listing has returned")
    return cursor


def _is_entry_id(text: str) -> bool:
    return bool(_ENTRY_ID.fullmatch(text)) and all(int(part) < 2**64 for part in text.split("-"))


def list_dead(keys: Keys, cursor: str | None, limit: int, seal: Seal | None = None) -> Plan[DeadPage]:
    """Returns a page of dead letters, newest first."""
    _check_limit(limit)
    if cursor is not None:
        _check_cursor(cursor)
    (entries,) = yield [calls.read_dead(keys, cursor, limit, seal)]
    return DeadPage(entries, entries[-1].id if len(entries) == limit else None)


def get_dead(keys: Keys, entry_id: str, seal: Seal | None = None) -> Plan[DeadEntry]:
    """Returns one dead letter, or raises DeadEntryNotFound."""
    if not _is_entry_id(_text("id", entry_id)):
        raise DeadEntryNotFound(entry_id)
    (entries,) = yield [calls.read_dead_entry(keys, entry_id, seal)]
    if not entries:
        raise DeadEntryNotFound(entry_id)
    found: DeadEntry = entries[0]
    return found


def retry_run(keys: Keys, run: str, seal: Seal | None = None) -> Plan[RunRecord]:
    """A run that ended without success is queued again from its first attempt, and its dead letter is gone."""
    known = yield from get_run(keys, run, seal)
    if known.status not in FAILED_STATUSES:
        raise RunNotRetryable(run, known.status, "only a run that ended without success can be")
    ((answer, _),) = yield [calls.rerun(keys, known.event_id, known.job, known.queue)]
    if answer == "missing":
        raise RunNotFound(run)
    if answer == "gone":
        raise RunNotRetryable(run, known.status, "the event's payload is not kept any more (retention)")
    # A refusal says that it was queued since we looked: by our own call whose reply was lost, or by someone else.
    return (yield from get_run(keys, run, seal))


def seconds(timeout: float | timedelta) -> float:
    """Returns how long to wait, in seconds; raises InvalidArgument."""
    given: object = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0:  # as NaN is not
        raise InvalidArgument("timeout", f"must be seconds >= 0 or a timedelta, not {timeout!r}")
    return float(given)


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidArgument(field, f"must be a string that is not empty, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidArgument(field, f"has a lone surrogate, which UTF-8 can't carry: {exc}") from exc
    return value
