"""Sends an event again, as a new event whose record names the original. Pure.

The id of a replay is the original's with `~r1`, `~r2` … behind it, so sending the original again stays a duplicate, and
a repeated call, whose reply was lost, is one replay: both carry the call's token.

Two clients that replay an event at once choose the same id, and one of them is told that it is taken. That one looks
again before it takes the next number, so with `if_no_runs` it leaves alone what the other one has sent.
"""

from __future__ import annotations

import msgspec

from headrace.calls import records, sending
from headrace.calls.records import Replayable
from headrace.errors import ContentsGone, EventNotFound, HeadraceError, InvalidArgument
from headrace.formats import codec
from headrace.formats.codec import StoredEvent
from headrace.formats.keys import Keys
from headrace.formats.outgoing import MAX_TEXT, Head, Outgoing, Terms
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import Event, SentEvent
from headrace.plans.plan import Plan
from headrace.plans.read import find_partition, readable

_DERIVED = "d"
_LOOKED_AT = 10


def replay_event(  # noqa: PLR0913 - which event, and how
    partitions: Partitions,
    event_id: str,
    token: str,
    *,
    when: str = "",
    job: str | None = None,
    if_no_runs: bool = False,
    seal: Seal | None = None,
) -> Plan[SentEvent | None]:
    """Send an event again under an id of its own; return what was sent, None if it has runs and may have none.

    To be run with `partial`.

    Args:
        when: as the `when` of `Terms`.
        job: the one job that gets it, `<app>/<job id>`; None for those that the original was for.
        if_no_runs: send it only if neither the event nor a replay of it has a run, of this job if one is named, or may
            still get one; nor had one that is not remembered any more.

    Raises:
        EventNotFound: no such event is known.
        ContentsGone: its contents are not kept any more.
        SealedEvent: it is sealed, and was not opened here: a seal holds for one id.
        InvalidArgument: its id is too long to have something behind it.
    """
    original, event = yield from _original(partitions, event_id)
    first = event.r or event_id
    sealing = seal if event.v in codec.SEALED_FORMATS else None
    before = [original]
    if if_no_runs and first != event_id:
        before += yield from _first(partitions, first)
    while True:
        replays = yield from _replays_of(partitions, first, original.ordering_key)
        if if_no_runs and any(each.may_have_run(job) for each in (*before, *replays.values())):
            return None
        again = msgspec.structs.replace(_opened(event, event_id, seal), j=job or event.j, r=first, u=None)
        outgoing = _outgoing(again, f"{first}~r{max(replays, default=0) + 1}", when, sealing, original.ordering_key)
        sent = yield from _send(partitions.of(original.ordering_key or outgoing.event_id), outgoing, token)
        if not sent.duplicate:
            return sent


def _original(partitions: Partitions, event_id: str) -> Plan[tuple[Replayable, StoredEvent]]:
    keys = yield from find_partition(partitions, event_id)
    (answer,) = yield [records.read_replayable(keys, event_id)]
    found: Replayable | None = readable(keys, event_id, answer)
    if found is None:
        raise EventNotFound(event_id)
    if found.body is None:
        raise ContentsGone(event_id)
    return found, codec.decode_event(found.body)


def _send(keys: Keys, outgoing: Outgoing, token: str) -> Plan[SentEvent]:
    (answer,) = yield [sending.send(keys, [outgoing], token)]
    sent: SentEvent | HeadraceError = answer if isinstance(answer, HeadraceError) else answer[0]
    if isinstance(sent, HeadraceError):
        raise sent
    return sent


def _opened(event: StoredEvent, event_id: str, seal: Seal | None) -> StoredEvent:
    return codec.open_event(event, event_id, seal) if event.v in codec.SEALED_FORMATS else event


def _outgoing(event: StoredEvent, event_id: str, when: str, seal: Seal | None, ordering_key: str) -> Outgoing:
    if len(event_id) > MAX_TEXT:
        raise InvalidArgument("id", f"{event_id!r:.40}… would have more than {MAX_TEXT} characters as a replay's")
    body = codec.encode_stored(event) if seal is None else codec.seal_event(event, event_id, seal)
    head = Head(event.n, event.s, event.s, codec.identity_length(event.n, event.s), 0, object, None)
    payload, context = codec.decode_contents(event, event_id, None)
    stamp = codec.from_micros(event.t)
    return Outgoing(
        event_id, _DERIVED, head, Terms(when, event.a, ordering_key, 0), body,
        Event(event.n, payload, context, event_id, stamp, event.s), stamp,
    )  # fmt: skip


def _first(partitions: Partitions, event_id: str) -> Plan[list[Replayable]]:
    """Return the first original of a replay; nothing where it is not known any more."""
    keys = yield from find_partition(partitions, event_id)
    (answer,) = yield [records.read_replayable(keys, event_id)]
    found: Replayable | None = readable(keys, event_id, answer)
    return [] if found is None else [found]


def _replays_of(partitions: Partitions, first: str, ordering_key: str) -> Plan[dict[int, Replayable]]:
    """Return the replays of an event that are known, by their numbers; one may be forgotten before a later one is."""
    found: dict[int, Replayable] = {}
    begin = 1
    while True:
        numbers = range(begin, begin + _LOOKED_AT)
        ids = [f"{first}~r{number}" for number in numbers]
        places = [partitions.of(ordering_key or each) for each in ids]
        answers = yield [records.read_replayable(keys, each) for keys, each in zip(places, ids, strict=True)]
        for number, keys, each, answer in zip(numbers, places, ids, answers, strict=True):
            replay: Replayable | None = readable(keys, each, answer)
            if replay is not None:
                found[number] = replay
        begin = numbers.stop
        if numbers[-1] not in found:
            return found
