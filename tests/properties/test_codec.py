"""Whatever msgpack can carry comes back as it was, and no bytes make a reader fail in another way than it says."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace import Event, InvalidEvent, RunError, UndecodableEvent
from headrace.formats.codec import (
    STATUS_LETTER,
    RunState,
    decode_entry_state,
    decode_event,
    decode_outcome,
    encode_event,
    encode_outcome,
    encode_value,
    from_micros,
    identity_length,
    to_micros,
)
from headrace.formats.records import decode_header, decode_record, decode_run
from headrace.model.values import decode_value
from headrace.plans.prepare import SendOptions, prepare

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
SCALARS = (
    st.none()
    | st.booleans()
    | INTEGERS
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | INTEGERS, inner, max_size=5)
    ),
    max_leaves=30,
)
MOMENTS = st.datetimes(timezones=st.just(UTC))
MILLIS = st.integers(0, 253_402_300_799_999)
WORDS = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
RUN_ERRORS = st.builds(RunError, TEXTS, TEXTS, TEXTS)


@given(TEXTS, TEXTS, MOMENTS, VALUES, VALUES, st.none() | TEXTS)
def test_an_event_comes_back_as_it_was(
    name: str, source: str, moment: datetime, payload: Any, context: Any, account: str | None
) -> None:
    """Every field, for any value of each."""
    event = decode_event(encode_event(name, source, to_micros(moment), payload, context, account))
    assert (event.n, event.s, from_micros(event.t), event.a) == (name, source, moment, account)
    assert repr(decode_value(event.p)) == repr(payload)  # as text, for 0, 0.0 and False are equal
    assert repr(decode_value(event.c)) == repr(context)


@given(TEXTS, TEXTS, TEXTS, TEXTS, VALUES)
def test_two_events_have_one_identity_only_if_name_and_source_are_the_same(
    name: str, source: str, other_name: str, other_source: str, payload: Any
) -> None:
    """The send script compares so many bytes, whatever stands behind them."""
    length = identity_length(name, source)
    mine = encode_event(name, source, 1, payload, None, None)[1:length]
    other = encode_event(other_name, other_source, 2, None, payload, "account")[1:length]
    assert (mine == other) == ((name, source) == (other_name, other_source))
    assert mine == encode_event(name, source, -5, None, payload, None)[1:length]


@given(WORDS, st.sampled_from("csd"), MILLIS, MILLIS, MILLIS, st.none() | st.integers(0, 10_000))
def test_a_header_comes_back_as_it_was(
    token: str, kind: str, due: int, delivered: int, canceled: int, runs: int | None
) -> None:
    """As the scripts write it."""
    header = decode_header(f"{token} {kind} {due} {delivered} {canceled} {'-' if runs is None else runs}".encode())
    assert (header.token, header.id_kind, header.due_ms, header.delivered_ms) == (token, kind, due, delivered)
    assert (header.canceled_ms, header.runs) == (canceled, runs)


@given(st.builds(RunState, st.integers(1, 2**53), *[st.integers(0, 2**53)] * 3), st.integers(0, 2**31))
def test_a_run_state_comes_back_as_it_was(state: RunState, size: int) -> None:
    """With the size of its body behind it."""
    assert decode_entry_state(f"{state.text()} {size}".encode()) == (state, size)


@given(st.none() | RUN_ERRORS, VALUES)
def test_an_outcome_comes_back_as_it_was(error: RunError | None, output: Any) -> None:
    """An error, an output, both or none."""
    found_error, found_output = decode_outcome(encode_outcome(error, output))
    assert found_error == error
    assert repr(found_output) == repr(output)


@given(TEXTS, st.sampled_from("qxwsftci"), st.tuples(st.integers(1, 99), WORDS, MILLIS), RUN_ERRORS, VALUES)
def test_a_run_comes_back_as_it_was(
    event_id: str, letter: str, taken: tuple[int, str, int], error: RunError, output: Any
) -> None:
    """Also where its error or output holds spaces and line feeds."""
    attempt, worker, started = taken
    line = f"{letter} {attempt} 0 0 0 default 17-0 {worker} {started} 0".encode()
    run = decode_run(event_id, b"r:app/job", line + b"\n" + encode_outcome(error, output))
    assert run.id == f"{event_id}:app/job"
    assert (STATUS_LETTER[run.status], run.attempt) == (letter, attempt)
    assert run.worker == (None if worker == "-" else worker)
    assert (run.error, repr(run.output)) == (error, repr(output))


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Moment(datetime):
    pass


ACCEPTED = st.recursive(
    SCALARS
    | MOMENTS
    | st.text(st.characters(exclude_categories=["Cs"])).map(Text)
    | st.integers(-(2**63), 2**64 - 1).map(Whole)
    | MOMENTS.map(lambda each: Moment.combine(each.date(), each.timetz()))
    | SCALARS.map(msgspec.msgpack.encode).map(msgspec.Raw)
    | st.binary(max_size=4).map(msgspec.Raw)
    | st.binary(max_size=9).map(lambda data: msgspec.msgpack.Ext(-1, data))
    | st.sampled_from([object(), 2**64, "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | INTEGERS, inner, max_size=4),
    max_leaves=12,
)


@given(ACCEPTED, ACCEPTED)
def test_what_a_send_takes_a_worker_can_read(payload: Any, context: Any) -> None:
    """Whatever is given: it is carried whole, or refused with the part of the field at fault."""
    try:
        (sent,) = prepare([Event("a", payload, context)], SendOptions(), now=lambda: datetime.now(UTC), numbered=False)
    except InvalidEvent as exc:
        assert re.match(r"(payload|context)($|[.\[])", exc.field)  # noqa: PT017 - one of two ways out
        return
    event = decode_event(sent.body)
    for raw in (event.p, event.c):
        value = decode_value(raw)
        assert repr(decode_value(encode_value(value))) == repr(value)


MAPS = st.dictionaries(st.sampled_from("vnstpca"), VALUES).map(msgspec.msgpack.encode)
HEADERS = st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3)
EVENTS = st.builds(encode_event, TEXTS, TEXTS, INTEGERS, VALUES, VALUES, st.none() | TEXTS, HEADERS)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An event of which some bytes are others, or are missing."""
    body = bytearray(draw(EVENTS))
    for _ in range(draw(st.integers(1, 4))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)))])


@given(st.binary() | MAPS | EVENTS | damaged())
def test_bytes_are_an_event_or_undecodable(body: bytes) -> None:
    """Nothing else is raised, neither by the event nor by its values or its time."""
    try:
        event = decode_event(body)
        decode_value(event.p)
        decode_value(event.c)
    except UndecodableEvent:
        return
    assert from_micros(event.t).tzinfo is UTC


NUMBERS = st.integers(-(2**70), 2**70).map(str) | st.sampled_from(["-", "", "x", "0", "1e9", "\u0661"])
LINES = st.lists(NUMBERS | WORDS, max_size=12).map(lambda words: " ".join(words).encode())


@given(st.binary() | LINES, st.binary() | LINES, st.binary())
def test_a_stored_record_is_a_record_or_undecodable(header: bytes, run: bytes, outcome: bytes) -> None:
    """Whatever stands in its header, its runs and their outcomes."""
    body = encode_event("a", "b", 0, None, None, None)
    with suppress(UndecodableEvent):
        decode_record("e", {b"m": header, b"e": body, b"r:app/job": run + b"\n" + outcome})


@given(st.binary() | LINES)
def test_an_entry_state_is_one_or_undecodable(text: bytes) -> None:
    """As an entry that someone else wrote might have it."""
    with suppress(UndecodableEvent):
        decode_entry_state(text)
