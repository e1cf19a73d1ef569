"""What is given to a send is either exactly what is sent, or refused with the name of the field at fault."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Self

import msgspec
import pydantic
import pytest
from ulid import ULID

from headrace import Event, EventTooLarge, InvalidEvent
from headrace.formats import codec
from headrace.formats.outgoing import Outgoing
from headrace.plans.prepare import MAX_EVENT_BYTES, SendOptions, as_event, prepare, when

NOW = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
NONE = SendOptions()
pack = msgspec.msgpack.encode


def prepare_all(*given: Any, options: SendOptions = NONE, **settings: Any) -> list[Outgoing]:
    return prepare(given, options, now=lambda: NOW, **settings)


def prepare_one(given: Any, options: SendOptions = NONE, **settings: Any) -> Outgoing:
    (outgoing,) = prepare_all(given, options=options, **settings)
    return outgoing


def refuse(*given: Any, options: SendOptions = NONE, **settings: Any) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        prepare_all(*given, options=options, **settings)
    assert str(caught.value).endswith("; nothing was sent")
    return caught.value


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


# Defaults.


def test_an_event_without_an_id_gets_a_ulid() -> None:
    """The client makes it, and remembers that it was the client's."""
    outgoing = prepare_one(Event("user.created"))
    assert str(ULID.from_str(outgoing.event_id)) == outgoing.event_id
    assert outgoing.id_kind == "c"


def test_an_id_is_made_once() -> None:
    """What is prepared holds the id, so that every attempt to send it has the same; another call makes another."""
    first, second = prepare_one(Event("user.created")), prepare_one(Event("user.created"))
    assert first.sent().id == first.sent().id == first.event_id != second.event_id


def test_an_id_that_is_given_stays() -> None:
    """It is remembered as the sender's, or as derived where the caller says so."""
    assert prepare_one(Event("user.created", id="42")).event_id == "42"
    assert prepare_one(Event("user.created", id="42")).id_kind == "s"
    assert prepare_one(Event("user.created", id="42"), id_kind="d").id_kind == "d"
    assert prepare_one(Event("user.created"), id_kind="d").id_kind == "c"


def test_the_timestamp_is_now_unless_given() -> None:
    """All events of a call have the same now; one that is given keeps its zone in the answer."""
    given = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    first, second, third = prepare_all(Event("a"), Event("b"), Event("c", timestamp=given))
    assert first.timestamp == second.timestamp == NOW
    assert third.timestamp is given
    assert [codec.from_micros(codec.decode_event(each.body).t) for each in (first, third)] == [NOW, given]


def test_the_source_is_trigger_dev_unless_given() -> None:
    """The default of the contract travels as any other source does."""
    assert codec.decode_event(prepare_one(Event("a")).body).s == "trigger.dev"
    assert codec.decode_event(prepare_one(Event("a", source="github.com")).body).s == "github.com"


def test_options_travel_with_every_event_of_the_call() -> None:
    """The account and the time of delivery are the same for all."""
    options = SendOptions(deliver_after=30, account_id="acme")
    both = prepare_all(Event("a"), Event("b"), options=options)
    assert [each.when for each in both] == ["+30000", "+30000"]
    assert [codec.decode_event(each.body).a for each in both] == ["acme", "acme"]


def test_no_events_are_no_error() -> None:
    """Nothing is prepared, but the options are looked at."""
    assert prepare_all() == []
    assert refuse(options=SendOptions(deliver_after=-1)).field == "deliver_after"


def test_any_iterable_of_events_will_do() -> None:
    """A generator is gone through once."""
    outgoing = prepare((Event(name) for name in "abc"), NONE, now=lambda: NOW)
    assert [each.name for each in outgoing] == ["a", "b", "c"]


# Values.


@pytest.mark.parametrize("value", [0, "", [], None, False, 0.0, {}, b"", "None", [None]], ids=repr)
@pytest.mark.parametrize("field", ["payload", "context"])
def test_an_empty_value_stays_what_it_is(field: str, value: object) -> None:
    """It is neither left out nor taken for another kind of nothing."""
    event = codec.decode_event(prepare_one({"name": "a", field: value}).body)
    carried = codec.decode_value(event.p if field == "payload" else event.c)
    assert carried == value
    assert type(carried) is type(value)


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), "\0", "\U0001f300", {1: {"a": [b"\xff"]}}], ids=repr)
def test_the_extremes_of_msgpack_are_carried(value: object) -> None:
    """The greatest and the smallest integer, any text, bytes, and maps whose keys are no strings."""
    assert codec.decode_value(codec.decode_event(prepare_one(Event("a", value)).body).p) == value


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
    found = codec.decode_value(codec.decode_event(prepare_one(Event("a", value)).body).p)
    assert found == carried
    assert type(found) is type(carried)


