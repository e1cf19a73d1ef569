"""Reads the record of an event or of a run, whichever partition has it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from headrace.calls import records
from headrace.calls.call import Call
from headrace.calls.records import FoundRun
from headrace.errors import DamagedRecord, EventNotFound, HeadraceError, InvalidArgument, RunNotFound, ServerError
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import EventRecord, RunRecord
from headrace.model.ids import split_run_id
from headrace.plans.plan import Plan

T = TypeVar("T")


def get_event(partitions: Partitions, event_id: str, seal: Seal | None = None) -> Plan[EventRecord]:
    """Return the record of an event, or raise EventNotFound."""
    _, found = yield from _look_for(partitions, event_id, lambda keys: records.read_record(keys, event_id, seal))
    if found is None:
        raise EventNotFound(event_id)
    return found


def get_run(partitions: Partitions, run: str, seal: Seal | None = None) -> Plan[RunRecord]:
    """Return the record of a run, or raise RunNotFound."""
    _, found = yield from find_run(partitions, run, seal)
    return found.run


def find_run(partitions: Partitions, run: str, seal: Seal | None) -> Plan[tuple[Keys, FoundRun]]:
    """Return the record of a run with its ordering key, and the partition that has it, or raise RunNotFound."""
    parts = split_run_id(as_id(run))
    if parts is None:
        raise RunNotFound(run)
    event_id, job = parts
    keys, found = yield from _look_for(partitions, event_id, lambda keys: records.read_run(keys, event_id, job, seal))
    if found is None:
        raise RunNotFound(run)
    return keys, found


def find_partition(partitions: Partitions, event_id: str) -> Plan[Keys]:
    """Return the keys of the partition that knows an event: its id's or, where it had an ordering key, another.

    Return those of its id's partition if no partition knows the event. With one partition nothing is asked.
    """
    home = partitions.of(as_id(event_id))
    if len(partitions) == 1:
        return home
    (is_home,) = yield [records.is_known(home, event_id)]
    if is_home:
        return home
    others = partitions.but(home)
    known = yield [records.is_known(keys, event_id) for keys in others]
    return next((keys for keys, is_there in zip(others, known, strict=True) if is_there), home)


def _look_for(
    partitions: Partitions, event_id: str, read: Callable[[Keys], Call[T | None]]
) -> Plan[tuple[Keys, T | None]]:
    """Return what is read of an event, and the partition that has it: its id's or, with an ordering key, another."""
    home = partitions.of(as_id(event_id))
    found: T | None
    (answer,) = yield [read(home)]
    found = readable(home, event_id, answer)
    if found is None and len(partitions) > 1:
        others = partitions.but(home)
        answers = yield [read(keys) for keys in others]
        for keys, each in zip(others, answers, strict=True):
            found = readable(keys, event_id, each)
            if found is not None:
                return keys, found
    return home, found


def readable(keys: Keys, event_id: str, answer: Any) -> Any:
    """Return the answer, or raise it if it is an error: DamagedRecord, which names the key, for what is no hash."""
    if is_wrong_type(answer):
        raise DamagedRecord(event_id, keys.event(event_id), str(answer)) from answer
    if isinstance(answer, HeadraceError):
        raise answer
    return answer


def is_wrong_type(answer: object) -> bool:
    """Return whether the server has refused a call because something that is no record stands under its key."""
    return type(answer) is ServerError and "WRONGTYPE" in str(answer)


def as_id(value: object) -> str:
    """Return an id, or raise InvalidArgument for what can be none."""
    if not isinstance(value, str) or not value:
        raise InvalidArgument("id", f"must be a string that is not empty, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidArgument("id", f"has a lone surrogate, which UTF-8 can't carry: {exc}") from exc
    return value
