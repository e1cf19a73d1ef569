"""Turns events, run states and outcomes into what is stored, and back. Pure; it knows no keys and no server.

An event is one msgpack map: `v` format, `n` name, `s` source, `t` timestamp in microseconds, `p` payload, `c`
context, `a` account, `h` headers, `j` the one job that gets it, `r` the event that it replays, `u` the run whose `io`
sent it. Defaults are omitted, unknown keys ignored. The id is not inside: the key and the stream entry have it. Format
1 is plain; in format 2 payload and context are sealed, bytes that only a codec can read. Formats 3 and 4 are the same
for an event that one job gets, whatever its trigger. A release refuses the formats that it does not know, instead of
taking such an event for another.

An outcome is a msgpack array of error and output, or msgpack's bytes where it is sealed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from headrace.errors import SealedEvent, UndecodableEvent
from headrace.formats.seal import NO_CODEC, Seal
from headrace.model.event import DEFAULT_SOURCE, RunError, RunStatus, Sealed
from headrace.model.values import UNREADABLE, check_depth, decode_value, may_be_deep
from headrace.model.values import encoder as _encoder

FORMAT: Final = 1
SEALED_FORMAT: Final = 2
ONE_JOB_FORMAT: Final = 3
SEALED_ONE_JOB_FORMAT: Final = 4
SEALED_FORMATS: Final = (SEALED_FORMAT, SEALED_ONE_JOB_FORMAT)
"""Those in which payload and context are bytes that only a codec can read."""
NIL: Final = msgspec.Raw(b"\xc0")
INLINE_BYTES: Final = 8_192
"""Bodies up to this many bytes travel inside the stream entries; larger ones stay in the record."""

_ENTRY_STATE = re.compile(rb"([1-9][0-9]{0,15}) ([0-9]{1,16}) ([0-9]{1,16}) ([0-9]{1,16}) ([0-9]{1,16})")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
MIN_MICROS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
MAX_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The range of a datetime in UTC."""
MAX_MILLIS: Final = MAX_MICROS // 1000
"""The last millisecond that a datetime can say; what is rounded up may come to no more."""

STATUS_OF: dict[str, RunStatus] = {
    "q": "queued",
    "x": "executing",
    "w": "waiting",
    "s": "succeeded",
    "f": "failed",
    "t": "timed_out",
    "c": "canceled",
    "i": "invalid_payload",
}
STATUS_LETTER: dict[str, str] = {status: letter for letter, status in STATUS_OF.items()}


class _Outgoing(msgspec.Struct, omit_defaults=True, gc=False):
    """The order of the first three is part of the format: the send script compares them as bytes."""

    v: int
    n: str
    s: str
    t: int
    p: Any = None
    c: Any = None
    a: str | None = None
    h: dict[str, str] | None = None
    j: str | None = None
    r: str | None = None
    u: str | None = None


class StoredEvent(msgspec.Struct, gc=False):
    """An event as it was read: payload and context are still msgpack, decoded where they are needed."""

    v: int
    n: str
    t: int
    s: str = DEFAULT_SOURCE
    p: msgspec.Raw = NIL
    c: msgspec.Raw = NIL
    a: str | None = None
    h: dict[str, str] | None = None
    j: str | None = None
    r: str | None = None
    u: str | None = None


class _Outline(msgspec.Struct, gc=False):
    """What tells that an event begins here: all else of it is passed over."""

    v: int


class _Named(msgspec.Struct, gc=False):
    """An event's name: all else of it is passed over."""

    n: str


_name_decoder = msgspec.msgpack.Decoder(_Named)
_event_decoder = msgspec.msgpack.Decoder(StoredEvent)
_outlines_decoder = msgspec.msgpack.Decoder(list[_Outline])
_any_decoder = msgspec.msgpack.Decoder()
_raw_decoder = msgspec.msgpack.Decoder(msgspec.Raw)
_outcome_decoder = msgspec.msgpack.Decoder(tuple[RunError | None, Any])
_OUTPUT_AT: Final = len(msgspec.msgpack.encode((None, None))) - 1
"""Where the output begins in an outcome without an error."""
_bytes_decoder = msgspec.msgpack.Decoder(bytes)
_BYTES_MARKS = frozenset({0xC4, 0xC5, 0xC6})


def to_micros(moment: datetime) -> int:
    """Return an aware datetime as microseconds since 1970 UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return microseconds since 1970 UTC as an aware datetime in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=micros)


def from_millis(millis: int) -> datetime:
    """Return milliseconds since 1970 UTC as an aware datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=millis)


