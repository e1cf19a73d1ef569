"""What the client asks of a server: each function builds one call, each reader turns its reply into our types. Pure.

A call is a command with its arguments and the reader of its reply. Where a call has a script, its first three
arguments are EVALSHA, the script's SHA1 and the number of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from headrace.errors import (
    DamagedRecord,
    EventConflict,
    EventNotFound,
    HeadraceError,
    UndecodableEvent,
)
from headrace.formats import codec, records
from headrace.formats.keys import Keys
from headrace.formats.outgoing import Outgoing, Replicas
from headrace.formats.seal import Seal
from headrace.model.event import DamagedEntry, EventRecord, RunRecord, SentEvent
from headrace.model.retention import Retention
from headrace.scripts import Script, load

T = TypeVar("T")
Argument = str | bytes | int | float

RECENT_ENTRIES = 10_000
"""How many entries, about, the listings of events and of runs keep."""
MAX_BATCH_EVENTS = 500
MAX_BATCH_BYTES = 4_194_304


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One command to the server, and how its reply is read."""

    args: tuple[Argument, ...]
    read: Callable[[Any], T]
    script: Script | None = None


def script_call(name: str, keys: Sequence[str], argv: Sequence[Argument], read: Callable[[Any], T]) -> Call[T]:
    """Returns the call of a script."""
    script = load(name)
    return Call(("EVALSHA", script.sha, len(keys), *keys, *argv), read, script)


def as_text(value: bytes | str) -> str:
    """Returns a reply's bytes as text; bytes that are no UTF-8 are kept visible."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def as_fields(reply: Sequence[Any]) -> dict[Any, Any]:
    """Returns a reply of names and values in turn by the names."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def batches(events: Sequence[Outgoing]) -> list[Sequence[Outgoing]]:
    """Returns the events in groups of at most 500 and 4 MB, in order, so that no script holds the server up."""
    groups: list[Sequence[Outgoing]] = []
    start = size = 0
    for place, event in enumerate(events):
        if place > start and (place - start >= MAX_BATCH_EVENTS or size + len(event.body) > MAX_BATCH_BYTES):
            groups.append(events[start:place])
            start, size = place, 0
        size += len(event.body)
    if events:
        groups.append(events[start:] if start else events)
    return groups


def send(
    keys: Keys, events: Sequence[Outgoing], token: str, seal: Seal | None = None
) -> Call[list[SentEvent | HeadraceError]]:
    """Sends one batch, of one ordering key or none; the reader returns what each became, or why nothing, in order."""
    ordering_key = events[0].ordering_key
    argv: list[Argument] = [token, RECENT_ENTRIES, codec.INLINE_BYTES, ordering_key]
    for event in events:
        argv += (event.event_id, event.id_kind, event.when, event.name, event.identity, event.body)
    names = [keys.events, keys.due, keys.wake, keys.recent]
    if ordering_key:
        names.append(keys.order(ordering_key))
    names += [keys.event(event.event_id) for event in events]
    return script_call("send", names, argv, lambda reply: _read_sent(keys, events, reply, seal))


def wait_replicas(replicas: Replicas) -> Call[int]:
    """Returns how many replicas have all that its connection has written, once enough have or the time is up."""
    return Call(("WAIT", replicas.count, replicas.timeout_ms), int)


def _read_sent(
    keys: Keys, events: Sequence[Outgoing], reply: list[Any], seal: Seal | None
) -> list[SentEvent | HeadraceError]:  # fmt: skip
    now_ms = int(reply[0])
    now = codec.from_millis(now_ms)
    sent: list[SentEvent | HeadraceError] = []
    for event in events:
        due_ms = _due_ms(event.when, now_ms) if event.when else 0
        if due_ms > now_ms:
            sent.append(event.sent(deliver_at=codec.from_millis(due_ms)))
        else:
            sent.append(event.sent(delivered_at=now))
    for at in range(1, len(reply), 4):
        place, answer, first, second = reply[at : at + 4]
        event = events[place - 1]
        if answer == b"conflict":
            sent[place - 1] = EventConflict(event.event_id)
        elif answer == b"duplicate":
            sent[place - 1] = _read_duplicate(keys, event, first, second, seal)
        elif int(first):
            sent[place - 1] = event.sent(deliver_at=codec.from_millis(int(first)))
        else:
            sent[place - 1] = event.sent(delivered_at=codec.from_millis(int(second)))
    return sent


def _due_ms(when: str, now_ms: int) -> int:
    return now_ms + int(when[1:]) if when[0] == "+" else int(when)


def _read_duplicate(
    keys: Keys, event: Outgoing, header_text: bytes, body: bytes, seal: Seal | None
) -> SentEvent | EventConflict | DamagedRecord:
    """Returns what was sent before, or says that it can't be read: another event of the call is none the worse."""
    try:
        with _said_of(keys, event.event_id):
            return _decode_duplicate(event, header_text, body, seal)
    except DamagedRecord as exc:
        return exc


