"""Headers of events are strings by their names, bounded, and plain also where the rest is sealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from headrace import Client, ConfigurationError, Event, InvalidEvent
from headrace.formats import codec
from headrace.formats.headers import MAX_HEADERS_BYTES, headers_now
from headrace.formats.seal import Seal
from headrace.model.values import decode_value
from tests.support.codecs import SCRAMBLER
from tests.support.outgoing import prepare_all, prepare_one, refuse

SEALS = pytest.mark.parametrize("seal", [None, Seal(SCRAMBLER, "test")], ids=["plain", "sealed"])


@SEALS
@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, {"a": "1", "b": "2"}),
        ({}, {"a": "1", "b": "2"}),
        ({"b": "own", "c": ""}, {"a": "1", "b": "own", "c": ""}),
    ],
    ids=str,
)
def test_an_event_has_the_headers_of_the_call_and_its_own(seal: Seal | None, own: Any, expected: Any) -> None:
    """Its own go first, name by name."""
    common = {"a": "1", "b": "2"}
    outgoing = prepare_one({"name": "n", "headers": own}, headers=common, seal=seal)
    assert codec.decode_event(outgoing.body).h == expected
    assert common == {"a": "1", "b": "2"}


@SEALS
def test_headers_stay_readable_where_the_rest_is_sealed(seal: Seal | None) -> None:
    """An opened event has them, too."""
    outgoing = prepare_one(Event("n", "secret", headers={"trace": "id"}), seal=seal)
    stored = codec.decode_event(outgoing.body)
    assert b"trace" in outgoing.body
    if seal is not None:
        assert b"secret" not in outgoing.body
        stored = codec.open_event(stored, outgoing.event_id, seal)
    assert (decode_value(stored.p), stored.h) == ("secret", {"trace": "id"})


@SEALS
def test_an_event_without_headers_is_stored_as_ever(seal: Seal | None) -> None:
    """None and an empty mapping take no byte."""
    given = prepare_all(Event("n"), Event("n", headers=None), Event("n", headers={}), seal=seal)
    assert [codec.decode_event(each.body).h for each in given] == [None] * 3
    assert all(b"\xa1h" not in each.body for each in given)


class Unreadable(Mapping[str, str]):
    def __getitem__(self, key: str) -> str:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no items")

    def __len__(self) -> int:
        return 1


BAD: list[tuple[Any, str, str]] = [
    (7, "headers", "must be a mapping of strings, not int"),
    ([("a", "b")], "headers", "must be a mapping of strings, not list"),
    ({1: "a"}, "headers", "has the key 1, which is no string"),
    ({"a": 1}, "headers.a", "must be a string, not int"),
    ({"a": None}, "headers.a", "must be a string, not NoneType"),
    ({"a": "\ud800"}, "headers", "has a lone surrogate, which UTF-8 can't carry"),
    ({"a": "é" * 2048}, "headers", "has 4,097 bytes, more than the 4,096 that all headers of an event may have"),
    (Unreadable(), "headers", "can't be read: RuntimeError: no items"),
]
SHORT = ["number", "list", "number as key", "number as text", "none as text", "surrogate", "too large", "unreadable"]


@pytest.mark.parametrize(("headers", "field", "says"), BAD, ids=SHORT)
def test_headers_that_are_none_are_refused(headers: Any, field: str, says: str) -> None:
    """The error names the event and the header."""
    error = refuse(Event("a"), Event("b", headers=headers))
    assert (error.index, error.field) == (1, field)
    assert error.reason.startswith(says)


def test_the_bound_holds_for_all_headers_of_an_event() -> None:
    """Those of the client count, unless the event replaces them."""
    common = {"a": "x" * (MAX_HEADERS_BYTES - 1)}
    assert refuse(Event("n", headers={"b": ""}), headers=common).field == "headers"
    prepare_one(Event("n", headers={"a": "", "b": ""}), headers=common)


@pytest.mark.parametrize(("headers", "field", "says"), BAD, ids=SHORT)
def test_a_client_is_not_made_with_bad_headers(headers: Any, field: str, says: str) -> None:
    """As with any other setting."""
    with pytest.raises(ConfigurationError) as caught:
        Client("redis://localhost:1", headers=headers)
    assert str(caught.value).startswith(f"{field} {says}")


async def _later() -> dict[str, str]:
    return {}


def test_a_coroutine_makes_no_headers() -> None:
    """Nothing could await it."""
    with pytest.raises(ConfigurationError, match=r"^headers must be a mapping of strings, not function"):
        Client("redis://localhost:1", headers=_later)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "field", "says"), [*BAD, (None, "headers", "must be a mapping")], ids=[*SHORT, "none"]
)
def test_what_a_client_s_function_returns_is_checked(headers: Any, field: str, says: str) -> None:
    """The error says that it is the client's."""
    with pytest.raises(InvalidEvent) as caught:
        headers_now(lambda: headers)
    assert (caught.value.field, caught.value.index) == (f"client.{field}", None)
    assert caught.value.reason.startswith(says)