def encode_event(  # noqa: PLR0913, PLR0917 - an event has these parts
    name: str,
    source: str,
    timestamp_us: int,
    payload: Any,
    context: Any,
    account: str | None,
    headers: dict[str, str] | None = None,
    job: str | None = None,
    parent_run: str | None = None,
) -> bytes:
    """Return a plain event as it is stored; raise whatever a value that can't be carried raises.

    Args:
        job: the one job that gets it, `<app>/<job id>`; None for every job that it matches.
        parent_run: the run whose `io` sends it; None if no run does.
    """
    version = FORMAT if job is None else ONE_JOB_FORMAT
    return _encoder.encode(
        _Outgoing(version, name, source, timestamp_us, payload, context, account, headers, job, None, parent_run)
    )


def encode_part(value: Any, *, whole: bool) -> msgspec.Raw:
    """Return a payload or a context as msgpack; raise where some worker could not read it.

    Args:
        whole: decode every value of the result; otherwise pass over them, which is quicker.
    """
    if value is None:
        return NIL
    encoded = _encoder.encode(value)
    (_any_decoder if whole else _raw_decoder).decode(encoded)
    if whole or may_be_deep(encoded):
        check_depth(encoded)
    return msgspec.Raw(encoded)


def check_event(body: bytes, *, whole: bool) -> None:
    """Raise where an encoded event has what some worker could not read: by its depth, or as it was encoded before.

    Args:
        whole: decode every value, which takes longer than it took to encode them; otherwise pass over them.
    """
    event = _event_decoder.decode(body)
    for raw in (event.p, event.c):
        check_depth(raw)
        if whole:
            _any_decoder.decode(raw)


def are_whole(bodies: Sequence[bytes]) -> bool:
    """Return whether each encoded event is one whole value; a broken Raw in an event makes it none.

    The decoder passes over all of them at once, in a fraction of the time that it took to encode them.
    """
    try:
        _outlines_decoder.decode(b"".join((b"\xdd", len(bodies).to_bytes(4, "big"), *bodies)))
    except UNREADABLE:
        return False
    return True


def identity_length(name: str, source: str) -> int:
    """Return how many bytes at the start of an encoded event hold its format, name and source."""
    return len(_encoder.encode(_Outgoing(FORMAT, name, source, 0))) - len(b"\xa1t\x00")


def encode_value(value: Any) -> bytes:
    """Return any value as msgpack; raise as `encode_event` does."""
    return _encoder.encode(value)


def decode_event(body: bytes) -> StoredEvent:
    """Return a stored event; raise UndecodableEvent for bytes in no format that this release reads."""
    try:
        event = _event_decoder.decode(body)
    except UNREADABLE as exc:
        raise UndecodableEvent(f"these {len(body):,} bytes are not an event: {exc}") from exc
    if not FORMAT <= event.v <= SEALED_FORMAT:
        _check_one_job(event)
    if not MIN_MICROS <= event.t <= MAX_MICROS:
        raise UndecodableEvent(f"the event's timestamp, {event.t} µs, is outside the years 1 to 9999")
    return event


def _check_one_job(event: StoredEvent) -> None:
    """Refuse an event that is in no format which is known, or that says of no job that it is the one to get it."""
    if not FORMAT <= event.v <= SEALED_ONE_JOB_FORMAT:
        raise UndecodableEvent(
            f"the event has format {event.v}, this release reads up to {SEALED_ONE_JOB_FORMAT}; "
            "upgrade the workers first"
        )
    if event.j is None:
        raise UndecodableEvent(f"the event has format {event.v}, which is for one job, and names none")


def decode_name(body: bytes | None) -> str | None:
    """Return the name of a stored event; None where its contents are dropped or damaged."""
    if body is None:
        return None
    try:
        return _name_decoder.decode(body).n
    except UNREADABLE:
        return None


def seal_event(event: StoredEvent, event_id: str, seal: Seal) -> bytes:
    """Return an event as it is stored, with payload and context sealed; raise whatever the codec raises."""
    payload = _seal_part("payload", event.p, event_id, event, seal)
    context = _seal_part("context", event.c, event_id, event, seal)
    version = SEALED_FORMAT if event.j is None else SEALED_ONE_JOB_FORMAT
    return _encode_stored(event, version, payload, context)


def encode_stored(event: StoredEvent) -> bytes:
    """Return a plain event that was read as it is stored."""
    version = FORMAT if event.j is None else ONE_JOB_FORMAT
    payload, context = (None if raw == NIL else raw for raw in (event.p, event.c))
    return _encode_stored(event, version, payload, context)


def _encode_stored(event: StoredEvent, version: int, payload: Any, context: Any) -> bytes:
    return _encoder.encode(
        _Outgoing(version, event.n, event.s, event.t, payload, context, event.a, event.h, event.j, event.r, event.u)
    )


