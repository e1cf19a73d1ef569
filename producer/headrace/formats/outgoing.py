"""Turns what a caller gives to a send into what is sent, or says which field breaks which rule. Pure.

The clock is passed in; ids are made here, before the first attempt to send, so that a retry of a send is
the same send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from headrace.errors import EventTooLarge, InvalidEvent
from headrace.formats import codec
from headrace.formats.seal import Seal
from headrace.model.event import Event, EventStatus, SentEvent
from headrace.model.ids import new_event_ids
from headrace.model.moments import MAX_DURATION_S, aware_moment, seconds_of
from headrace.model.values import MAX_DEPTH, find_fault, is_carried, may_be_deep

MAX_EVENT_BYTES = 1_048_576
MAX_TEXT = 256
_FIELDS = frozenset(Event.__struct_fields__)
_MAX_REPLICAS = 1_000
_MAX_REPLICAS_WAIT_S = 5.0
"""Well below the time after which an answer that does not come is taken for a lost line."""


class Outgoing(msgspec.Struct, frozen=True, gc=False):
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
        self,
        *,
        deliver_at: datetime | None = None,
        delivered_at: datetime | None = None,
        duplicate: bool = False,
        status: EventStatus | None = None,
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
            status=status or ("delivered" if deliver_at is None else "delayed"),
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
    """Returns the datetime as one of Python's own, whatever library it is of."""
    try:
        moment = aware_moment(value)
        micros = codec.to_micros(moment)
    except Exception as exc:  # a zone's own code may raise anything
        raise InvalidEvent(field, str(exc), index) from exc
    if not codec.MIN_MICROS <= micros <= codec.MAX_MICROS:
        raise InvalidEvent(field, f"is outside the years 1 to 9999 in UTC: {moment.replace(tzinfo=None)}", index)
    return moment


def _delay_ms(value: object) -> int:
    seconds = seconds_of(value)
    if seconds is None:
        raise InvalidEvent("deliver_after", f"must be seconds or a timedelta, not {type(value).__name__}")
    if not 0 <= seconds <= MAX_DURATION_S:  # not true of NaN either
        raise InvalidEvent("deliver_after", f"must be 0 to 100 years of seconds, not {value!r}")
    return round(seconds * 1000)