def _decode_duplicate(
    event: Outgoing, header_text: bytes, body: bytes, seal: Seal | None
) -> SentEvent | EventConflict:  # fmt: skip
    header = records.decode_header(header_text)
    delivered = codec.from_millis(header.delivered_ms) if header.delivered_ms else None
    due = codec.from_millis(header.due_ms) if header.due_ms else None
    if not body:  # retention=0 dropped the contents; what was sent now is the best answer there is
        return event.sent(deliver_at=due, delivered_at=delivered, duplicate=True, status=header.status)
    stored = codec.decode_event(body)
    if (stored.n, stored.s) != (event.name, event.event.source) and event.id_kind != "d":
        return EventConflict(event.event_id, status=header.status)
    payload, context = codec.decode_contents(stored, event.event_id, seal)
    return SentEvent(
        id=event.event_id,
        name=stored.n,
        payload=payload,
        context=context,
        timestamp=codec.from_micros(stored.t),
        deliver_at=due,
        delivered_at=delivered,
        duplicate=True,
        status=header.status,
    )


def divide(keys: Keys, partitions: int) -> Call[int]:
    """Says how many partitions the namespace is to have, if it is used for the first time; reads how many it has."""
    return script_call("divide", (keys.meta,), (partitions,), int)


def is_known(keys: Keys, event_id: str) -> Call[bool]:
    """Reads whether a partition remembers an event."""
    return Call(("HEXISTS", keys.event(event_id), "m"), bool)


def read_record(keys: Keys, event_id: str, seal: Seal | None = None) -> Call[EventRecord | None]:
    """Reads what is remembered of an event; None when it is not known. Raises DamagedRecord."""

    def read(reply: Any) -> EventRecord | None:
        fields = as_fields(reply)
        with _said_of(keys, event_id):
            return records.decode_record(event_id, fields, seal) if b"m" in fields else None

    return Call(("HGETALL", keys.event(event_id)), read)


@contextmanager
def _said_of(keys: Keys, event_id: str) -> Iterator[None]:
    """What can't be decoded is said to be of the event's record, and where that is."""
    try:
        yield
    except UndecodableEvent as exc:
        raise DamagedRecord(event_id, keys.event(event_id), str(exc)) from exc


class FoundRun(msgspec.Struct, frozen=True):
    """A run, and the ordering key of its event; empty for none."""

    run: RunRecord
    ordering_key: str = ""


def read_run(keys: Keys, event_id: str, job: str, seal: Seal | None = None) -> Call[FoundRun | None]:
    """Reads what is remembered of a run; None when it is not known. Raises DamagedRecord."""
    field = f"r:{job}".encode()

    def read(reply: list[bytes | None]) -> FoundRun | None:
        header, ordering_key, value = reply
        if header is None or value is None:
            return None
        with _said_of(keys, event_id):
            run = records.decode_run(event_id, field, value, seal)
            return FoundRun(run, records.decode_ordering_key(ordering_key) or "")

    return Call(("HMGET", keys.event(event_id), "m", "k", field), read)


def read_runs(keys: Keys, event_id: str, seal: Seal | None = None) -> Call[list[RunRecord | DamagedEntry]]:
    """Reads what is remembered of an event's runs; none when it is not known."""
    return Call(("HGETALL", keys.event(event_id)), lambda reply: records.decode_runs(event_id, as_fields(reply), seal))


def cancel(keys: Keys, event_id: str, retention: Retention) -> Call[datetime | None]:
    """Cancels a delayed event; the reader returns since when it is, None if it is not. Raises EventNotFound."""

    def read(reply: list[bytes]) -> datetime | None:
        if reply[0] == b"missing":
            raise EventNotFound(event_id)
        return codec.from_millis(int(reply[1])) if reply[0] == b"canceled" else None

    argv = (*retention.millis(), keys.settled_channel(""), event_id)
    return script_call("cancel", (keys.due, keys.event(event_id), keys.fading), argv, read)


def watch(keys: Keys, event_id: str) -> Call[None]:
    """Asks that the settling of an event be published. Raises EventNotFound."""

    def read(reply: int) -> None:
        if not reply:
            raise EventNotFound(event_id)

    return script_call("watch", (keys.event(event_id),), (), read)


def rerun(
    keys: Keys, event_id: str, job: str, queue: str, ordering_key: str = "", ended_ms: int = 0
) -> Call[tuple[str, str]]:
    """Queues a run again that ended without success, at that time if one is given, or is lost; the script's answer."""
    app = job.partition("/")[0]
    names = [keys.event(event_id), keys.queue(app, queue), keys.bell(app), keys.dead]
    if ordering_key:
        names.append(keys.turns(job, ordering_key))
    return script_call(
        "rerun",
        names,
        (event_id, job, queue, codec.INLINE_BYTES, ordering_key, ended_ms),
        lambda reply: (as_text(reply[0]), as_text(reply[1])),
    )


def server_info() -> Call[dict[str, str]]:
    """Reads what the server says of itself."""
    return Call(("INFO",), _read_info)


def _read_info(reply: bytes | str) -> dict[str, str]:
    lines = as_text(reply).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