def _seal_part(part: str, raw: msgspec.Raw, event_id: str, event: StoredEvent, seal: Seal) -> bytes | None:
    return None if raw == NIL else seal.close(bytes(raw), *_owner(part, event_id, event))


def open_event(event: StoredEvent, event_id: str, seal: Seal | None) -> StoredEvent:
    """Return a sealed event with payload and context as they were sent, still msgpack.

    Raises:
        SealedEvent: there is no codec, or it could not open them.
        UndecodableEvent: they are not what a codec has made.
    """
    if seal is None:
        raise SealedEvent(NO_CODEC)
    payload = _open_part("payload", event.p, event_id, event, seal)
    context = _open_part("context", event.c, event_id, event, seal)
    version = FORMAT if event.v == SEALED_FORMAT else ONE_JOB_FORMAT
    return msgspec.structs.replace(event, v=version, p=payload, c=context)


def _open_part(part: str, raw: msgspec.Raw, event_id: str, event: StoredEvent, seal: Seal) -> msgspec.Raw:
    if raw == NIL:
        return NIL
    return msgspec.Raw(seal.open(_sealed_bytes(raw), *_owner(part, event_id, event)))


def _owner(part: str, event_id: str, event: StoredEvent) -> tuple[str | None, ...]:
    return part, event_id, event.n, event.s, event.a


def _sealed_bytes(raw: msgspec.Raw | bytes) -> bytes:
    try:
        return _bytes_decoder.decode(raw)
    except UNREADABLE as exc:
        raise UndecodableEvent(f"what is marked as sealed is not bytes: {exc}") from exc


def decode_contents(event: StoredEvent, event_id: str, seal: Seal | None) -> tuple[Any, Any]:
    """Return payload and context; those that can't be opened here as Sealed."""
    if event.v not in SEALED_FORMATS:
        return decode_value(event.p), decode_value(event.c)
    try:
        opened = open_event(event, event_id, seal)
    except SealedEvent as exc:
        payload, context = (None if raw == NIL else Sealed(_sealed_bytes(raw), str(exc)) for raw in (event.p, event.c))
        return payload, context
    return decode_value(opened.p), decode_value(opened.c)


def encode_outcome(error: RunError | None, output: Any) -> bytes:
    """Return what a run's field holds after its first line; raise as `encode_event` does."""
    if error is None and output is None:
        return b""
    blob = _encoder.encode((error, output))
    if output is not None and error is None:
        _outcome_decoder.decode(blob)
        check_depth(msgspec.Raw(blob[_OUTPUT_AT:]))
    return blob


def seal_outcome(blob: bytes, run: str, seal: Seal) -> bytes:
    """Return an encoded outcome sealed; raise whatever the codec does."""
    return _encoder.encode(seal.close(blob, "outcome", run))


def decode_outcome(blob: bytes, run: str = "", seal: Seal | None = None) -> tuple[RunError | None, Any]:
    """Return the error and the output of a run's field; what can't be opened here is a Sealed output."""
    if not blob:
        return None, None
    try:
        if blob[0] in _BYTES_MARKS:
            return _open_outcome(_sealed_bytes(blob), run, seal)
        return _outcome_decoder.decode(blob)
    except (*UNREADABLE, UndecodableEvent) as exc:
        return RunError("Unreadable", f"the stored outcome is damaged: {exc}"), None


def _open_outcome(sealed: bytes, run: str, seal: Seal | None) -> tuple[RunError | None, Any]:
    if seal is None:
        return None, Sealed(sealed, NO_CODEC)
    try:
        return _outcome_decoder.decode(seal.open(sealed, "outcome", run))
    except SealedEvent as exc:
        return None, Sealed(sealed, str(exc))


class RunState(msgspec.Struct, frozen=True, gc=False):
    """What a run carries from one delivery to the next.

    Attributes:
        attempt: the attempt that this delivery is, from 1.
        lost: how many workers died with the run in flight.
        unknown_since_ms: since when no worker that had it knew its job, or had the codec that opens its event; 0
            where that never happened.
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
    """Return the state of a queue entry and the size of a body that is not inside it.

    An empty text is a first delivery with its body inside. Raises UndecodableEvent.
    """
    if not text:
        return FIRST, 0
    found = _ENTRY_STATE.fullmatch(text)
    if found is None:
        raise UndecodableEvent(f"the entry's state {text[:80]!r} is not five numbers, the first of them from 1")
    attempt, lost, since, replay, size = map(int, found.groups())
    return RunState(attempt, lost, since, replay), size
