"""Events on their way to the server: checked, and encoded so that every worker can read them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from headrace.errors import InvalidEvent, PayloadError
from headrace.formats import codec
from headrace.formats.seal import Seal
from headrace.model.event import Event, EventStatus, SentEvent
from headrace.model.schema import Parser, class_parser
from headrace.model.typed import event_name_of
from headrace.model.values import MAX_DEPTH, find_fault, is_carried, may_be_deep

MAX_TEXT = 256


class Terms(msgspec.Struct, frozen=True, gc=False):
    """The options of an event's send, checked.

    Attributes:
        when: empty for now, `+<ms>` for a delay, `<ms>` for a time.
        ordering_key: empty for none.
        dedupe_ms: for how long the id is remembered at least, once the event has settled; 0 for as long as others.
    """

    when: str
    account: str | None
    ordering_key: str
    dedupe_ms: int


class Head(msgspec.Struct, frozen=True):
    """What many events of a call have in common: name, source and class of payload, checked, and their bytes.

    Attributes:
        source: that of the event, or of the client.
        given: the source as the events have it.
        identity: how many bytes of a body hold its format, name and source.
        shallow_bytes: a body of up to so many can't be too deep, as each level takes a byte.
        kind: the class of the payload.
        parse: makes a payload of the class out of an encoded one, if the class is a typed event's.
    """

    name: str
    source: str
    given: str | None
    identity: int
    shallow_bytes: int
    kind: type
    parse: Parser | None

    def check_payload(self, encoded: msgspec.Raw, index: int | None) -> None:
        """Raise InvalidEvent for a typed payload that does not fit its own class."""
        if self.parse is None:
            return
        try:
            self.parse(encoded)
        except PayloadError as exc:
            raise InvalidEvent("payload", f"does not fit {self.kind.__name__}: {exc}", index) from exc


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One event, checked and encoded.

    Attributes:
        id_kind: `c` the client made the id, `s` the sender gave it, `d` it is derived from a run and a key.
    """

    event_id: str
    id_kind: str
    head: Head
    terms: Terms
    body: bytes
    event: Event
    timestamp: datetime

    def sent(
        self,
        *,
        deliver_at: datetime | None = None,
        delivered_at: datetime | None = None,
        duplicate: bool = False,
        status: EventStatus | None = None,
    ) -> SentEvent:
        """Return the answer to the caller, with the event as the caller gave it."""
        return SentEvent(
            id=self.event_id,
            name=self.head.name,
            payload=self.event.payload,
            context=self.event.context,
            timestamp=self.timestamp,
            deliver_at=deliver_at,
            delivered_at=delivered_at,
            duplicate=duplicate,
            status=status or ("pending" if deliver_at is None else "delayed"),
        )


def make_encoder(source: str, seal: Seal | None, job: str | None = None, parent_run: str | None = None) -> EventEncoder:
    """Return the encoder for the events of one call.

    Args:
        source: of the events that give none.
        seal: seals payloads and contexts; None leaves them as they are.
        job: the one job that gets them, `<app>/<job id>`; None for every job that they match.
        parent_run: the run that sends them; None if no run does.
    """
    return _SealingEncoder(source, job, parent_run, seal) if seal else EventEncoder(source, job, parent_run)


