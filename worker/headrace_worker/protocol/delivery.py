"""The entries that a worker has read from a stream, decoded. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace import UndecodableEvent
from headrace.calls.call import as_fields
from headrace.formats.codec import RunState, StoredEvent, decode_entry_state, decode_event
from headrace.formats.keys import is_name
from headrace.model.ids import run_id

Key = tuple[str, str]
Entry = tuple[bytes, list[bytes] | None]
"""What a read returns: an entry's id, then its fields and values by turns, or None if the entry was deleted."""


class Stream(msgspec.Struct, frozen=True):
    """A stream of work: `events`, or an app's queue.

    Attributes:
        wake_up: the wake-up stream of its app; the stream itself for `events`.
        app: the app of the queue; empty for `events`.
        name: the queue's name, without its app; empty for `events`.
        partition: the number of the stream's partition.
    """

    key: str
    group: str
    wake_up: str
    app: str = ""
    name: str = ""
    partition: int = 0


class Delivery(msgspec.Struct, frozen=True, eq=False, gc=False):  # no cycles: no part of it refers back to it
    """One run as it was delivered to a worker.

    Attributes:
        entry: the id of the run's entry in the queue.
        body: the encoded event; None while it is only in the record.
        size: bytes of a body that is only in the record.
        ordering_key: of the event; empty for none.
    """

    queue: Stream
    entry: str
    event_id: str
    job_id: str
    state: RunState
    body: bytes | None
    size: int
    ordering_key: str = ""

    @property
    def job(self) -> str:
        """`<app>/<job id>`."""
        return f"{self.queue.app}/{self.job_id}"

    @property
    def key(self) -> Key:
        """What identifies the delivery in this worker: the queue's key and the entry."""
        return self.queue.key, self.entry

    @property
    def ids(self) -> dict[str, str]:
        """The fields of every log line about the run; a field named `event` would be the line's text."""
        return {"run": self.run_id, "job": self.job, "event_id": self.event_id}

    @property
    def queued_ms(self) -> int:
        """When the entry came into the queue, by the server's clock."""
        return int(self.entry.partition("-")[0])

    @property
    def run_id(self) -> str:
        """`<event id>:<app>/<job id>`."""
        return run_id(self.event_id, self.job)


class EventEntry(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One event to dispatch; `event` is None while its body is only in the record."""

    entry: str
    event_id: str
    size: int
    event: StoredEvent | None
    ordering_key: str = ""


WAS_DELETED = "the entry was deleted from its stream while it was pending"
_RUN_FIELDS = [b"e", b"j", b"s", b"b"]
_EVENT_FIELDS = [b"i", b"z", b"b"]


def _values(fields: list[bytes] | None, names: list[bytes]) -> tuple[list[bytes], bytes]:
    """Return the values of the fields of these names, and the ordering key; ignore unknown fields."""
    if fields is None:
        raise UndecodableEvent(WAS_DELETED)
    if fields[::2] == names:  # all fields of an entry without an ordering key
        return fields[1::2], b""
    found = {b"s": b""} | as_fields(fields)  # without a state it is a first delivery
    for name in names:
        if name not in found:
            raise UndecodableEvent(f"the entry has no field {name.decode()!r}; it was not written by Headrace")
    return [found[name] for name in names], found.get(b"k", b"")


def decode_delivery(queue: Stream, entry: Entry) -> Delivery:
    """Return a queue's entry as a delivery, or raise UndecodableEvent."""
    entry_id, fields = entry
    (id_bytes, job_bytes, state_text, body), key = _values(fields, _RUN_FIELDS)
    try:
        event_id, job_id, ordering_key = id_bytes.decode(), job_bytes.decode(), key.decode() if key else ""
    except UnicodeDecodeError as exc:
        raise UndecodableEvent(f"the entry's event id, job or ordering key is no text: {exc}") from exc
    if not event_id:
        raise UndecodableEvent("the entry's event id is empty")
    if not is_name(job_id):
        raise UndecodableEvent(f"the entry's job {job_id[:80]!r} is not a name")
    state, size = decode_entry_state(state_text)
    return Delivery(queue, entry_id.decode(), event_id, job_id, state, body or None, size, ordering_key)


def named_by(entry: Entry) -> tuple[str, str, str]:
    """Return an entry's event id, job id and ordering key; each is empty if it can't be read."""
    found = as_fields(entry[1] or [])
    try:
        event_id, job_id = found.get(b"e", found.get(b"i", b"")).decode(), found.get(b"j", b"").decode()
        ordering_key = found.get(b"k", b"").decode()
    except UnicodeDecodeError:
        return "", "", ""
    return event_id, job_id if is_name(job_id) else "", ordering_key


def decode_event_entry(entry: Entry) -> EventEntry:
    """Return an entry of `events`, or raise UndecodableEvent."""
    entry_id, fields = entry
    (id_bytes, size_text, body), key = _values(fields, _EVENT_FIELDS)
    try:
        event_id, size, ordering_key = id_bytes.decode(), int(size_text), key.decode() if key else ""
        if size < 0:
            raise ValueError(f"{size} bytes")  # noqa: TRY301 - raised again with the entry, below
    except ValueError as exc:
        raise UndecodableEvent(f"the entry's event id or size can't be read: {exc}") from exc
    if not event_id:
        raise UndecodableEvent("the entry's event id is empty")
    return EventEntry(entry_id.decode(), event_id, size, decode_event(body) if body else None, ordering_key)


def entries_of(reply: Any) -> list[Entry]:
    """Return the entries of a read of one stream; none if nothing arrived."""
    return [(entry[0], entry[1]) for entry in reply[0][1]] if reply else []