def when(options: SendOptions) -> str:
    """Returns the time of delivery as the send script reads it, or raises InvalidEvent."""
    if options.deliver_at is not None and options.deliver_after is not None:
        raise InvalidEvent("deliver_at", "was given together with deliver_after; give one of them")
    if options.deliver_at is not None:
        moment = _check_aware("deliver_at", options.deliver_at, None)
        millis = -(-codec.to_micros(moment) // 1000)  # rounded up: never early
        return str(min(max(millis, 1), codec.MAX_MILLIS))
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
    seconds = seconds_of(given)
    if seconds is None or not 0 < seconds <= _MAX_REPLICAS_WAIT_S:
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


def _uncarried(event: Event, index: int | None) -> InvalidEvent:
    """Returns the error about an event that was refused: it names the part of the payload or context at fault."""
    payload = not is_carried(event.payload)
    at, reason = find_fault(event.payload, "payload") if payload else find_fault(event.context, "context")
    return InvalidEvent(at, reason, index)


class _Head(msgspec.Struct, frozen=True):
    """What many events of a call have in common: name and source, checked, and how many bytes they take.

    Attributes:
        shallow_bytes: a body of up to so many can't be too deep, as each level takes a byte.
    """

    name: str
    source: str
    identity: int
    shallow_bytes: int


def _check_head(event: Event, index: int | None) -> _Head:
    name = _check_text("name", event.name, index)
    source = _check_text("source", event.source, index)
    identity = codec.identity_length(name, source)
    return _Head(name, source, identity, identity + MAX_DEPTH)


class _Encoder:
    """Encodes the events of a call, each once and in its final format, and makes sure that workers can read them.

    The first event of each name and source is decoded as a worker would decode it, and stands for those like it. Each
    event is looked through for what is too deep, and all of a call together for what is not whole.
    """

    def __init__(self, account: str | None, *, is_ordered: bool) -> None:
        self._account = account
        self._encode = codec.encode_ordered_event if is_ordered else codec.encode_event
        self._heads: dict[tuple[str, str], _Head] = {}
        self._head: _Head | None = None
        self._unread: list[bytes] = []

    def encode(self, event: Event, event_id: str, micros: int, index: int | None) -> tuple[_Head, bytes]:  # noqa: ARG002 - a seal needs the id
        """Return the head of an event, and the event as it is stored; raise InvalidEvent."""
        head, is_first = self._head, False
        if head is None or event.name is not head.name or event.source is not head.source:  # most are as the one before
            head, is_first = self._head_of(event, index)
        try:
            body = self._encode(head.name, head.source, micros, event.payload, event.context, self._account)
            if is_first or (len(body) > head.shallow_bytes and may_be_deep(body)):
                codec.check_event(body, whole=is_first)
            else:
                self._unread.append(body)
        except Exception as exc:  # what is given may have code of its own
            raise _uncarried(event, index) from exc
        return head, body

    def _head_of(self, event: Event, index: int | None) -> tuple[_Head, bool]:
        """Return the head of an event, checked, and whether the event is the first with this head."""
        try:
            head, is_first = self._heads[event.name, event.source], False
        except (KeyError, TypeError):  # not seen yet, or no texts
            head, is_first = _check_head(event, index), True
            self._heads[event.name, event.source] = head
        self._head = head
        return head, is_first

    def check(self, events: Iterable[Outgoing], *, numbered: bool) -> None:
        """Raise InvalidEvent for the first of the encoded events that is not whole."""
        if not self._unread or codec.are_whole(self._unread):
            return
        for place, each in enumerate(events):
            if not (is_carried(each.event.payload) and is_carried(each.event.context)):
                raise _uncarried(each.event, place if numbered else None)


class _SealingEncoder(_Encoder):
    """Encodes the events of a call with payload and context sealed; each part is checked before the seal gets it."""

    def __init__(self, account: str | None, seal: Seal) -> None:
        super().__init__(account, is_ordered=False)
        self._seal = seal

    def encode(self, event: Event, event_id: str, micros: int, index: int | None) -> tuple[_Head, bytes]:
        """See `_Encoder.encode`."""
        head, is_first = self._head_of(event, index)
        try:
            payload = codec.encode_part(event.payload, whole=is_first)
            context = codec.encode_part(event.context, whole=is_first)
        except Exception as exc:  # what is given may have code of its own
            raise _uncarried(event, index) from exc
        plain = codec.StoredEvent(codec.FORMAT, head.name, micros, head.source, payload, context, self._account)
        try:
            return head, codec.seal_event(plain, event_id, self._seal)
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
    encoder = _SealingEncoder(account, seal) if seal else _Encoder(account, is_ordered=bool(ordering_key))
    encode = encoder.encode
    prepared: list[Outgoing] = []
    for place, item in enumerate(given):
        index = place if numbered else None
        event = item if type(item) is Event else as_event(item, index)
        stamp = moment if event.timestamp is None else _check_aware("timestamp", event.timestamp, index)
        if event.id is None:
            event_id, kind = next(new_ids), "c"
        else:
            event_id, kind = _check_text("id", event.id, index), id_kind
        head, body = encode(event, event_id, moment_us if stamp is moment else codec.to_micros(stamp), index)
        if len(body) > max_event_bytes:
            raise EventTooLarge(len(body), max_event_bytes, index)
        prepared.append(Outgoing(event_id, kind, head.name, due, head.identity, body, event, stamp, ordering_key))
    encoder.check(prepared, numbered=numbered)
    return prepared
