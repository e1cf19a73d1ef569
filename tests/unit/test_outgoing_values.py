"""Payloads and texts are carried whole, or refused with the place inside that can't be."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Self

import msgspec
import pydantic
import pytest

from headrace import Event, EventTooLarge
from headrace.formats import codec
from headrace.model.values import decode_value
from headrace.plans.prepare import MAX_EVENT_BYTES, SendOptions
from tests.support.outgoing import prepare_one, refuse

pack = msgspec.msgpack.encode


def circle() -> list[Any]:
    itself: list[Any] = []
    itself.append(itself)
    return itself


@dataclass(frozen=True)
class Frozen:
    n: int


@dataclass
class Held:
    content: Any


class Raises(datetime):
    def __new__(cls) -> Self:
        return super().__new__(cls, 2024, 1, 1)

    @property
    def year(self) -> int:
        raise KeyError("no year")


def deep_key() -> Any:
    value: Any = 1
    for _ in range(640):
        value = (value,)
    return value


def nested(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


UNCARRIED: dict[str, tuple[Any, str]] = {
    "object": (object(), ""),
    "complex": (1j, ""),
    "function": (len, ""),
    "int over 64 bits": ({"n": 2**64}, ".n"),
    "int under 64 bits": ([0, -(2**63) - 1], "[1]"),
    "surrogate": ({"a b": "\ud800"}, "['a b']"),
    "surrogate in a key": ({"\udfff": 1}, ""),
    "a map as a key": ({"a": {Frozen(1): 1}}, ".a"),
    "deep inside": ({"items": [0, 1, 2, {"price": object()}]}, ".items[3].price"),
    "inside an object": (Held([1j]), ".content[0]"),
    "inside a set": ({"of": {1j}}, ".of[…]"),
    "circular": (circle(), "[0]"),
    "nested too deep": (nested(641), ""),
    "nested past all bounds": (nested(50_000), ""),
    "deep in its keys": ({deep_key(): 1}, ""),
    "encoded elsewhere, as JSON": ({"body": msgspec.Raw(b'{"a": 1}')}, ".body"),
    "encoded elsewhere, nothing": ([msgspec.Raw(b"")], "[0]"),
    "encoded elsewhere, two values": ([msgspec.Raw(b"\x01\x02")], "[0]"),
    "encoded elsewhere, half a value": ([msgspec.Raw(b"\xa5ab")], "[0]"),
    "encoded elsewhere, no text": ([msgspec.Raw(b"\xa1\xff")], "[0]"),
    "encoded elsewhere, too deep": (msgspec.Raw(pack(nested(641))), ""),
    "a time of no form": ([msgspec.msgpack.Ext(-1, b"xx")], "[0]"),
    "its own code raises": ({"x": Raises()}, ".x"),
}


SEEN_IN_THE_FIRST = {"a map as a key", "encoded elsewhere, no text", "a time of no form"}
"""What only the first event of a name in each call is looked through for, as that takes longer than all the rest."""


# Values.


@pytest.mark.parametrize("value", [0, "", [], None, False, 0.0, {}, b"", "None", [None]], ids=repr)
@pytest.mark.parametrize("field", ["payload", "context"])
def test_an_empty_value_stays_what_it_is(field: str, value: object) -> None:
    """It is neither left out nor taken for another kind of nothing."""
    event = codec.decode_event(prepare_one({"name": "a", field: value}).body)
    carried = decode_value(event.p if field == "payload" else event.c)
    assert carried == value
    assert type(carried) is type(value)


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), "\0", "\U0001f300", {1: {"a": [b"\xff"]}}], ids=repr)
def test_the_extremes_of_msgpack_are_carried(value: object) -> None:
    """The greatest and the smallest integer, any text, bytes, and maps whose keys are no strings."""
    assert decode_value(codec.decode_event(prepare_one(Event("a", value)).body).p) == value


@pytest.mark.parametrize("kind", UNCARRIED)
@pytest.mark.parametrize("field", ["payload", "context"])
def test_what_msgpack_cannot_carry_is_refused(field: str, kind: str) -> None:
    """The error names the part of the field that has it, whatever is wrong with it."""
    value, place = UNCARRIED[kind]
    error = refuse({"name": "a", field: value})
    assert error.field == field + place
    assert any(
        word in error.reason for word in ("can't be carried", "nested deeper than 640", "contains itself", "be read")
    )


@pytest.mark.parametrize("kind", sorted(UNCARRIED.keys() - SEEN_IN_THE_FIRST))
def test_one_of_many_that_cannot_be_carried_is_refused(kind: str) -> None:
    """The error has its place in the call, also where events like it were fine."""
    error = refuse(Event("a", [1]), Event("a", UNCARRIED[kind][0]), Event("a", [2]))
    assert error.index == 1


class Text(str):
    __slots__ = ()


class Person(pydantic.BaseModel):
    id: uuid.UUID
    born: date
    raw: bytes = b"x"
    tags: set[str] = set()
    called: str = pydantic.Field("", alias="calledBy")
    friend: Person | None = None

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def shown(self) -> str:
        return "x"


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        (Text("x"), "x"),
        ({Text("k"): [Text("v")]}, {"k": ["v"]}),
        (type("Whole", (int,), {})(7), 7),
        ({type("Whole", (int,), {})(7): type("Real", (float,), {})(0.5)}, {7: 0.5}),
        (type("Bytes", (bytes,), {})(b"x"), b"x"),
        (type("Day", (date,), {})(2024, 1, 2), "2024-01-02"),
        (type("Clock", (time,), {})(1, 2), "01:02:00"),
        (type("Exact", (Decimal,), {})("1.50"), "1.50"),
        (type("Moment", (datetime,), {})(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_subclass_counts_as_its_base(value: object, carried: object) -> None:
    """Alone, nested and as a key."""
    found = decode_value(codec.decode_event(prepare_one(Event("a", value)).body).p)
    assert found == carried
    assert type(found) is type(carried)


@pytest.mark.parametrize("raw", [b"text", b"\xff\xfe"])
def test_a_model_of_pydantic_comes_back_as_the_same(raw: bytes) -> None:
    """By its aliases, without what it computes, and with bytes that no JSON could have."""
    friend = Person(id=uuid.UUID(int=1), born=date(1815, 12, 10), calledBy="Ada")
    person = Person(calledBy="Grace", id=uuid.UUID(int=2), born=date(1906, 12, 9), raw=raw, tags={"a"}, friend=friend)
    (found,) = decode_value(codec.decode_event(prepare_one(Event("a", [person])).body).p)
    assert Person.model_validate(found) == person
    assert "shown" not in found


def test_the_deepest_value_is_carried() -> None:
    """640 lists or maps are inside each other, in the payload, in a map's keys and in what was encoded before."""
    maps: Any = None
    for _ in range(640):
        maps = {"a": maps}
    for value in (nested(640), maps, {"a": nested(639)}, msgspec.Raw(pack(nested(640)))):
        read = decode_value(codec.decode_event(prepare_one(Event("a", value)).body).p)
        assert pack(read) == pack(value)


