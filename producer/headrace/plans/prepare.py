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
from headrace.formats.headers import merge_headers
from headrace.formats.outgoing import Outgoing, Terms, check_text, make_encoder
from headrace.formats.seal import Seal
from headrace.model.event import DEFAULT_SOURCE, Event
from headrace.model.ids import new_event_ids
from headrace.model.moments import MAX_DURATION_S, aware_moment, seconds_of
from headrace.model.typed import TypedEvent, event_name_of, unnamed

AnyEvent = Event | Mapping[str, Any] | TypedEvent
"""What a send takes for an event."""

MAX_EVENT_BYTES = 1_048_576
_FIELDS = frozenset(Event.__struct_fields__)
_MAX_REPLICAS = 1_000
_MAX_REPLICAS_WAIT_S = 5.0
"""Well below the time after which an answer that does not come is taken for a lost line."""


class SendOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How an event is sent: beside an event of `send_events`, in place of what the call says for all of them.

    Attributes:
        deliver_at: an aware datetime; one in the past delivers now. Not together with `deliver_after`.
        deliver_after: seconds >= 0, or a timedelta; 0 delivers now, whatever the call says.
        account_id: reaches the job as `ctx.account.id`.
        ordering_key: runs of events with the same key begin in the order in which they were sent, one at a time for
            each job; 1 to 256 characters.
        dedupe_for: seconds, or a timedelta, for which the event's id is remembered at least, from when the event has
            settled: so long sending the id again triggers nothing. Never shorter than the workers' retention has it,
            which is 24 hours unless they say another. The event needs an id of its own.
    """

    deliver_at: datetime | None = None
    deliver_after: float | timedelta | None = None
    account_id: str | None = None
    ordering_key: str | None = None
    dedupe_for: float | timedelta | None = None

    def before(self, call: SendOptions) -> SendOptions:
        """Return the options with what these leave out as the call has it."""
        own = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        if self.deliver_at is not None or self.deliver_after is not None:
            call = msgspec.structs.replace(call, deliver_at=None, deliver_after=None)
        return msgspec.structs.replace(call, **own)


Item = AnyEvent | tuple[AnyEvent, SendOptions]
"""What `send_events` takes for an event: one, or a pair of one and its options."""


class Replicas(msgspec.Struct, frozen=True):
    """For how many replicas a send waits, and how long."""

    count: int
    timeout_ms: int


def prepare(  # noqa: PLR0913 - by which rules
    given: Iterable[Item],
    options: SendOptions,
    *,
    now: Callable[[], datetime],
    max_event_bytes: int = MAX_EVENT_BYTES,
    id_kind: str = "s",
    numbered: bool = True,
    seal: Seal | None = None,
    source: str = DEFAULT_SOURCE,
    headers: dict[str, str] | None = None,
    job: str | None = None,
    parent_run: str | None = None,
) -> list[Outgoing]:
    """Return every event checked and encoded, in order, or raise for the first that breaks a rule.

    Args:
        options: of the call; those beside an event go before them.
        now: the clock, for events without a timestamp.
        max_event_bytes: refuse an event that is larger once it is encoded.
        id_kind: the kind of the ids that events bring with them; see `Outgoing`.
        numbered: let errors name the event's place in the call.
        seal: seals payload and context.
        source: of the events that give none.
        headers: of all events, checked; those of an event go before them.
        job: the one job that gets the events, `<app>/<job id>`, whatever its trigger; None for all that they match.
        parent_run: the run that sends them; None if no run does.

    Raises:
        InvalidEvent: it names the field or option; no event of the call may be sent then.
    """
    if not isinstance(given, Iterable):
        raise InvalidEvent("events", f"must be several Events or mappings, not {type(given).__name__}")
    common = _terms_of(options, None)
    moment = now()
    moment_us = codec.to_micros(moment)
    new_ids = new_event_ids()
    encoder = make_encoder(source, seal, job, parent_run)
    encode = encoder.encode
    prepared: list[Outgoing] = []
    for place, item in enumerate(given):
        index = place if numbered else None
        event, terms = (item, common) if type(item) is Event else _read_item(item, options, common, index)
        stamp = moment if event.timestamp is None else _check_aware("timestamp", event.timestamp, index)
        event_id, kind = (next(new_ids), "c") if event.id is None else (check_text("id", event.id, index), id_kind)
        if terms.dedupe_ms:
            _check_dedupe(kind, index)
        own = headers if event.headers is None else merge_headers(headers, event.headers, index)
        micros = moment_us if stamp is moment else codec.to_micros(stamp)
        head, body = encode(event, event_id, micros, terms.account, own or None, index)
        if len(body) > max_event_bytes:
            raise EventTooLarge(len(body), max_event_bytes, index)
        prepared.append(Outgoing(event_id, kind, head, terms, body, event, stamp))
    encoder.check(prepared, numbered=numbered)
    return prepared


def _terms_of(options: SendOptions, index: int | None) -> Terms:
    account, ordering_key, dedupe_for = options.account_id, options.ordering_key, options.dedupe_for
    return Terms(
        when(options, index),
        None if account is None else check_text("account_id", account, index),
        "" if ordering_key is None else check_text("ordering_key", ordering_key, index),
        0 if dedupe_for is None else _duration_ms("dedupe_for", dedupe_for, index),
    )


def _read_item(item: Item, options: SendOptions, common: Terms, index: int | None) -> tuple[Event, Terms]:
    event, own = split(item, index)
    return event, common if own is None else _terms_of(own.before(options), index)


def split(item: Item, index: int | None = None) -> tuple[Event, SendOptions | None]:
    """Return the event of an item and the options beside it, or raise InvalidEvent."""
    if type(item) is not tuple:
        return as_event(item, index), None  # type: ignore[arg-type] # no pair
    match item:
        case (given, SendOptions() as own):
            return as_event(given, index), own
    raise InvalidEvent("event", "must be one event, or one in a pair with its SendOptions", index)


def as_event(given: AnyEvent, index: int | None = None) -> Event:
    """Return an Event for one given as such, as its typed payload, or as a mapping; or raise InvalidEvent."""
    if isinstance(given, Event):
        return given
    if (name := event_name_of(type(given))) is not None:
        return Event(name, given)
    if not isinstance(given, Mapping):
        what = _no_event(given, index)
        raise InvalidEvent("event", f"must be an Event, a typed event or a mapping, not {what}", index)
    for field in given:
        if field not in _FIELDS:
            known = ", ".join(Event.__struct_fields__)
            raise InvalidEvent(str(field), f"is no field of an event; the fields are {known}", index)
    if "name" not in given:
        raise InvalidEvent("name", "is missing; every event has a name", index)
    return Event(**given)


def _no_event(given: object, index: int | None) -> str:
    """Return what was given in place of an event, and what may have been meant."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    kind = type(given)
    hint = "; send_events sends several" if isinstance(given, list) and index is None else ""
    hint = hint if kind.__module__ == "builtins" else f": {unnamed(kind)}"
    return f"{kind.__name__}{hint}"


