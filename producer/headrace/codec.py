"""Turns events, run states and outcomes into what is stored, and back. Pure; it knows no keys and no server.

An event is one msgpack map: `v` format, `n` name, `s` source, `t` timestamp in microseconds, `p` payload,
`c` context, `a` account. Defaults are omitted, unknown keys ignored. The id is not inside: the key and the
stream entry have it.

A record's header (field `m`) is `<token> <id kind> <due ms> <delivered ms> <canceled ms> <runs>`, a dash for
runs until dispatch. A run's field (`r:<app>/<job id>`) is
`<status> <attempt> <lost> <unknown since ms> <replay> <queue> <entry> <worker> <started ms> <finished ms>`,
then, where there is an error or an output, a line feed and both as a msgpack array. The scripts read and
write the same texts.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from headrace.errors import UndecodableEvent
from headrace.event import DEFAULT_SOURCE, EventRecord, EventStatus, RunError, RunRecord, RunStatus
from headrace.ids import run_id

FORMAT: Final = 1
NIL: Final = msgspec.Raw(b"\xc0")
INLINE_BYTES: Final = 8_192
"""Bodies up to this many bytes travel inside the stream entries; larger ones stay in the record."""

_ENTRY_STATE = re.compile(rb"([1-9][0-9]{0,15}) ([0-9]{1,16}) ([0-9]{1,16}) ([0-9]{1,16}) ([0-9]{1,16})")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
MIN_MICROS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
MAX_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The range of a datetime in UTC."""

_STATUS_OF: dict[str, RunStatus] = {
    "q": "queued",
    "x": "executing",
    "w": "waiting",
    "s": "succeeded",
    "f": "failed",
    "t": "timed_out",
    "c": "canceled",
    "i": "invalid_payload",
}
STATUS_LETTER: dict[str, str] = {status: letter for letter, status in _STATUS_OF.items()}


class _Outgoing(msgspec.Struct, omit_defaults=True):
    """The order of the first three is part of the format: the send script compares them as bytes."""

    v: int
    n: str
    s: str
    t: int
    p: Any = None
    c: Any = None
    a: str | None = None


class StoredEvent(msgspec.Struct, gc=False):
    """An event as it was read: payload and context are still msgpack, decoded by whoever needs them."""

    v: int
    n: str
    t: int
    s: str = DEFAULT_SOURCE
    p: msgspec.Raw = NIL
    c: msgspec.Raw = NIL
    a: str | None = None


_encoder = msgspec.msgpack.Encoder()
_event_decoder = msgspec.msgpack.Decoder(StoredEvent)
_any_decoder = msgspec.msgpack.Decoder()
_outcome_decoder = msgspec.msgpack.Decoder(tuple[RunError | None, Any])
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError, OverflowError)


def to_micros(moment: datetime) -> int:
    """Returns an aware datetime as microseconds since 1970 UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Returns microseconds since 1970 UTC as an aware datetime in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=micros)


def from_millis(millis: int) -> datetime:
    """Returns milliseconds since 1970 UTC as an aware datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=millis)


def encode_event(name: str, source: str, timestamp_us: int, payload: Any, context: Any, account: str | None) -> bytes:
    """Returns an event as it travels.

    Raises:
        TypeError, ValueError, OverflowError, RecursionError: a value that msgpack can't carry.
    """
    return _encoder.encode(_Outgoing(FORMAT, name, source, timestamp_us, payload, context, account))


def identity_length(name: str, source: str) -> int:
    """Returns how many bytes at the start of an encoded event hold its format, name and source."""
    return len(_encoder.encode(_Outgoing(FORMAT, name, source, 0))) - len(b"\xa1t\x00")


def encode_value(value: Any) -> bytes:
    """Returns any value as msgpack; raises as `encode_event` does."""
    return _encoder.encode(value)


def decode_event(body: bytes) -> StoredEvent:
    """Returns a travelled event; raises UndecodableEvent for bytes that are none of a format we read."""
    try:
        event = _event_decoder.decode(body)
    except _UNREADABLE as exc:
        raise UndecodableEvent(f"these {len(body):,} bytes are not an event: {exc}") from exc
    if event.v != FORMAT:
        raise UndecodableEvent(
            f"the event has format {event.v}, this release reads format {FORMAT}; upgrade the workers first"
        )
    if not MIN_MICROS <= event.t <= MAX_MICROS:
        raise UndecodableEvent(f"the event's timestamp, {event.t} µs, is outside the years 1 to 9999")
    return event


def decode_value(raw: msgspec.Raw | bytes) -> Any:
    """Returns the value of msgpack bytes; raises UndecodableEvent where they are damaged."""
    try:
        return _any_decoder.decode(raw)
    except _UNREADABLE as exc:
        raise UndecodableEvent(f"damaged msgpack: {exc}") from exc


def encode_outcome(error: RunError | None, output: Any) -> bytes:
    """Returns what a run's field holds after its first line; raises as `encode_event` does."""
    if error is None and output is None:
        return b""
    return _encoder.encode((error, output))