def test_the_payload_is_named_when_both_are_at_fault() -> None:
    """One error at a time, the first field first."""
    assert refuse(Event("a", object(), object())).field == "payload"


def test_an_event_may_have_exactly_the_greatest_size() -> None:
    """One byte more is too large; the error has both sizes."""
    overhead = len(prepare_one(Event("a", "x" * 100_000)).body) - 100_000
    fits = "x" * (MAX_EVENT_BYTES - overhead)
    assert len(prepare_one(Event("a", fits)).body) == MAX_EVENT_BYTES
    with pytest.raises(
        EventTooLarge, match=r"payload: the encoded event has 1,048,577 bytes.*max_event_bytes"
    ) as caught:
        prepare_one(Event("a", fits + "x"))
    assert (caught.value.size, caught.value.limit) == (MAX_EVENT_BYTES + 1, MAX_EVENT_BYTES)


def test_the_greatest_size_is_a_setting() -> None:
    """It counts the whole encoded event, the context too."""
    size = len(prepare_one(Event("a", context="x" * 100)).body)
    assert len(prepare_one(Event("a", context="x" * 100), max_event_bytes=size).body) == size
    assert isinstance(refuse(Event("a", context="x" * 100), max_event_bytes=size - 1), EventTooLarge)


# Texts.


@pytest.mark.parametrize("text", ["x", "x" * 256, "\U0001f300" * 256, "a:b{c}\n\0", " ", "é"], ids=repr)
@pytest.mark.parametrize("field", ["name", "id", "source"])
def test_a_text_has_1_to_256_characters_of_any_kind(field: str, text: str) -> None:
    """Characters are counted, not bytes, and none is special."""
    outgoing = prepare_one({"name": "a", field: text})
    stored = codec.decode_event(outgoing.body)
    assert {"name": stored.n, "id": outgoing.event_id, "source": stored.s}[field] == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must have 1 to 256 characters, not 0"),
        ("x" * 257, "must have 1 to 256 characters, not 257"),
        ("\ud800", "has a lone surrogate, which UTF-8 can't carry"),
        (1, "must be a string, not int"),
        (b"a", "must be a string, not bytes"),
        (["a"], "must be a string, not list"),
        ({}, "must be a string, not dict"),
        (True, "must be a string, not bool"),
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize("field", ["name", "id", "source"])
@pytest.mark.parametrize("as_mapping", [True, False])
def test_a_text_that_breaks_the_rule_is_refused(field: str, text: object, reason: str, *, as_mapping: bool) -> None:
    """Too short, too long, not to be written as UTF-8, or no text: in an Event as in a mapping."""
    given: dict[str, Any] = {"name": "a", field: text}
    error = refuse(given if as_mapping else Event(**given))
    assert error.field == field
    assert error.reason.startswith(reason)


def test_none_is_no_name() -> None:
    """Only what the client has a value for may be None."""
    assert refuse({"name": None}).reason == "must be a string, not NoneType"
    assert prepare_one({"name": "a", "source": None}).head.source == "trigger.dev"
    assert prepare_one({"name": "a", "id": None}).id_kind == "c"


class Names(enum.StrEnum):
    NEW = "user.new"


class OldNames(str, enum.Enum):  # noqa: UP042 - what many code bases have
    NEW = "user.new"


@pytest.mark.parametrize("name", [Names.NEW, OldNames.NEW, type("Text", (str,), {})("user.new")], ids=repr)
def test_a_member_of_an_enumeration_is_its_text(name: str) -> None:
    """Names kept in an enumeration are sent as plain strings, and come back as such."""
    outgoing = prepare_one(Event(name, id=name, source=name))
    stored = codec.decode_event(outgoing.body)
    assert (stored.n, stored.s, outgoing.event_id, outgoing.head.name) == ("user.new",) * 4
    assert {type(outgoing.event_id), type(outgoing.head.name), type(outgoing.sent().name)} == {str}


@pytest.mark.parametrize("account", ["", "x" * 257, "\ud800", 1])
def test_an_account_follows_the_same_rule(account: Any) -> None:
    """It is an option of the call, so no event is named."""
    error = refuse(Event("a"), options=SendOptions(account_id=account))
    assert (error.field, error.index) == ("account_id", None)
