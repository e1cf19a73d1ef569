"""Entries of streams become deliveries and events; an entry that Headrace did not write is refused with a reason."""

from __future__ import annotations

import pytest

from headrace import UndecodableEvent
from headrace.formats.codec import RunState, encode_event
from headrace_worker.protocol.delivery import Stream, decode_delivery, decode_event_entry, entries_of

QUEUE = Stream("queue:app/default", "workers", "wake-up:app", "app", "default")
BODY = encode_event("user.new", "trigger.dev", 0, {"a": 1}, None, None)


def _fields(**values: bytes) -> list[bytes]:
    return [part for name, value in values.items() for part in (name.encode(), value)]


def test_a_first_delivery_has_its_body_and_no_state() -> None:
    """Its run's id is the event's and the job's."""
    delivery = decode_delivery(QUEUE, (b"1700000000000-7", _fields(e="e:1/ü".encode(), j=b"job", s=b"", b=BODY)))
    assert (delivery.entry, delivery.event_id, delivery.job_id) == ("1700000000000-7", "e:1/ü", "job")
    assert delivery.state == RunState()
    assert delivery.body == BODY
    assert delivery.job == "app/job"
    assert delivery.run_id == "e:1/ü:app/job"
    assert delivery.queued_ms == 1_700_000_000_000


def test_a_later_delivery_has_its_attempt_and_body_size() -> None:
    """An empty body is in the record; fields that are not known do not matter."""
    delivery = decode_delivery(QUEUE, (b"1-0", _fields(b=b"", s=b"3 1 99 1 70000", j=b"job", e=b"x", new=b"y")))
    assert delivery.state == RunState(3, 1, 99, 1)
    assert (delivery.body, delivery.size) == (None, 70_000)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (None, "was deleted from its stream"),
        ([], "has no field 'e'"),
        (_fields(hello=b"world"), "has no field 'e'"),
        (_fields(e=b"x", b=b""), "has no field 'j'"),
        (_fields(e=b"x", j=b"job"), "has no field 'b'"),
        (_fields(e=b"\xff", j=b"job", b=b""), "is no text"),
        (_fields(e=b"x", j=b"\xff", b=b""), "is no text"),
        (_fields(e=b"", j=b"job", b=BODY), "event id is empty"),
        (_fields(e=b"x", j=b"", b=BODY), "is not a name"),
        (_fields(e=b"x", j=b"a:b", b=BODY), "is not a name"),
        (_fields(e=b"x", j=b"a/b", b=BODY), "is not a name"),
        (_fields(e=b"x", j=b"job", s=b"1 0 0", b=BODY), "not five numbers"),
        (_fields(e=b"x", j=b"job", s=b"1 0 0 0 x", b=BODY), "not five numbers"),
        (_fields(e=b"x", j=b"job", s=b"-1 0 0 0 0", b=BODY), "not five numbers"),
        (_fields(e=b"x", j=b"job", s=b"0 0 0 0 0", b=BODY), "not five numbers"),
        (_fields(e=b"x", j=b"job", s=b"1 0 0 0 99999999999999999999", b=BODY), "not five numbers"),
        (_fields(e=b"x", j=b"job", s=b"1_0 0 0 0 0", b=BODY), "not five numbers"),
        (_fields(e=b"x", j=b"job", s="\uff11 0 0 0 0".encode(), b=BODY), "not five numbers"),
    ],
)
def test_an_entry_of_a_queue_that_is_none_of_ours_is_refused(fields: list[bytes] | None, said: str) -> None:
    """The error says what is wrong with it, and the scripts never see its numbers and names."""
    with pytest.raises(UndecodableEvent, match=said):
        decode_delivery(QUEUE, (b"1-0", fields))


def test_an_entry_of_events_has_its_event_or_its_size() -> None:
    """A small event is inside, a large one is in the record."""
    small = decode_event_entry((b"1-0", _fields(i=b"x", z=b"30", b=BODY)))
    assert (small.entry, small.event_id, small.size) == ("1-0", "x", 30)
    assert small.event is not None
    assert small.event.n == "user.new"
    large = decode_event_entry((b"1-0", _fields(i=b"x", z=b"70000", b=b"")))
    assert (large.size, large.event) == (70_000, None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (None, "was deleted from its stream"),
        (_fields(x=b""), "has no field 'i'"),
        (_fields(i=b"x", b=b""), "has no field 'z'"),
        (_fields(i=b"\xff", z=b"1", b=b""), "can't be read"),
        (_fields(i=b"", z=b"1", b=b""), "event id is empty"),
        (_fields(i=b"x", z=b"many", b=b""), "can't be read"),
        (_fields(i=b"x", z=b"-1", b=b""), "can't be read"),
        (_fields(i=b"x", z=b"5", b=b"hello"), "are not an event"),
    ],
)
def test_an_entry_of_events_that_is_none_of_ours_is_refused(fields: list[bytes] | None, said: str) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(UndecodableEvent, match=said):
        decode_event_entry((b"1-0", fields))


def test_a_read_that_gives_nothing_has_no_entries() -> None:
    """A read's time ran out, or the stream is empty."""
    assert entries_of(None) == []
    assert entries_of([[b"stream", [[b"1-0", [b"a", b"b"]], [b"2-0", None]]]]) == [
        (b"1-0", [b"a", b"b"]),
        (b"2-0", None),
    ]