@pytest.mark.parametrize("raw", [b"text", b"\xff\xfe"])
def test_a_model_of_pydantic_comes_back_as_the_same(raw: bytes) -> None:
    """By its aliases, without what it computes, and with bytes that no JSON could have."""
    friend = Person(id=uuid.UUID(int=1), born=date(1815, 12, 10), calledBy="Ada")
    person = Person(calledBy="Grace", id=uuid.UUID(int=2), born=date(1906, 12, 9), raw=raw, tags={"a"}, friend=friend)
    (found,) = codec.decode_value(codec.decode_event(prepare_one(Event("a", [person])).body).p)
    assert Person.model_validate(found) == person
    assert "shown" not in found


def test_the_deepest_value_is_carried() -> None:
    """640 lists or maps are inside each other, in the payload, in a map's keys and in what was encoded before."""
    maps: Any = None
    for _ in range(640):
        maps = {"a": maps}
    for value in (nested(640), maps, {"a": nested(639)}, msgspec.Raw(pack(nested(640)))):
        read = codec.decode_value(codec.decode_event(prepare_one(Event("a", value)).body).p)
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


@pytest.mark.parametrize("field", ["name", "source"])
def test_none_is_no_text(field: str) -> None:
    """Only an id may be None."""
    assert refuse({"name": "a", field: None}).reason == "must be a string, not NoneType"
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
    assert (stored.n, stored.s, outgoing.event_id, outgoing.name) == ("user.new",) * 4
    assert {type(outgoing.event_id), type(outgoing.name), type(outgoing.sent().name)} == {str}


@pytest.mark.parametrize("account", ["", "x" * 257, "\ud800", 1])
def test_an_account_follows_the_same_rule(account: Any) -> None:
    """It is an option of the call, so no event is named."""
    error = refuse(Event("a"), options=SendOptions(account_id=account))
    assert (error.field, error.index) == ("account_id", None)


# Times.


@pytest.mark.parametrize("after", [0, 0.0, -0.0, timedelta(0), 0.0001])
def test_a_delay_of_nothing_delivers_now(after: float | timedelta) -> None:
    """Zero, and what rounds to it, is no delay."""
    assert when(SendOptions(deliver_after=after)) == ""


@pytest.mark.parametrize(
    ("after", "expected"),
    [(30, "+30000"), (0.25, "+250"), (timedelta(days=1), "+86400000"), (0.1 + 0.2, "+300"), (3_162_240_000, None)],
)
def test_a_delay_is_seconds_or_a_timedelta(after: float | timedelta, expected: str | None) -> None:
    """It is left to the server's clock when the delay began, and may be up to a hundred years."""
    assert when(SendOptions(deliver_after=after)) == (expected or "+3162240000000")


@pytest.mark.parametrize(
    "after",
    [-1, -0.001, timedelta(microseconds=-1), float("nan"), float("inf"), float("-inf"), 10**400, 3_162_240_001],
    ids=lambda value: repr(value)[:20],
)
def test_a_delay_out_of_range_is_refused(after: float | timedelta) -> None:
    """Negative, endless or no number."""
    error = refuse(Event("a"), options=SendOptions(deliver_after=after))
    assert (error.field, error.index) == ("deliver_after", None)
    assert error.reason.startswith("must be 0 to 100 years of seconds")


@pytest.mark.parametrize("after", ["30", True, Decimal(3), NOW, [30]], ids=repr)
def test_a_delay_of_another_type_is_refused(after: Any) -> None:
    """The error says what it should be and what it is."""
    error = refuse(Event("a"), options=SendOptions(deliver_after=after))
    assert error.reason == f"must be seconds or a timedelta, not {type(after).__name__}"


def test_a_time_is_rounded_up_to_the_millisecond() -> None:
    """An event is never early, not even by a microsecond."""
    base = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=-5)))
    millis = round(base.timestamp() * 1000)
    found = [when(SendOptions(deliver_at=base + timedelta(microseconds=extra))) for extra in (0, 1, 999, 1000)]
    assert found == [str(millis), str(millis + 1), str(millis + 1), str(millis + 1)]


def test_a_time_long_past_is_still_a_time() -> None:
    """What is before 1970 is written as the first millisecond after it: the server finds that it is past."""
    assert when(SendOptions(deliver_at=datetime(1, 1, 1, tzinfo=UTC))) == "1"
    assert when(SendOptions(deliver_at=datetime(1970, 1, 1, tzinfo=UTC))) == "1"


