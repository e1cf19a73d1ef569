"""Options beside an event go before those of the call; errors name the event and the option."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace import Event, SendOptions
from headrace.formats import codec
from headrace.formats.outgoing import Outgoing
from tests.support.outgoing import NOW, prepare_all, refuse

CALL = SendOptions(deliver_after=60, account_id="acme", ordering_key="all")


def options_of(outgoing: Outgoing) -> tuple[str, str | None, str]:
    return outgoing.terms.when, codec.decode_event(outgoing.body).a, outgoing.terms.ordering_key


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (SendOptions(), ("+60000", "acme", "all")),
        (SendOptions(account_id="own"), ("+60000", "own", "all")),
        (SendOptions(ordering_key="own"), ("+60000", "acme", "own")),
        (SendOptions(deliver_after=0), ("", "acme", "all")),
        (SendOptions(deliver_after=timedelta(seconds=1)), ("+1000", "acme", "all")),
        (SendOptions(deliver_at=NOW), ("1714564800124", "acme", "all")),
    ],
    ids=str,
)
@pytest.mark.parametrize("given", [Event("b"), {"name": "b"}], ids=["event", "mapping"])
def test_an_option_beside_an_event_goes_first(given: Any, own: SendOptions, expected: tuple[Any, ...]) -> None:
    """What it leaves out is as the call says, and the events around it are sent as the call says."""
    before, it, after = prepare_all(Event("a"), (given, own), Event("c"), options=CALL)
    assert options_of(it) == expected
    assert options_of(before) == options_of(after) == ("+60000", "acme", "all")
    assert [each.head.name for each in (before, it, after)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("own", "field"),
    [
        (SendOptions(deliver_after=-1), "deliver_after"),
        (SendOptions(deliver_at=NOW.replace(tzinfo=None)), "deliver_at"),
        (SendOptions(deliver_at=NOW, deliver_after=1), "deliver_at"),
        (SendOptions(account_id=""), "account_id"),
        (SendOptions(ordering_key="x" * 257), "ordering_key"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named_with_its_event(own: SendOptions, field: str) -> None:
    """By its place in the call."""
    assert str(refuse(Event("a"), (Event("b"), own))).startswith(f"events[1].{field}: ")


@pytest.mark.parametrize(
    "given", [(), (Event("a"),), (Event("a"), None), (Event("a"), {"deliver_after": 1}), (Event("a"), CALL, CALL)]
)
def test_a_pair_is_an_event_and_its_options(given: Any) -> None:
    """The error says what may stand there."""
    error = refuse(given)
    assert (error.field, error.index) == ("event", 0)
    assert error.reason == "must be one event, or one in a pair with its SendOptions"


def test_the_event_of_a_pair_is_checked_as_any() -> None:
    """The error names its place."""
    assert str(refuse(Event("a"), (7, CALL))).startswith("events[1].event: must be an Event, a typed")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Event("a"), "needs an event with an id"),
        ({"name": "a", "id": None}, "needs an event with an id"),
    ],
)
def test_only_an_id_of_the_sender_s_is_remembered_longer(given: Any, says: str) -> None:
    """A call may ask it for all its events, or for one of them."""
    for error in (
        refuse(Event("x", id="1"), given, options=SendOptions(dedupe_for=60)),
        refuse(Event("x"), (given, SendOptions(dedupe_for=60))),
    ):
        assert (error.field, error.index) == ("dedupe_for", 1)
        assert error.reason.startswith(says)
    options = SendOptions(dedupe_for=timedelta(days=2))
    assert [each.terms.dedupe_ms for each in prepare_all(Event("x", id="1"), options=options)] == [172_800_000]
    assert [each.terms.dedupe_ms for each in prepare_all(given, options=SendOptions(dedupe_for=0))] == [0]


def test_a_job_s_ids_are_not_remembered_longer() -> None:
    """Those that it derives and those that it gives are remembered as long as failures."""
    error = refuse((Event("a", id="1"), SendOptions(dedupe_for=60)), id_kind="d")
    assert str(error).startswith("events[0].dedupe_for: is not for events that a job sends")


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True, timedelta(days=40_000)], ids=repr)
def test_a_time_that_is_none_is_refused(value: Any) -> None:
    """It is seconds, as every duration."""
    assert refuse(Event("a", id="1"), options=SendOptions(dedupe_for=value)).field == "dedupe_for"
