"""Reads what is remembered of events and runs, and asks that the settling of an event be published. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from headrace.calls.call import Call, as_fields, script_call
from headrace.errors import DamagedRecord, EventNotFound, UndecodableEvent
from headrace.formats.codec import decode_name
from headrace.formats.keys import Keys
from headrace.formats.records import decode_ordering_key, decode_record, decode_run, decode_runs
from headrace.formats.seal import Seal
from headrace.model.event import DamagedEntry, EventRecord, RunRecord


def is_known(keys: Keys, event_id: str) -> Call[bool]:
    """Read whether a partition remembers an event."""
    return Call(("HEXISTS", keys.event(event_id), "m"), bool)


def read_record(keys: Keys, event_id: str, seal: Seal | None = None) -> Call[EventRecord | None]:
    """Read the record of an event; None when it is not known. Raise DamagedRecord."""

    def read(reply: Any) -> EventRecord | None:
        fields = as_fields(reply)
        with naming_record(keys, event_id):
            return decode_record(event_id, fields, seal) if b"m" in fields else None

    return Call(("HGETALL", keys.event(event_id)), read)


class FoundRun(msgspec.Struct, frozen=True):
    """A run, and the ordering key of its event; empty for none."""

    run: RunRecord
    ordering_key: str = ""


def read_run(keys: Keys, event_id: str, job: str, seal: Seal | None = None) -> Call[FoundRun | None]:
    """Read the record of a run; None when it is not known. Raise DamagedRecord."""
    field = f"r:{job}".encode()

    def read(reply: list[bytes | None]) -> FoundRun | None:
        header, ordering_key, body, value, attempts, sent = reply
        if header is None or value is None:
            return None
        with naming_record(keys, event_id):
            name = decode_name(body)
            run = decode_run(event_id, field, value, seal, event_name=name, attempts=attempts, sent=sent)
            return FoundRun(run, decode_ordering_key(ordering_key) or "")

    return Call(("HMGET", keys.event(event_id), "m", "k", "e", field, f"a:{job}", f"c:{job}"), read)


def read_runs(keys: Keys, event_id: str, seal: Seal | None = None) -> Call[list[RunRecord | DamagedEntry]]:
    """Read the records of an event's runs; none when the event is not known."""
    return Call(("HGETALL", keys.event(event_id)), lambda reply: decode_runs(event_id, as_fields(reply), seal))


def watch(keys: Keys, event_id: str) -> Call[None]:
    """Ask that the settling of an event be published. Raise EventNotFound."""

    def read(reply: int) -> None:
        if not reply:
            raise EventNotFound(event_id)

    return script_call("watch", (keys.event(event_id),), (), read)


@contextmanager
def naming_record(keys: Keys, event_id: str) -> Iterator[None]:
    """Raise DamagedRecord, which names the event and its key, for what can't be decoded."""
    try:
        yield
    except UndecodableEvent as exc:
        raise DamagedRecord(event_id, keys.event(event_id), str(exc)) from exc
