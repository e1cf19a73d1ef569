"""What is stored is small, can be read by other releases, and is refused by name where it is damaged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from headrace import RunError, UndecodableEvent
from headrace.formats.codec import (
    FIRST,
    RunState,
    decode_entry_state,
    decode_event,
    decode_outcome,
    encode_event,
    encode_outcome,
    from_micros,
    from_millis,
    identity_length,
    to_micros,
)
from headrace.formats.records import Header, decode_header, decode_record, decode_run
from headrace.model.values import decode_value

pack = msgspec.msgpack.encode
BODY = encode_event("user.new", "trigger.dev", 1_700_000_000_000_000, {"a": 1}, None, None)


# Events.


def test_an_event_is_a_map_with_its_format_and_no_defaults() -> None:
    """What is None is left out; name and source come first, for the send script compares them as bytes."""
    assert msgspec.msgpack.decode(BODY) == {
        "v": 1,
        "n": "user.new",
        "s": "trigger.dev",
        "t": 1_700_000_000_000_000,
        "p": {"a": 1},
    }
    assert list(msgspec.msgpack.decode(BODY)) == ["v", "n", "s", "t", "p"]


@pytest.mark.parametrize(
    ("name", "source"), [("a", "b"), ("n" * 256, "s" * 256), ("\U0001f300" * 256, "é"), ("x" * 31, "x" * 32)]
)
def test_the_identity_is_format_name_and_source(name: str, source: str) -> None:
    """Its bytes end where the timestamp begins, for texts of every length."""
    length = identity_length(name, source)
    body = encode_event(name, source, 0, "payload", "context", "account")
    assert body[length:].startswith(b"\xa1t\x00")
    assert body[1:length] == encode_event(name, source, 99, None, None, None)[1:length]


def test_readers_ignore_what_they_do_not_know() -> None:
    """A later release may add fields."""
    event = decode_event(pack({"v": 1, "n": "a", "t": 5, "new": [1, 2]}))
    assert (event.n, event.t, event.s, event.a) == ("a", 5, "trigger.dev", None)
    assert (decode_value(event.p), decode_value(event.c)) == (None, None)


@pytest.mark.parametrize("version", [3, 4])
def test_an_event_for_one_job_names_it(version: int) -> None:
    """Its format says that only that job gets it, so without the job it is damaged."""
    assert decode_event(pack({"v": version, "n": "a", "t": 5, "j": "app/job"})).j == "app/job"
    with pytest.raises(UndecodableEvent, match=f"format {version}, which is for one job, and names none"):
        decode_event(pack({"v": version, "n": "a", "t": 5}))


@pytest.mark.parametrize("version", [0, 5, -1, 2**63])
def test_another_format_is_refused(version: int) -> None:
    """The error says which one it is, and what to do."""
    with pytest.raises(UndecodableEvent, match=f"format {version}, this release reads up to 4; upgrade the workers"):
        decode_event(pack({"v": version, "n": "a", "t": 5}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x80",
        BODY[:-1],
        BODY + b"\x00",
        b"\x91" * 100_000,
        pack([1, "a"]),
        pack({"v": 1, "n": "a"}),
        pack({"v": 1, "n": 7, "t": 5}),
        pack({"v": "1", "n": "a", "t": 5}),
        pack({"v": 1, "n": "a", "t": 2**63}),
        pack({"v": 1, "n": "a", "t": -(2**63)}),
        pack({"v": 1, "n": "a", "t": 5, "a": 7}),
        b"\x83\xa1v\x01\xa1t\x05\xa1n\xa1\xff",
    ],
    ids=range(14),
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    """Cut short, with a tail, of the wrong shape, out of range, nested without end: always the same error."""
    with pytest.raises(UndecodableEvent):
        decode_event(body)


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x91" * 100_000, b"\xa1\xff", b"\x81\x80\x01"], ids=range(5))
def test_a_damaged_value_is_refused(raw: bytes) -> None:
    """A payload is only looked at when someone needs it."""
    with pytest.raises(UndecodableEvent, match="damaged msgpack"):
        decode_value(raw)


# Times.


def test_times_are_exact() -> None:
    """Microseconds and milliseconds are counted in whole numbers, before 1970 too."""
    moment = datetime(2038, 1, 19, 3, 14, 7, 999_999, tzinfo=UTC)
    assert from_micros(to_micros(moment)) == moment
    assert to_micros(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
    assert from_millis(1_700_000_000_123) == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)


# Records.


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"tok0.1 c 1700000000000 0 0 -", "delayed"),
        (b"tok0.1 s 0 1700000000000 0 -", "pending"),
        (b"tok0.1 s 1700000000000 1700000000001 0 3", "dispatched"),
        (b"tok0.1 d 1700000000000 0 1700000000001 0", "canceled"),
    ],
)
def test_the_header_says_where_an_event_is_in_its_life(header: bytes, status: str) -> None:
    """Delivered when it has a time of delivery, unless it was canceled."""
    assert decode_header(header).status == status


def test_a_header_is_read_field_by_field() -> None:
    """A dash stands for runs that are not counted yet."""
    assert decode_header(b"tok.7 d 1 2 3 4") == Header("tok.7", "d", 1, 2, 3, 4)
    assert decode_header(b"- s 0 2 0 -") == Header("-", "s", 0, 2, 0, None)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"t c 0 0 0",
        b"t c 0 0 0 - -",
        b"t c x 0 0 -",
        b"t c 0 0 0 x",
        b"\xff c 0 0 0 -",
        b"t c 1e3 0 0 -",
        b"t c 999999999999999999 0 0 -",
        b"t c 0 -1 0 -",
        b"t c 0 0 " + b"9" * 5000 + b" -",
    ],
    ids=range(10),
)
def test_a_damaged_header_is_refused(header: bytes) -> None:
    """Fields too few or too many, no numbers, times out of range."""
    with pytest.raises(UndecodableEvent, match="header"):
        decode_header(header)


def test_a_run_is_read_from_its_field() -> None:
    """Its id is made from the event's and the job's."""
    line = b"x 2 1 0 0 mail 17-0 host-1 1700000000000 0"
    run = decode_run("e:1", b"r:app/job", line + b"\n" + encode_outcome(RunError("ValueError", "no"), None))
    assert (run.id, run.event_id, run.job, run.status) == ("e:1:app/job", "e:1", "app/job", "executing")
    assert (run.attempt, run.lost, run.queue, run.worker) == (2, 1, "mail", "host-1")
    assert (run.started_at, run.finished_at) == (from_millis(1_700_000_000_000), None)
    assert (run.error, run.output) == (RunError("ValueError", "no"), None)


def test_a_run_that_was_not_taken_has_no_worker_or_times() -> None:
    """A dash and zeros are None."""
    run = decode_run("e", b"r:app/job", b"q 1 0 0 0 default 17-0 - 0 0")
    assert (run.status, run.worker, run.started_at, run.finished_at) == ("queued", None, None, None)
    assert (run.error, run.output, run.is_settled) == (None, None, False)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"? 1 0 0 0 default 17-0 - 0 0",
        b"q 1 0 0 0 default 17-0 - 0",
        b"q x 0 0 0 default 17-0 - 0 0",
        b"q 1 0 0 0 \xff 17-0 - 0 0",
        b"q 1 0 0 0 default 17-0 - 99999999999999999999 0",
    ],
    ids=range(6),
)
def test_a_damaged_run_is_refused(value: bytes) -> None:
    """The error names it."""
    with pytest.raises(UndecodableEvent, match="app/job"):
        decode_run("e", b"r:app/job", value)
    with pytest.raises(UndecodableEvent):
        decode_run("e", b"r:\xff", b"q 1 0 0 0 default 17-0 - 0 0")


def test_a_record_has_its_runs_in_the_order_of_their_jobs() -> None:
    """Whatever the order and the other fields of the hash."""
    fields = {
        b"r:b/job": b"q 1 0 0 0 default 17-0 - 0 0",
        b"w": b"1",
        b"m": b"tok.1 c 0 1700000000000 0 2",
        b"r:a/job": b"s 1 0 0 0 default 17-0 - 0 0",
        b"e": BODY,
        b"o": b"1",
    }
    record = decode_record("e", fields)
    assert [run.job for run in record.runs] == ["a/job", "b/job"]
    assert (record.name, record.payload, record.status, record.is_settled) == (
        "user.new",
        {"a": 1},
        "dispatched",
        False,
    )


@pytest.mark.parametrize(
    ("runs", "status"),
    [([], "settled"), (["s"], "settled"), (["s", "f"], "settled"), (["s", "w"], "dispatched"), (["q"], "dispatched")],
    ids=str,
)
def test_an_event_is_settled_when_every_run_of_it_has_ended(runs: list[str], status: str) -> None:
    """One open run keeps it open; an end without success is an end, and so is an event that matched no job."""
    fields = {f"r:app/{n}".encode(): f"{letter} 1 0 0 0 default 17-0 - 0 0".encode() for n, letter in enumerate(runs)}
    record = decode_record("e", {b"m": f"tok.1 c 0 1700000000000 0 {len(runs)}".encode(), b"e": BODY, **fields})
    assert record.status == status


def test_a_record_without_contents_has_its_status() -> None:
    """With `retention=0` only the header stays, so that the id is known."""
    record = decode_record("e", {b"m": b"tok.1 c 0 1700000000000 0 2"})
    assert (record.id, record.status, record.delivered_at) == ("e", "settled", from_millis(1_700_000_000_000))
    assert (record.name, record.payload, record.runs, record.is_settled) == ("", None, [], True)


# Runs on their way.


def test_a_first_delivery_needs_no_state() -> None:
    """An empty text is the first attempt, with the body inside."""
    assert decode_entry_state(b"") == (FIRST, 0) == (RunState(1, 0, 0, 0), 0)


@pytest.mark.parametrize(
    "text",
    [
        b"1",
        b"1 2 3 4",
        b"1 2 3 4 5 6",
        b"a b c d e",
        b"\xff",
        b" ",
        b"0 0 0 0 0",
        b"-1 0 0 0 0",
        b"1 0 0 0 -1",
        b"1_0 0 0 0 0",
        b"1 0 0 0 99999999999999999",
    ],
    ids=repr,
)
def test_a_damaged_state_is_refused(text: bytes) -> None:
    """It is five numbers."""
    with pytest.raises(UndecodableEvent, match="five numbers"):
        decode_entry_state(text)


def test_no_error_and_no_output_take_no_bytes() -> None:
    """Most runs end like that."""
    assert encode_outcome(None, None) == b""
    assert decode_outcome(b"") == (None, None)


@pytest.mark.parametrize("output", [0, "", [], False, {"a": 1}])
def test_an_output_stays_what_it_is(output: Any) -> None:
    """An empty one is an output too."""
    assert decode_outcome(encode_outcome(None, output)) == (None, output)


def test_a_damaged_outcome_does_not_hide_the_run() -> None:
    """Its error says that it is damaged."""
    error, output = decode_outcome(b"\xc1")
    assert error is not None
    assert (error.type, output) == ("Unreadable", None)