def test_both_delays_are_an_error() -> None:
    """Also where the second is zero."""
    for after in (30, 0, timedelta(0)):
        error = refuse(Event("a"), options=SendOptions(NOW, after))
        assert error.field == "deliver_at"
        assert "together with deliver_after; give one of them" in error.reason


class Nowhere(tzinfo):
    def utcoffset(self, _: datetime | None, /) -> None:
        return None

    dst = tzname = utcoffset


NAIVE = [NOW.replace(tzinfo=None), NOW.replace(tzinfo=Nowhere())]


@pytest.mark.parametrize("moment", NAIVE, ids=["no zone", "a zone without an offset"])
def test_a_naive_datetime_is_refused(moment: datetime) -> None:
    """As a timestamp and as a time of delivery; the error says how to make an aware one."""
    for error in (
        refuse(Event("a", timestamp=moment)),
        refuse(Event("a"), options=SendOptions(deliver_at=moment)),
    ):
        assert error.field in {"timestamp", "deliver_at"}
        assert "naive datetime; give it a time zone, such as datetime.now(timezone.utc)" in error.reason


EDGE = [
    datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
]


@pytest.mark.parametrize("moment", EDGE, ids=["before", "after"])
def test_a_time_that_utc_cannot_say_is_refused(moment: datetime) -> None:
    """It could be sent, and never be read."""
    assert "outside the years 1 to 9999" in refuse(Event("a", timestamp=moment)).reason
    assert "outside the years 1 to 9999" in refuse(Event("a"), options=SendOptions(deliver_at=moment)).reason


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_first_and_the_last_time_are_carried(moment: datetime) -> None:
    """To the microsecond."""
    assert codec.from_micros(codec.decode_event(prepare_one(Event("a", timestamp=moment)).body).t) == moment


class Foreign(datetime):
    """As other libraries have it: its operators give what is their own."""

    def __sub__(self, other: object) -> Any:
        return "an interval"

    __add__ = __radd__ = __rsub__ = __sub__

    def __lt__(self, other: object) -> bool:
        raise TypeError("can't compare")


class NotATime(Foreign):
    """As pandas.NaT."""

    @property
    def year(self) -> Any:
        return float("nan")


class Stretch(timedelta):
    """As other libraries have it."""

    def total_seconds(self) -> float:
        return 30

    @property
    def days(self) -> int:
        return -7


