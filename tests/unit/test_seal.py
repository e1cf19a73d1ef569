"""What is sealed opens again where its codec is, in its own place, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from headrace import (
    Client,
    ConfigurationError,
    Event,
    InvalidEvent,
    PayloadCodec,
    RunError,
    Sealed,
    SealedEvent,
    UndecodableEvent,
)
from headrace.formats import codec as formats
from headrace.formats.records import decode_run
from headrace.formats.seal import Seal
from headrace.plans.prepare import SendOptions, prepare
from headrace_worker import App, DefinitionError
from headrace_worker.process.loading import load_codec
from tests.support.codecs import SCRAMBLER, Broken, Scrambler

SEAL = Seal(Scrambler(), "test")
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)


def sealed_body(event: Event, seal: Seal = SEAL) -> bytes:
    (outgoing,) = prepare([event], SendOptions(account_id="acme"), now=lambda: NOW, seal=seal)
    return outgoing.body


def contents(body: bytes, event_id: str = "e1", seal: Seal | None = SEAL) -> tuple[Any, Any]:
    return formats.decode_contents(formats.decode_event(body), event_id, seal)


@pytest.mark.parametrize("payload", [None, 0, "", [], {"secret": "kitten"}, b"\x00" * 70_000])
def test_what_was_sealed_opens_again(payload: Any) -> None:
    """Payload and context come out as they went in, whatever they are; None needs no sealing."""
    body = sealed_body(Event("n", payload, {"also": "kitten"}, "e1"))
    assert b"kitten" not in body
    assert contents(body) == (payload, {"also": "kitten"})


def test_what_dispatch_goes_by_stays_readable() -> None:
    """Name, source, account and time of a sealed event can be read without the codec."""
    event = formats.decode_event(sealed_body(Event("new.user", "kitten", None, "e1", NOW, "shop")))
    assert (event.n, event.s, event.a, formats.from_micros(event.t)) == ("new.user", "shop", "acme", NOW)


def test_an_event_starts_alike_sealed_or_not() -> None:
    """Name and source stand at the start of both, behind the format, where the send script compares them."""
    given = Event("n", "p", None, "e1", NOW, "s")
    (plain,) = prepare([given], SendOptions(), now=lambda: NOW)
    (sealed,) = prepare([given], SendOptions(), now=lambda: NOW, seal=SEAL)
    assert plain.body[4 : plain.head.identity] == sealed.body[4 : sealed.head.identity]


@pytest.mark.parametrize(
    ("event_id", "changes", "namespace"),
    [
        ("e2", {}, "test"),
        ("e1", {"n": "other"}, "test"),
        ("e1", {"s": "other"}, "test"),
        ("e1", {"a": "other"}, "test"),
        ("e1", {}, "other"),
    ],
)
def test_nothing_opens_in_another_place(event_id: str, changes: dict[str, str], namespace: str) -> None:
    """A payload that was copied to another event, name, source, account or namespace is refused."""
    event = formats.decode_event(sealed_body(Event("n", "kitten", None, "e1")))
    moved = msgspec.structs.replace(event, **changes)
    with pytest.raises(SealedEvent, match="could not open"):
        formats.open_event(moved, event_id, Seal(Scrambler(), namespace))


def test_a_context_is_no_payload() -> None:
    """A context does not open in the payload's place."""
    event = formats.decode_event(sealed_body(Event("n", "kitten", "puppy", "e1")))
    with pytest.raises(SealedEvent):
        formats.open_event(msgspec.structs.replace(event, p=event.c, c=event.p), "e1", SEAL)


@pytest.mark.parametrize(
    ("seal", "reason"), [(None, "this process has none"), (Seal(Scrambler(b"other key"), "test"), "WrongKey")]
)
def test_a_value_that_does_not_open_says_so(seal: Seal | None, reason: str) -> None:
    """A client without the right codec reads Sealed values with the reason, and gets no error."""
    payload, context = contents(sealed_body(Event("n", "kitten", None, "e1")), seal=seal)
    assert isinstance(payload, Sealed)
    assert reason in payload.reason
    assert context is None


def test_an_outcome_opens_for_its_run_alone() -> None:
    """A run's output and error are sealed together and bound to the run."""
    blob = formats.encode_outcome(RunError("ValueError", "kitten"), None)
    sealed = formats.seal_outcome(blob, "e1:app/job", SEAL)
    assert b"kitten" not in sealed
    assert formats.decode_outcome(sealed, "e1:app/job", SEAL) == (RunError("ValueError", "kitten"), None)
    for run, seal in (("e1:app/job", None), ("e2:app/job", SEAL)):
        error, output = formats.decode_outcome(sealed, run, seal)
        assert error is None
        assert isinstance(output, Sealed)


@pytest.mark.parametrize(("status", "is_error"), [("s", False), ("f", True), ("w", True)])
def test_a_sealed_outcome_stands_where_the_state_says(status: str, *, is_error: bool) -> None:
    """Without the codec a run that succeeded has a sealed output, any other a sealed error."""
    sealed = formats.seal_outcome(formats.encode_outcome(None, "kitten"), "e1:app/job", SEAL)
    run = decode_run("e1", b"r:app/job", f"{status} 1 0 0 0 default 17-0 w 1 2\n".encode() + sealed)
    assert isinstance(run.output, Sealed) is not is_error
    assert (run.error is not None and run.error.type == "Sealed") is is_error


