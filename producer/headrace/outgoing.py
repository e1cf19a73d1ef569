"""Turns what a caller gives to a send into what is sent, or says which field breaks which rule. Pure.

The clock is passed in; ids are made here, before the first attempt to send, so that a retry of a send is
the same send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from headrace import codec
from headrace.errors import EventTooLarge, InvalidEvent
from headrace.event import Event, SentEvent
from headrace.ids import new_event_ids
from headrace.seal import Seal

MAX_EVENT_BYTES = 1_048_576
MAX_TEXT = 256
_FIELDS = frozenset(Event.__struct_fields__)
_MAX_DELAY_S = 100 * 366 * 86_400
_MAX_REPLICAS = 1_000
_MAX_REPLICAS_WAIT_S = 5.0
"""Well below the time after which an answer that does not come is taken for a lost line."""


class Outgoing(msgspec.Struct, frozen=True):
    """One event, checked and encoded.

    Attributes:
        id_kind: `c` the client made the id, `s` the sender gave it, `d` it is derived from a run and a key.
        when: empty for now, `+<ms>` for a delay, `<ms>` for a time.
        identity: how many bytes of the body hold its format, name and source.
        ordering_key: empty for none.
    """

    event_id: str
    id_kind: str
    name: str
    when: str
    identity: int
    body: bytes
    event: Event
    timestamp: datetime
    ordering_key: str = ""

    def sent(
        self, *, deliver_at: datetime | None = None, delivered_at: datetime | None = None, duplicate: bool = False
    ) -> SentEvent:
        """Returns the answer to the caller, with the event as the caller gave it."""
        return SentEvent(
            id=self.event_id,
            name=self.name,
            payload=self.event.payload,
            context=self.event.context,
            timestamp=self.timestamp,
            deliver_at=deliver_at,
            delivered_at=delivered_at,
            duplicate=duplicate,
        )


class SendOptions(msgspec.Struct, frozen=True):
    """The options of a send, as given."""

    deliver_at: datetime | None = None
    deliver_after: float | timedelta | None = None
    account_id: str | None = None
    wait_replicas: int | None = None
    wait_replicas_timeout: float | timedelta = 1.0
    ordering_key: str | None = None


def _check_text(field: str, value: object, index: int | None) -> str:
    if not isinstance(value, str):
        raise InvalidEvent(field, f"must be a string, not {type(value).__name__}", index)
    if not 1 <= len(value) <= MAX_TEXT:
        raise InvalidEvent(field, f"must have 1 to {MAX_TEXT} characters, not {len(value)}", index)
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidEvent(field, f"has a lone surrogate, which UTF-8 can't carry: {exc}", index) from exc
    return value if type(value) is str else str.__str__(value)  # a member of an enumeration is its text


def _check_aware(field: str, value: object, index: int | None) -> datetime:
    if not isinstance(value, datetime):
        raise InvalidEvent(field, f"must be a datetime, not {type(value).__name__}", index)
    if value.utcoffset() is None:
        reason = "is a naive datetime; give it a time zone, such as datetime.now(timezone.utc)"
        raise InvalidEvent(field, reason, index)
    if not codec.MIN_MICROS <= codec.to_micros(value) <= codec.MAX_MICROS:
        raise InvalidEvent(field, f"is outside the years 1 to 9999 in UTC: {value}", index)
    return value


def _delay_ms(value: object) -> int:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidEvent("deliver_after", f"must be seconds or a timedelta, not {type(value).__name__}")
    else:
        seconds = value
    if not 0 <= seconds <= _MAX_DELAY_S:  # not true of NaN either
        raise InvalidEvent("deliver_after", f"must be 0 to 100 years of seconds, not {value!r}")
    return round(seconds * 1000)


def when(options: SendOptions) -> str:
    """Returns the time of delivery as the send script reads it, or raises InvalidEvent."""
    if options.deliver_at is not None and options.deliver_after is not None:
        raise InvalidEvent("deliver_at", "was given together with deliver_after; give one of them")
    if options.deliver_at is not None:
        moment = _check_aware("deliver_at", options.deliver_at, None)
        return str(max(-(-codec.to_micros(moment) // 1000), 1))  # rounded up: never early
    if options.deliver_after is not None:
        delay = _delay_ms(options.deliver_after)
        return f"+{delay}" if delay else ""
    return ""


class Replicas(msgspec.Struct, frozen=True):
    """For how many replicas a send waits, and how long."""

    count: int
    timeout_ms: int


def replicas(options: SendOptions) -> Replicas | None:
    """Returns which replicas to wait for, None if none were asked for, or raises InvalidEvent."""
    count: object = options.wait_replicas
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MAX_REPLICAS:
        raise InvalidEvent("wait_replicas", f"must be 1 to {_MAX_REPLICAS} replicas or None, not {count!r}")
    given: object = options.wait_replicas_timeout
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _MAX_REPLICAS_WAIT_S:
        rule = f"must be seconds or a timedelta, above 0 and at most {_MAX_REPLICAS_WAIT_S:g} s"
        raise InvalidEvent("wait_replicas_timeout", f"{rule}, not {given!r}")
    return Replicas(count, max(round(seconds * 1000), 1))  # 0 would be for ever


def as_event(given: Event | Mapping[str, Any], index: int | None = None) -> Event:
    """Returns an Event for one given as such or as a mapping with the same keys, or raises InvalidEvent."""
    if isinstance(given, Event):
        return given
    if not isinstance(given, Mapping):
        raise InvalidEvent("event", f"must be an Event or a mapping, not {type(given).__name__}", index)
    for field in given:
        if field not in _FIELDS:
            known = ", ".join(Event.__struct_fields__)
            raise InvalidEvent(str(field), f"is no field of an event; the fields are {known}", index)
    if "name" not in given:
        raise InvalidEvent("name", "is missing; every event has a name", index)
    return Event(**given)


_UNCARRIED = (TypeError, ValueError, OverflowError, RecursionError)


def _encode(event: Event, head: _Head, micros: int, account: str | None, index: int | None) -> bytes:
    try:
        return codec.encode_event(head.name, head.source, micros, event.payload, event.context, account)
    except _UNCARRIED as exc:
        try:
            codec.encode_value(event.payload)
        except _UNCARRIED:
            raise InvalidEvent("payload", f"can't be carried by msgpack: {exc}", index) from exc
        raise InvalidEvent("context", f"can't be carried by msgpack: {exc}", index) from exc


class _Head(msgspec.Struct, frozen=True):
    """What many events of a call have in common: name and source, checked, and how many bytes they take."""

    name: str
    source: str
    identity: int


def _check_head(event: Event, index: int | None) -> _Head:
    name = _check_text("name", event.name, index)
    source = _check_text("source", event.source, index)
    return _Head(name, source, codec.identity_length(name, source))


def _marked(body: bytes, event_id: str, seal: Seal | None, index: int | None) -> bytes:
    """Returns an encoded event sealed or, without a seal, as one with an ordering key."""
    if seal is None:
        return codec.mark_ordered(body)
    try:
        return codec.seal_event(body, event_id, seal)
    except Exception as exc:
        raise InvalidEvent("payload", f"was not encoded by the codec: {type(exc).__name__}: {exc}", index) from exc


def prepare(  # noqa: PLR0913 - by which rules
    given: Iterable[Event | Mapping[str, Any]],
    options: SendOptions,
    *,
    now: Callable[[], datetime],
    max_event_bytes: int = MAX_EVENT_BYTES,
    id_kind: str = "s",
    numbered: bool = True,
    seal: Seal | None = None,
) -> list[Outgoing]:
    """Returns every event checked and encoded, in order, or raises for the first that breaks a rule.

    Args:
        id_kind: what kind the ids are that the events bring with them.
        numbered: errors name the event's place in the call.
        seal: seals payload and context.

    Raises:
        InvalidEvent: it names the field or option; no event of the call may be sent then.
    """
    due = when(options)
    account = None if options.account_id is None else _check_text("account_id", options.account_id, None)
    ordering_key = "" if options.ordering_key is None else _check_text("ordering_key", options.ordering_key, None)
    moment = now()
    moment_us = codec.to_micros(moment)
    new_ids = new_event_ids()
    heads: dict[tuple[str, str], _Head] = {}
    prepared = []
    for place, item in enumerate(given):
        index = place if numbered else None
        event = as_event(item, index)
        try:
            head = heads[event.name, event.source]
        except (KeyError, TypeError):  # not seen yet, or no texts
            head = heads[event.name, event.source] = _check_head(event, index)
        stamp = moment if event.timestamp is None else _check_aware("timestamp", event.timestamp, index)
        body = _encode(event, head, moment_us if stamp is moment else codec.to_micros(stamp), account, index)
        event_id = next(new_ids) if event.id is None else _check_text("id", event.id, index)
        if seal is not None or ordering_key:
            body = _marked(body, event_id, seal, index)
        if len(body) > max_event_bytes:
            raise EventTooLarge(len(body), max_event_bytes, index)
        kind = "c" if event.id is None else id_kind
        prepared.append(Outgoing(event_id, kind, head.name, due, head.identity, body, event, stamp, ordering_key))
    return prepared
