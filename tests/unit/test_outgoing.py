"""What is given to a send is either exactly what is sent, or refused with the name of the field at fault."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from types import MappingProxyType
from typing import Any

import pytest
from ulid import ULID

from headrace import Event
from headrace.formats import codec
from headrace.formats.seal import Seal
from headrace.plans.prepare import SendOptions, as_event, prepare
from tests.support.codecs import SCRAMBLER
from tests.support.outgoing import NONE, NOW, prepare_all, prepare_one, refuse

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


@pytest.mark.parametrize("seal", [None, Seal(SCRAMBLER, "test")], ids=["plain", "sealed"])
def test_the_source_is_that_of_the_client_unless_given(seal: Seal | None) -> None:
    """The client's default is that of the contract, and travels as any other source does."""
    given = [Event("a"), {"name": "a"}, Event("a", source=None), Event("a", source="shop"), Event("a"), {"name": "b"}]
    for default in ("trigger.dev", "billing"):
        settings: dict[str, Any] = {} if default == "trigger.dev" else {"source": default}
        prepared = prepare_all(*given, seal=seal, **settings)
        sources = [codec.decode_event(each.body).s for each in prepared]
        assert sources == [each.head.source for each in prepared]
        assert sources == [default, default, default, "shop", default, default]


def test_options_travel_with_every_event_of_the_call() -> None:
    """The account and the time of delivery are the same for all."""
    options = SendOptions(deliver_after=30, account_id="acme")
    both = prepare_all(Event("a"), Event("b"), options=options)
    assert [each.terms.when for each in both] == ["+30000", "+30000"]
    assert [codec.decode_event(each.body).a for each in both] == ["acme", "acme"]


def test_no_events_are_no_error() -> None:
    """Nothing is prepared, but the options are looked at."""
    assert prepare_all() == []
    assert refuse(options=SendOptions(deliver_after=-1)).field == "deliver_after"


def test_any_iterable_of_events_will_do() -> None:
    """A generator is gone through once."""
    outgoing = prepare((Event(name) for name in "abc"), NONE, now=lambda: NOW)
    assert [each.head.name for each in outgoing] == ["a", "b", "c"]


class Nowhere(tzinfo):
    def utcoffset(self, _: datetime | None, /) -> None:
        return None

    dst = tzname = utcoffset


NAIVE = [NOW.replace(tzinfo=None), NOW.replace(tzinfo=Nowhere())]


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
    assert error.reason.endswith("the fields are name, payload, context, id, timestamp, source, headers")


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
    assert error.reason.startswith("must be an Event, a typed event or a mapping, not ")


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


def test_a_checked_name_is_checked_again_with_a_new_source() -> None:
    """What events of a call have in common is looked at once, and only then."""
    assert refuse(Event("a", source="s"), Event("a", source="")).field == "source"
    names = [
        (each.head.name, codec.decode_event(each.body).s)
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