def test_datetimes_of_other_libraries_are_datetimes() -> None:
    """As a timestamp, as a time of delivery and inside a payload: they are made plain before anything is calculated."""
    moment, same = Foreign(2100, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    outgoing = prepare_one(Event("a", {"at": moment}, timestamp=moment), SendOptions(deliver_at=moment))
    stored = codec.decode_event(outgoing.body)
    assert codec.from_micros(stored.t) == outgoing.timestamp == same
    assert type(outgoing.timestamp) is datetime
    assert codec.decode_value(stored.p) == {"at": same}
    assert outgoing.when == str(round(same.timestamp() * 1000))


def test_durations_of_other_libraries_are_durations() -> None:
    """As a delay and inside a payload."""
    outgoing = prepare_one(Event("a", Stretch(days=1)), SendOptions(deliver_after=Stretch(days=1)))
    assert outgoing.when == "+30000"
    assert codec.decode_value(codec.decode_event(outgoing.body).p) == "P1D"


class FakeDatetime(datetime):
    """As freezegun's, which stands in place of the class in every module."""


class FakeDate(date):
    """As freezegun's."""


def test_faked_datetimes_are_datetimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the fake stands in place of Python's own class."""
    monkeypatch.setattr("headrace.model.moments.datetime", FakeDatetime)
    monkeypatch.setattr("headrace.model.values.date", FakeDate)
    moment = FakeDatetime(2024, 1, 2, tzinfo=UTC)
    event = Event("a", [moment, FakeDate(2024, 1, 2)], timestamp=moment)
    stored = codec.decode_event(prepare_one(event, SendOptions(deliver_at=moment)).body)
    assert codec.decode_value(stored.p) == [datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02"]


class Lost(tzinfo):
    def utcoffset(self, _: datetime | None, /) -> timedelta:
        raise KeyError("no such zone")

    dst = tzname = utcoffset  # type: ignore[assignment]


@pytest.mark.parametrize("moment", [NotATime(2024, 1, 1, tzinfo=UTC), NOW.replace(tzinfo=Lost())], ids=["NaT", "zone"])
def test_a_moment_that_is_none_is_refused(moment: datetime) -> None:
    """The error names the field, and nothing else is raised."""
    assert refuse(Event("a", timestamp=moment)).field == "timestamp"
    assert refuse(Event("a"), options=SendOptions(deliver_at=moment)).field == "deliver_at"
    assert refuse(Event("a", [moment])).field == "payload[0]"


def test_the_last_moment_can_be_asked_for() -> None:
    """It is rounded up to the last millisecond that can be read again, and no further."""
    last = when(SendOptions(deliver_at=datetime.max.replace(tzinfo=UTC)))
    assert codec.from_millis(int(last)).year == 9999


@pytest.mark.parametrize("moment", ["2024-05-01T12:00:00Z", 1_714_564_800, NOW.date()], ids=repr)
def test_what_is_no_datetime_is_refused(moment: Any) -> None:
    """The error says what it is."""
    says = f"must be a datetime, not {type(moment).__name__}"
    assert refuse(Event("a", timestamp=moment)).reason == says
    assert refuse(Event("a"), options=SendOptions(deliver_at=moment)).reason == says


# Mappings.


def test_a_mapping_is_as_good_as_an_event() -> None:
    """The same keys give the same event, defaults included."""
    fields: dict[str, Any] = {
        "name": "a",
        "payload": {"x": 1},
        "context": 2,
        "id": "42",
        "timestamp": NOW,
        "source": "s",
    }
    assert as_event(fields) == as_event(MappingProxyType(fields)) == Event(**fields)
    assert as_event({"name": "a"}) == Event("a")


@pytest.mark.parametrize("field", ["paylod", "account_id", "deliver_at", "Name", ""])
def test_an_unknown_field_of_a_mapping_is_refused(field: str) -> None:
    """The error names it and the fields that there are."""
    error = refuse({"name": "a", field: 1})
    assert error.field == field
    assert error.reason.endswith("the fields are name, payload, context, id, timestamp, source")


def test_a_key_that_is_no_string_is_an_unknown_field() -> None:
    """A mapping may have any."""
    assert refuse({"name": "a", 7: 1}).field == "7"


def test_a_mapping_without_a_name_is_refused() -> None:
    """It is the one field that must be there."""
    assert refuse({"payload": 1}).field == "name"


@pytest.mark.parametrize("given", [None, "user.created", 7, [("name", "a")], Event], ids=repr)
def test_what_is_no_event_is_refused(given: object) -> None:
    """The error says what would be one."""
    error = refuse(given)
    assert error.field == "event"
    assert error.reason.startswith("must be an Event or a mapping, not ")


# Places.


def test_an_error_names_the_place_of_the_event() -> None:
    """Of several events the first that breaks a rule is named, by its place from 0."""
    error = refuse(Event("a"), {"name": "b"}, Event(""), Event("c", object()))
    assert (error.index, error.field) == (2, "name")
    assert str(error).startswith("events[2].name: ")


@pytest.mark.parametrize(
    "given",
    [
        {"name": "a", "paylod": 1},
        {"name": "a", "id": ""},
        {"name": "a", "timestamp": NAIVE[0]},
        {"name": "a", "context": object()},
        {"name": "a", "payload": "x" * 2_000_000},
        None,
    ],
    ids=["unknown", "text", "time", "uncarried", "too large", "no event"],
)
def test_every_kind_of_error_has_the_place(given: Any) -> None:
    """It is the same for all rules of an event, and None where the call has only one."""
    assert refuse(Event("a"), given).index == 1
    assert refuse(given, numbered=False).index is None


def test_a_name_that_was_checked_once_is_still_checked_with_another_source() -> None:
    """What events of a call have in common is looked at once, and only then."""
    assert refuse(Event("a", source="s"), Event("a", source="")).field == "source"
    names = [
        (each.name, codec.decode_event(each.body).s)
        for each in prepare_all(Event("a", source="b"), Event("b", source="a"))
    ]
    assert names == [("a", "b"), ("b", "a")]


def test_the_answer_is_the_event_as_it_was_given() -> None:
    """The caller gets its own objects back, not copies."""
    payload = {"x": (1, 2)}
    outgoing = prepare_one(Event("a", payload, id="42"))
    sent = outgoing.sent(delivered_at=NOW)
    assert sent.payload is payload
    assert (sent.id, sent.name, sent.timestamp, sent.delivered_at) == ("42", "a", NOW, NOW)
    assert (sent.deliver_at, sent.duplicate) == (None, False)
