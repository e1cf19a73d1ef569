"""Reads what is remembered of events and runs, and asks that the settling of an event be published. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from headrace.calls.call import Call, as_fields, as_text, script_call
from headrace.errors import DamagedRecord, EventNotFound, UndecodableEvent
from headrace.formats.codec import decode_event, decode_name
from headrace.formats.keys import Keys
from headrace.formats.records import decode_header, decode_ordering_key, decode_record, decode_run, decode_runs
from headrace.formats.seal import Seal
from headrace.model.event import EventRecord, EventStatus, RunRecord
from headrace.model.page import DamagedEntry

T = TypeVar("T")


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


class FoundEvent(msgspec.Struct, frozen=True):
    """An event, and how many runs it has, whether or not the record still holds them."""

    record: EventRecord
    runs: int | None

    @property
    def states(self) -> set[str]:
        """Its status and, if no job matched it, `unmatched`."""
        is_unmatched = self.record.status == "settled" and self.runs == 0
        return {self.record.status, "unmatched"} if is_unmatched else {self.record.status}


def read_found(keys: Keys, event_id: str, seal: Seal | None = None) -> Call[FoundEvent | None]:
    """Read the record of an event, and its number of runs; None when it is not known. Raise DamagedRecord."""

    def read(reply: Any) -> FoundEvent | None:
        fields = as_fields(reply)
        if b"m" not in fields:
            return None
        with naming_record(keys, event_id):
            return FoundEvent(decode_record(event_id, fields, seal), decode_header(fields[b"m"]).runs)

    return Call(("HGETALL", keys.event(event_id)), read)


class Outline(msgspec.Struct, frozen=True):
    """What tells an event apart, without its contents; the name is None where they are dropped."""

    status: EventStatus
    name: str | None
    ordering_key: str | None


def read_outline(keys: Keys, event_id: str) -> Call[Outline | None]:
    """Read what tells an event apart; None when it is not known. Raise DamagedRecord."""

    def read(reply: list[bytes | None]) -> Outline | None:
        header, ordering_key, body = reply
        if header is None:
            return None
        with naming_record(keys, event_id):
            return Outline(decode_header(header).status, decode_name(body), decode_ordering_key(ordering_key))

    return Call(("HMGET", keys.event(event_id), "m", "k", "e"), read)


class Replayable(msgspec.Struct, frozen=True):
    """What a replay needs of an event.

    Attributes:
        body: None where its contents are dropped.
        runs: how many it has, whether or not the record still names them; None before it is dispatched.
        jobs: of the runs that the record names.
        only_job: before it is dispatched: the one job that is to get it; None for those that it matches.
    """

    body: bytes | None
    ordering_key: str
    runs: int | None
    jobs: frozenset[str]
    only_job: str | None

    def may_have_run(self, job: str | None) -> bool:
        """Return whether the event has a run, of this job if one is named, or may still get one.

        Of runs that the record does not name any more, each may be of this job.
        """
        if self.runs is None:
            return job is None or self.only_job in (None, job)
        return self.runs > len(self.jobs) or (bool(self.jobs) if job is None else job in self.jobs)


def read_replayable(keys: Keys, event_id: str) -> Call[Replayable | None]:
    """Read what a replay needs of an event; None when it is not known. Raise DamagedRecord."""

    def read(reply: Any) -> Replayable | None:
        fields = as_fields(reply)
        if b"m" not in fields:
            return None
        with naming_record(keys, event_id):
            header, body = decode_header(fields[b"m"]), fields.get(b"e")
            runs = 0 if header.status == "canceled" else header.runs
            jobs = frozenset(as_text(each.removeprefix(b"r:")) for each in fields if each.startswith(b"r:"))
            only_job = decode_event(body).j if runs is None and body else None
            return Replayable(body, decode_ordering_key(fields.get(b"k")) or "", runs, jobs, only_job)

    return Call(("HGETALL", keys.event(event_id)), read)


class FoundRun(msgspec.Struct, frozen=True):
    """A run, with the ordering key of its event, empty for none, and its error and output as they are stored."""

    run: RunRecord
    ordering_key: str = ""
    outcome: bytes = b""
    header: bytes = b""

    @property
    def delivered_ms(self) -> int:
        """When its event was delivered; 0 if that can't be read."""
        try:
            return decode_header(self.header).delivered_ms
        except UndecodableEvent:
            return 0


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
            return FoundRun(run, decode_ordering_key(ordering_key) or "", value.partition(b"\n")[2], header)

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


def as_answer(call: Call[T]) -> Call[T | DamagedRecord]:
    """Return a call whose answer is the DamagedRecord that the given call raises, so that it spoils no other answer."""

    def read(reply: Any) -> T | DamagedRecord:
        try:
            return call.read(reply)
        except DamagedRecord as exc:
            return exc

    return Call(call.args, read, call.script)


@contextmanager
def naming_record(keys: Keys, event_id: str) -> Iterator[None]:
    """Raise DamagedRecord, which names the event and its key, for what can't be decoded."""
    try:
        yield
    except UndecodableEvent as exc:
        raise DamagedRecord(event_id, keys.event(event_id), str(exc)) from exc
