"""An entry in a worker's hands: what was read from a stream, taken apart. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace import UndecodableEvent
from headrace.codec import RunState, StoredEvent, decode_entry_state, decode_event
from headrace.ids import run_id
from headrace.keys import is_name

Entry = tuple[bytes, list[bytes] | None]
"""What a stream's read gives: an entry's id, its fields and values in turn; None for fields that were deleted."""


class Stream(msgspec.Struct, frozen=True):
    """A stream of work: `events`, or an app's queue.

    Attributes:
        bell: the bell of its app; the stream itself for `events`.
        app: whose queue it is; empty for `events`.
        name: the queue's name, without its app; empty for `events`.
    """

    key: str
    group: str
    bell: str
    app: str = ""
    name: str = ""


class Delivery(msgspec.Struct, frozen=True, eq=False):
    """One run in a worker's hands.

    Attributes:
        entry: the id of its entry in the queue.
        body: the encoded event; None while it is still only in the record.
        size: bytes of a body that is only in the record.
    """

    queue: Stream
    entry: str
    event_id: str
    job_id: str
    state: RunState
    body: bytes | None
    size: int

    @property
    def job(self) -> str:
        """`<app>/<job id>`."""
        return f"{self.queue.app}/{self.job_id}"

    @property
    def queued_ms(self) -> int:
        """When its entry came into the queue, by the server's clock."""
        return int(self.entry.partition("-")[0])

    @property
    def run_id(self) -> str:
        """`<event id>:<app>/<job id>`."""
        return run_id(self.event_id, self.job)


class EventEntry(msgspec.Struct, frozen=True, eq=False):
    """One event that is to be dispatched; `event` is None while its body is only in the record."""

    entry: str
    event_id: str
    size: int
    event: StoredEvent | None


def _fields(fields: list[bytes] | None, names: tuple[bytes, bytes, bytes]) -> dict[bytes, bytes]:
    if fields is None:
        raise UndecodableEvent("the entry was deleted from its stream while it was in a worker's hands")
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    for name in names:
        if name not in found:
            raise UndecodableEvent(f"the entry has no field {name.decode()!r}; it was not written by Headrace")
    return found


def decode_delivery(queue: Stream, entry: Entry) -> Delivery:
    """Returns a queue's entry as a delivery, or raises UndecodableEvent."""
    entry_id, fields = entry
    values = _fields(fields, (b"e", b"j", b"b"))
    try:
        event_id, job_id = values[b"e"].decode(), values[b"j"].decode()
    except UnicodeDecodeError as exc:
        raise UndecodableEvent(f"the entry's event id or job is no text: {exc}") from exc
    if not event_id:
        raise UndecodableEvent("the entry's event id is empty")
    if not is_name(job_id):
        raise UndecodableEvent(f"the entry's job {job_id[:80]!r} is not a name")
    state, size = decode_entry_state(values.get(b"s", b""))
    return Delivery(queue, entry_id.decode(), event_id, job_id, state, values[b"b"] or None, size)


def decode_event_entry(entry: Entry) -> EventEntry:
    """Returns an entry of `events`, or raises UndecodableEvent."""
    entry_id, fields = entry
    values = _fields(fields, (b"i", b"z", b"b"))
    try:
        event_id, size = values[b"i"].decode(), int(values[b"z"].decode("ascii"))
        if size < 0:
            raise ValueError(f"{size} bytes")  # noqa: TRY301 - said with the entry, below
    except ValueError as exc:
        raise UndecodableEvent(f"the entry's event id or size can't be read: {exc}") from exc
    if not event_id:
        raise UndecodableEvent("the entry's event id is empty")
    body = values[b"b"]
    return EventEntry(entry_id.decode(), event_id, size, decode_event(body) if body else None)


def entries_of(reply: Any) -> list[Entry]:
    """Returns the entries of a read of one stream; none when nothing arrived."""
    return [(entry[0], entry[1]) for entry in reply[0][1]] if reply else []