def when(options: SendOptions, index: int | None = None) -> str:
    """Return the time of delivery as the send script reads it, or raise InvalidEvent."""
    if options.deliver_at is not None and options.deliver_after is not None:
        raise InvalidEvent("deliver_at", "was given together with deliver_after; give one of them", index)
    if options.deliver_at is not None:
        moment = _check_aware("deliver_at", options.deliver_at, index)
        millis = -(-codec.to_micros(moment) // 1000)  # rounded up: never early
        return str(min(max(millis, 1), codec.MAX_MILLIS))
    if options.deliver_after is not None:
        delay = _duration_ms("deliver_after", options.deliver_after, index)
        return f"+{delay}" if delay else ""
    return ""


def replicas_of(count: object, timeout: object) -> Replicas:
    """Return which replicas to wait for, or raise InvalidEvent."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MAX_REPLICAS:
        raise InvalidEvent("wait_replicas", f"must be 1 to {_MAX_REPLICAS} replicas or None, not {count!r}")
    seconds = seconds_of(timeout)
    if seconds is None or not 0 < seconds <= _MAX_REPLICAS_WAIT_S:
        rule = f"must be seconds or a timedelta, above 0 and at most {_MAX_REPLICAS_WAIT_S:g} s"
        raise InvalidEvent("wait_replicas_timeout", f"{rule}, not {timeout!r}")
    return Replicas(count, max(round(seconds * 1000), 1))  # 0 would be for ever


def _check_dedupe(id_kind: str, index: int | None) -> None:
    """Refuse to lengthen how long an id is remembered that is not the sender's."""
    if id_kind == "c":
        raise InvalidEvent("dedupe_for", "needs an event with an id: no later send has one that is made here", index)
    if id_kind != "s":
        reason = "is not for events that a job sends: their ids are remembered as long as failures are kept"
        raise InvalidEvent("dedupe_for", reason, index)


def _duration_ms(field: str, value: object, index: int | None) -> int:
    seconds = seconds_of(value)
    if seconds is None:
        raise InvalidEvent(field, f"must be seconds or a timedelta, not {type(value).__name__}", index)
    if not 0 <= seconds <= MAX_DURATION_S:  # not true of NaN either
        raise InvalidEvent(field, f"must be 0 to 100 years of seconds, not {value!r}", index)
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
