"""Turns what a caller gives to a send into what is sent, or says which field breaks which rule. Pure.

The clock is passed in. Ids are made here, before the first attempt to send, so that a repeated send is the same send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from headrace.errors import EventTooLarge, InvalidEvent
from headrace.formats import codec
from headrace.formats.outgoing import Outgoing, check_text, make_encoder
from headrace.formats.seal import Seal
from headrace.model.event import Event
from headrace.model.ids import new_event_ids
from headrace.model.moments import MAX_DURATION_S, aware_moment, seconds_of
from headrace.model.typed import TypedEvent, event_name_of

AnyEvent = Event | Mapping[str, Any] | TypedEvent
"""What a send takes for an event."""

MAX_EVENT_BYTES = 1_048_576
_FIELDS = frozenset(Event.__struct_fields__)
_MAX_REPLICAS = 1_000
_MAX_REPLICAS_WAIT_S = 5.0
"""Well below the time after which an answer that does not come is taken for a lost line."""


class SendOptions(msgspec.Struct, frozen=True):
    """The options of a send, as given.

    Attributes:
        job: the one job that gets the events, `<app>/<job id>`, whatever its trigger; None for every job that they
            match. Only operators' commands have it.
    """

    deliver_at: datetime | None = None
    deliver_after: float | timedelta | None = None
    account_id: str | None = None
    wait_replicas: int | None = None
    wait_replicas_timeout: float | timedelta = 1.0
    ordering_key: str | None = None
    job: str | None = None


class Replicas(msgspec.Struct, frozen=True):
    """For how many replicas a send waits, and how long."""

    count: int
    timeout_ms: int


def prepare(  # noqa: PLR0913 - by which rules
    given: Iterable[AnyEvent],
    options: SendOptions,
    *,
    now: Callable[[], datetime],
    max_event_bytes: int = MAX_EVENT_BYTES,
    id_kind: str = "s",
    numbered: bool = True,
    seal: Seal | None = None,
) -> list[Outgoing]:
    """Return every event checked and encoded, in order, or raise for the first that breaks a rule.

    Args:
        now: the clock, for events without a timestamp.
        max_event_bytes: refuse an event that is larger once it is encoded.
        id_kind: the kind of the ids that events bring with them; see `Outgoing`.
        numbered: let errors name the event's place in the call.
        seal: seals payload and context.

    Raises:
        InvalidEvent: it names the field or option; no event of the call may be sent then.
    """
    if not isinstance(given, Iterable):
        raise InvalidEvent("events", f"must be several Events or mappings, not {type(given).__name__}")
    due = when(options)
    account = None if options.account_id is None else check_text("account_id", options.account_id, None)
    ordering_key = "" if options.ordering_key is None else check_text("ordering_key", options.ordering_key, None)
    moment = now()
    moment_us = codec.to_micros(moment)
    new_ids = new_event_ids()
    encoder = make_encoder(account, seal, options.job)
    encode = encoder.encode
    prepared: list[Outgoing] = []
    for place, item in enumerate(given):
        index = place if numbered else None
        event = item if type(item) is Event else as_event(item, index)
        stamp = moment if event.timestamp is None else _check_aware("timestamp", event.timestamp, index)
        if event.id is None:
            event_id, kind = next(new_ids), "c"
        else:
            event_id, kind = check_text("id", event.id, index), id_kind
        head, body = encode(event, event_id, moment_us if stamp is moment else codec.to_micros(stamp), index)
        if len(body) > max_event_bytes:
            raise EventTooLarge(len(body), max_event_bytes, index)
        prepared.append(Outgoing(event_id, kind, head.name, due, head.identity, body, event, stamp, ordering_key))
    encoder.check(prepared, numbered=numbered)
    return prepared


def as_event(given: AnyEvent, index: int | None = None) -> Event:
    """Return an Event for one given as such, as its typed payload, or as a mapping; or raise InvalidEvent."""
    if isinstance(given, Event):
        return given
    if (name := event_name_of(type(given))) is not None:
        return Event(name, given)
    if not isinstance(given, Mapping):
        what = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
        raise InvalidEvent("event", f"must be an Event, a typed event or a mapping, not {what}", index)
    for field in given:
        if field not in _FIELDS:
            known = ", ".join(Event.__struct_fields__)
            raise InvalidEvent(str(field), f"is no field of an event; the fields are {known}", index)
    if "name" not in given:
        raise InvalidEvent("name", "is missing; every event has a name", index)
    return Event(**given)


def when(options: SendOptions) -> str:
    """Return the time of delivery as the send script reads it, or raise InvalidEvent."""
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


def replicas_of(options: SendOptions) -> Replicas | None:
    """Return which replicas to wait for, None if none were asked for, or raise InvalidEvent."""
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


def _delay_ms(value: object) -> int:
    seconds = seconds_of(value)
    if seconds is None:
        raise InvalidEvent("deliver_after", f"must be seconds or a timedelta, not {type(value).__name__}")
    if not 0 <= seconds <= MAX_DURATION_S:  # not true of NaN either
        raise InvalidEvent("deliver_after", f"must be 0 to 100 years of seconds, not {value!r}")
    return round(seconds * 1000)


def _check_aware(field: str, value: object, index: int | None) -> datetime:
    """Return the datetime as one of Python's own, whatever library it is of."""
    try:
        moment = aware_moment(value)
        micros = codec.to_micros(moment)
    except Exception as exc:  # a zone's own code may raise anything
        raise InvalidEvent(field, str(exc), index) from exc
    if not codec.MIN_MICROS <= micros <= codec.MAX_MICROS:
        raise InvalidEvent(field, f"is outside the years 1 to 9999 in UTC: {moment.replace(tzinfo=None)}", index)
    return moment