def decode_outcome(blob: bytes) -> tuple[RunError | None, Any]:
    """Returns the error and the output of a run's field."""
    if not blob:
        return None, None
    try:
        return _outcome_decoder.decode(blob)
    except _UNREADABLE as exc:
        return RunError("Unreadable", f"the stored outcome is damaged: {exc}"), None


class RunState(msgspec.Struct, frozen=True, gc=False):
    """What a run carries from one delivery to the next.

    Attributes:
        attempt: the attempt that this delivery is, from 1.
        lost: how many workers died with the run in their hands.
        unknown_since_ms: since when no worker that had it knew its job; 0 where that never happened.
        replay: 1 if the run was started again by hand.
    """

    attempt: int = 1
    lost: int = 0
    unknown_since_ms: int = 0
    replay: int = 0

    def text(self) -> str:
        """The state as the scripts read it."""
        return f"{self.attempt} {self.lost} {self.unknown_since_ms} {self.replay}"


FIRST = RunState()


def decode_entry_state(text: bytes) -> tuple[RunState, int]:
    """Returns the state of a queue entry and the size of a body that is not inside it.

    An empty text is a first delivery with its body inside. Raises UndecodableEvent.
    """
    if not text:
        return FIRST, 0
    found = _ENTRY_STATE.fullmatch(text)
    if found is None:
        raise UndecodableEvent(f"the entry's state {text[:80]!r} is not five numbers, the first of them from 1")
    attempt, lost, since, replay, size = map(int, found.groups())
    return RunState(attempt, lost, since, replay), size


class Header(msgspec.Struct, frozen=True):
    """The first lines of an event's record."""

    token: str
    id_kind: str
    due_ms: int
    delivered_ms: int
    canceled_ms: int
    runs: int | None

    @property
    def status(self) -> EventStatus:
        """Where the event is in its life."""
        if self.canceled_ms:
            return "canceled"
        return "delivered" if self.delivered_ms else "delayed"


def decode_header(text: bytes) -> Header:
    """Returns a record's header; raises UndecodableEvent where it is damaged."""
    try:
        token, kind, due, delivered, canceled, runs = text.decode("ascii").split(" ")
        count = None if runs == "-" else int(runs)
        header = Header(token, kind, int(due), int(delivered), int(canceled), count)
        _check_millis(header.due_ms, header.delivered_ms, header.canceled_ms)
    except ValueError as exc:
        raise UndecodableEvent(f"the record's header {text[:80]!r} is damaged") from exc
    return header


def _check_millis(*moments: int) -> None:
    for moment in moments:
        if not 0 <= moment <= MAX_MICROS // 1000:
            raise ValueError(f"{moment} ms is not within the years 1970 to 9999")


def _moment(millis: int) -> datetime | None:
    return from_millis(millis) if millis else None


def decode_run(event_id: str, field: bytes, value: bytes) -> RunRecord:
    """Returns the record of a run from its field `r:<job>`; raises UndecodableEvent where it is damaged."""
    line, _, blob = value.partition(b"\n")
    try:
        job = field.removeprefix(b"r:").decode()
        status, attempt, lost, _, _, queue, _, worker, started, finished = line.decode("ascii").split(" ")
        error, output = decode_outcome(blob)
        _check_millis(int(started), int(finished))
        return RunRecord(
            id=run_id(event_id, job),
            event_id=event_id,
            job=job,
            status=_STATUS_OF[status],
            attempt=int(attempt),
            lost=int(lost),
            queue=queue,
            started_at=_moment(int(started)),
            finished_at=_moment(int(finished)),
            worker=None if worker == "-" else worker,
            error=error,
            output=output,
        )
    except (ValueError, KeyError) as exc:
        raise UndecodableEvent(f"the record of the run {field[:80]!r} of event {event_id!r} is damaged") from exc


def decode_runs(event_id: str, fields: dict[bytes, bytes]) -> list[RunRecord]:
    """Returns the runs of an event from its hash, by job; raises UndecodableEvent where one is damaged."""
    runs = [decode_run(event_id, field, value) for field, value in fields.items() if field.startswith(b"r:")]
    return sorted(runs, key=lambda run: run.job)


def decode_record(event_id: str, fields: dict[bytes, bytes]) -> EventRecord:
    """Returns an event's record from its hash.

    A record whose contents were dropped by `retention=0` has only its header: name and payload are gone.
    """
    header = decode_header(fields[b"m"])
    body = fields.get(b"e")
    event = decode_event(body) if body is not None else StoredEvent(v=FORMAT, n="", t=0)
    return EventRecord(
        id=event_id,
        name=event.n,
        payload=decode_value(event.p),
        context=decode_value(event.c),
        timestamp=from_micros(event.t),
        source=event.s,
        account_id=event.a,
        status=header.status,
        deliver_at=_moment(header.due_ms),
        delivered_at=_moment(header.delivered_ms),
        canceled_at=_moment(header.canceled_ms),
        is_dispatched=header.runs is not None,
        runs=decode_runs(event_id, fields),
    )