class EventEncoder:
    """Encodes the events of a call, each once and in its final format, and makes sure that workers can read them.

    The first event of each name, source and class of payload is decoded as a worker would decode it, and stands for
    those like it. Each event is looked through for what is too deep, and all of a call together for what is not whole.
    A typed payload is decoded into its class: msgspec checks no type when an object is made.
    """

    def __init__(self, source: str, job: str | None, parent_run: str | None) -> None:
        self._source = source
        self._job = job
        self._parent_run = parent_run
        self._heads: dict[tuple[str, str | None, type], Head] = {}
        self._head: Head | None = None
        self._unread: list[bytes] = []

    def encode(
        self,
        event: Event,
        event_id: str,  # noqa: ARG002 - a seal needs it
        micros: int,
        account: str | None,
        headers: dict[str, str] | None,
        index: int | None,
    ) -> tuple[Head, bytes]:
        """Return the head of an event, and the event as it is stored; raise InvalidEvent."""
        head, is_first = self._head, False
        if not (  # most are as the one before
            head is not None
            and event.name is head.name
            and event.source is head.given
            and type(event.payload) is head.kind
        ):
            head, is_first = self._head_of(event, index)
        try:
            body = codec.encode_event(
                head.name,
                head.source,
                micros,
                event.payload,
                event.context,
                account,
                headers,
                self._job,
                self._parent_run,
            )
            if is_first or (len(body) > head.shallow_bytes and may_be_deep(body)):
                codec.check_event(body, whole=is_first)
            else:
                self._unread.append(body)
        except Exception as exc:  # what is given may have code of its own
            raise _uncarried(event, index) from exc
        if head.parse is not None:
            head.check_payload(codec.decode_event(body).p, index)
        return head, body

    def _head_of(self, event: Event, index: int | None) -> tuple[Head, bool]:
        """Return the head of an event, checked, and whether the event is the first with this head."""
        try:
            head, is_first = self._heads[event.name, event.source, type(event.payload)], False
        except (KeyError, TypeError):  # not seen yet, or no texts
            head, is_first = self._check_head(event, index), True
            self._heads[event.name, event.source, head.kind] = head
        self._head = head
        return head, is_first

    def _check_head(self, event: Event, index: int | None) -> Head:
        name = check_text("name", event.name, index)
        source = self._source if event.source is None else check_text("source", event.source, index)
        identity = codec.identity_length(name, source)
        kind, given = type(event.payload), event.source
        parse = _parser_of_typed(kind, name, index) if hasattr(kind, "__event__") else None
        return Head(name, source, given, identity, identity + MAX_DEPTH, kind, parse)

    def check(self, events: Iterable[Outgoing], *, numbered: bool) -> None:
        """Raise InvalidEvent for the first of the encoded events that is not whole."""
        if not self._unread or codec.are_whole(self._unread):
            return
        for place, each in enumerate(events):
            if not (is_carried(each.event.payload) and is_carried(each.event.context)):
                raise _uncarried(each.event, place if numbered else None)


class _SealingEncoder(EventEncoder):
    """Encodes the events of a call with payload and context sealed; each part is checked before the seal gets it."""

    def __init__(self, source: str, job: str | None, parent_run: str | None, seal: Seal) -> None:
        super().__init__(source, job, parent_run)
        self._seal = seal

    def encode(
        self,
        event: Event,
        event_id: str,
        micros: int,
        account: str | None,
        headers: dict[str, str] | None,
        index: int | None,
    ) -> tuple[Head, bytes]:
        """See `EventEncoder.encode`."""
        head, is_first = self._head_of(event, index)
        try:
            payload = codec.encode_part(event.payload, whole=is_first)
            context = codec.encode_part(event.context, whole=is_first)
        except Exception as exc:  # what is given may have code of its own
            raise _uncarried(event, index) from exc
        if head.parse is not None:
            head.check_payload(payload, index)
        plain = codec.StoredEvent(
            codec.FORMAT,
            head.name,
            micros,
            head.source,
            payload,
            context,
            account,
            headers,
            self._job,
            u=self._parent_run,
        )
        try:
            return head, codec.seal_event(plain, event_id, self._seal)
        except Exception as exc:
            raise InvalidEvent("payload", f"was not encoded by the codec: {type(exc).__name__}: {exc}", index) from exc


def _parser_of_typed(kind: type, name: str, index: int | None) -> Parser | None:
    own = event_name_of(kind)
    if own is None:
        return None
    if own != name:
        raise InvalidEvent("name", f"is {name!r}, and its payload is a {kind.__name__}, of {own!r} events", index)
    try:
        return class_parser(kind)
    except Exception as exc:  # a type's own code may raise anything
        raise InvalidEvent("payload", f"nothing can be decoded into its class {kind.__name__}: {exc}", index) from exc


def check_text(field: str, value: object, index: int | None) -> str:
    """Return a text of 1 to MAX_TEXT characters, or raise InvalidEvent, which names the field.

    Args:
        index: the place of the event in its call; None if it has no number.
    """
    if not isinstance(value, str):
        raise InvalidEvent(field, f"must be a string, not {type(value).__name__}", index)
    if not 1 <= len(value) <= MAX_TEXT:
        raise InvalidEvent(field, f"must have 1 to {MAX_TEXT} characters, not {len(value)}", index)
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidEvent(field, f"has a lone surrogate, which UTF-8 can't carry: {exc}", index) from exc
    return value if type(value) is str else str.__str__(value)  # a member of an enumeration is its text


def _uncarried(event: Event, index: int | None) -> InvalidEvent:
    """Return the error about an event that was refused: it names the part of the payload or context at fault."""
    payload = not is_carried(event.payload)
    at, reason = find_fault(event.payload, "payload") if payload else find_fault(event.context, "context")
    return InvalidEvent(at, reason, index)
