"""Sends events: batches, the call that sends one, and what its reply says of each event. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, script_call
from headrace.calls.indexing import MOST_INDEX_ENTRIES
from headrace.calls.records import naming_record
from headrace.errors import DamagedRecord, EventConflict, HeadraceError
from headrace.formats import codec
from headrace.formats.keys import Keys
from headrace.formats.outgoing import Outgoing
from headrace.formats.records import decode_header
from headrace.formats.seal import Seal
from headrace.model.event import SentEvent

MAX_BATCH_EVENTS = 500
MAX_BATCH_BYTES = 4_194_304


def batches(events: Sequence[Outgoing]) -> list[Sequence[Outgoing]]:
    """Return the events in groups of at most 500 and 4 MB, in order, so that no script holds the server up."""
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


class _Arguments(msgspec.Struct, frozen=True):
    """What `send.lua` reads beside its keys and bodies; its header says what each is."""

    token: str
    listed: int
    inline: int
    events: list[tuple[str, str, str, str, int]]
    orders: list[str]
    ordered: dict[int, int]
    dedupe: dict[int, int]


def send(
    keys: Keys, events: Sequence[Outgoing], token: str, seal: Seal | None = None
) -> Call[list[SentEvent | HeadraceError]]:
    """Send one batch; read what each event became, or why it was not sent, in order."""
    orders: dict[str, int] = {}
    ordered: dict[int, int] = {}
    dedupe: dict[int, int] = {}
    for place, event in enumerate(events, 1):
        terms = event.terms
        if terms.ordering_key:
            ordered[place] = orders.setdefault(terms.ordering_key, len(orders) + 1)
        if terms.dedupe_ms:
            dedupe[place] = terms.dedupe_ms
    described = [
        (event.event_id, event.id_kind, event.terms.when, event.head.name, event.head.identity) for event in events
    ]
    args = _Arguments(token, MOST_INDEX_ENTRIES, codec.INLINE_BYTES, described, [*orders], ordered, dedupe)
    names = [keys.events, keys.due, keys.wake, keys.recent]
    if orders:
        names += [keys.order(each) for each in orders]
    names += [keys.event(event.event_id) for event in events]
    argv = (pack(args), *(event.body for event in events))
    return script_call("send", names, argv, lambda reply: _read_sent(keys, events, reply, seal))


def wait_replicas(count: int, timeout_ms: int) -> Call[int]:
    """Read how many replicas have all that its connection has written, once `count` have or the time is up."""
    return Call(("WAIT", count, timeout_ms), int)


def _read_sent(
    keys: Keys, events: Sequence[Outgoing], reply: list[Any], seal: Seal | None
) -> list[SentEvent | HeadraceError]:  # fmt: skip
    now_ms = int(reply[0])
    now = codec.from_millis(now_ms)
    sent: list[SentEvent | HeadraceError] = []
    for event in events:
        due_ms = due_ms_of(event.terms.when, now_ms) if event.terms.when else 0
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


def due_ms_of(when: str, now_ms: int) -> int:
    """Return when an event that is not sent for now is due, by the `when` of `Outgoing`; it may be past."""
    return now_ms + int(when[1:]) if when[0] == "+" else int(when)


def _read_duplicate(
    keys: Keys, event: Outgoing, header_text: bytes, body: bytes, seal: Seal | None
) -> SentEvent | EventConflict | DamagedRecord:
    """Return the event that was sent before, or the error that its record can't be read, which fails no other event."""
    try:
        with naming_record(keys, event.event_id):
            return _decode_duplicate(event, header_text, body, seal)
    except DamagedRecord as exc:
        return exc


def _decode_duplicate(
    event: Outgoing, header_text: bytes, body: bytes, seal: Seal | None
) -> SentEvent | EventConflict:  # fmt: skip
    header = decode_header(header_text)
    delivered = codec.from_millis(header.delivered_ms) if header.delivered_ms else None
    due = codec.from_millis(header.due_ms) if header.due_ms else None
    if not body:  # retention=0 dropped the contents; what was sent now is the best answer there is
        return event.sent(deliver_at=due, delivered_at=delivered, duplicate=True, status=header.status)
    stored = codec.decode_event(body)
    if (stored.n, stored.s) != (event.head.name, event.head.source) and event.id_kind != "d":
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