def test_damaged_outcomes_say_so() -> None:
    """Bytes that are cut off, or hold no outcome, are an error of the run and end no listing."""
    sealed = formats.seal_outcome(formats.encode_outcome(None, "kitten"), "r", SEAL)
    odd = formats.encode_value(SEAL.close(b"\xc1", "outcome", "r"))
    for blob in (sealed[:-1], odd, b"\xc4"):
        error, _ = formats.decode_outcome(blob, "r", SEAL)
        assert error is not None
        assert error.type == "Unreadable"


@pytest.mark.parametrize("value", ["text", 5, {"a": 1}])
def test_what_is_only_marked_as_sealed_is_damaged(value: Any) -> None:
    """An event that says it is sealed and holds no bytes can't be read."""
    body = formats.encode_value({"v": 2, "n": "n", "s": "s", "t": 0, "p": value})
    with pytest.raises(UndecodableEvent, match="sealed"):
        contents(body)


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\xc0\xc0", b"\x92\x01", b"\x91" * 700 + b"\xc0"])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("part", ["payload", "context"])
def test_an_unreadable_part_is_not_sealed(raw: bytes, before: int, part: str) -> None:
    """The codec gets only what workers can read: the error names the part, of the first event and of a later one."""
    events: list[Any] = [Event("n", 1, 2)] * before + [{"name": "n", part: msgspec.Raw(raw)}]
    with pytest.raises(InvalidEvent, match=rf"^events\[{before}\]\.{part}: "):
        prepare(events, SendOptions(), now=lambda: NOW, seal=SEAL)


def test_only_sealed_events_have_the_format_of_sealed_ones() -> None:
    """An ordering key changes nothing of the event: its record has the key."""
    (plain,) = prepare([Event("n", 1)], SendOptions(ordering_key="k"), now=lambda: NOW)
    (sealed,) = prepare([Event("n", 1)], SendOptions(ordering_key="k"), now=lambda: NOW, seal=SEAL)
    assert formats.decode_event(plain.body).v == formats.FORMAT
    assert formats.decode_event(sealed.body).v == formats.SEALED_FORMAT


@pytest.mark.parametrize(("seal", "version"), [(None, 3), (SEAL, 4)])
def test_an_event_for_one_job_has_a_format_of_its_own(seal: Seal | None, version: int) -> None:
    """A release that knows no such events refuses it; sealed or not, its contents are read as they were sent."""
    (event,) = prepare([Event("n", 1, id="e")], SendOptions(), now=lambda: NOW, seal=seal, job="app/job")
    stored = formats.decode_event(event.body)
    assert (stored.v, stored.j, stored.v in formats.SEALED_FORMATS) == (version, "app/job", seal is not None)
    assert formats.decode_contents(stored, "e", seal) == (1, None)


def test_a_codec_that_fails_stops_the_send() -> None:
    """Nothing of a call is sent whose payload the codec does not take; the error says what it raised."""
    with pytest.raises(InvalidEvent, match="payload: was not encoded by the codec: WrongKey"):
        sealed_body(Event("n", 1, id="e1"), Seal(Broken(), "test"))


@pytest.mark.parametrize("result", [None, "text", bytearray(b"x")])
def test_a_codec_returns_bytes(result: Any) -> None:
    """Anything else that it returns is a clear error, both ways."""

    class Odd:
        def encode(self, data: bytes, bound_to: bytes) -> Any:  # noqa: ARG002 - what a codec is given
            return result

        decode = encode

    odd: PayloadCodec = Odd()
    with pytest.raises(InvalidEvent, match="not bytes"):
        sealed_body(Event("n", 1, id="e1"), Seal(odd, "test"))
    with pytest.raises(SealedEvent, match="not bytes"):
        Seal(odd, "test").open(b"x", "payload")


@pytest.mark.parametrize("codec", [object(), Scrambler, "sealing:codec"])
def test_what_is_no_codec_is_refused(codec: Any) -> None:
    """A client and an app refuse at once what has not both methods, or is a class."""
    with pytest.raises(ConfigurationError, match="codec must be an object with encode"):
        Client("redis://localhost:1", codec=codec)
    with pytest.raises(DefinitionError, match="codec must be an object with encode"):
        App("app", codec=codec)


def test_the_limit_holds_for_what_is_stored() -> None:
    """An event that fits by itself and not once it is sealed is refused."""
    event = Event("n", b"x" * 100, id="e1")
    size = len(sealed_body(event))
    prepare([event], SendOptions(account_id="acme"), now=lambda: NOW, max_event_bytes=size, seal=SEAL)
    with pytest.raises(InvalidEvent, match="max_event_bytes"):
        prepare([event], SendOptions(account_id="acme"), now=lambda: NOW, max_event_bytes=size - 1, seal=SEAL)


@pytest.mark.parametrize("target", ["sealing", "sealing.py:codec", ":codec", "no_such_module:codec", "math:codec"])
def test_a_codec_that_can_not_be_loaded_is_a_clear_error(target: str) -> None:
    """A command that is given no codec says so, with what was given or what a codec is."""
    with pytest.raises(ConfigurationError, match=r"can't load|codec must be"):
        load_codec(target)


def test_a_codec_is_loaded_by_its_name() -> None:
    """MODULE:OBJECT names it, as it names an app."""
    assert load_codec("tests.support.codecs:SCRAMBLER") is SCRAMBLER


class _Empty(Scrambler):
    def encode(self, _data: bytes, _bound_to: bytes, /) -> bytes:
        return b""


def test_a_codec_that_gives_no_bytes_is_refused() -> None:
    """Nothing could be opened again, so the send says so before the event is acknowledged."""
    with pytest.raises(InvalidEvent, match="returned no bytes at all"):
        sealed_body(Event("n", "kitten"), Seal(_Empty(), "test"))
