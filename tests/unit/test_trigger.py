"""A trigger is plain data that is checked when it is defined: what no event could match is refused there."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from headrace_worker import DefinitionError, FilterError, event_trigger


class _Name(StrEnum):
    NEW = "user.new"


def test_names_and_sources_are_one_or_several() -> None:
    """One text and many give the same kind of trigger; the same one twice counts once; no source means any."""
    assert event_trigger("a").names == ("a",)
    assert event_trigger(["b", "a", "b"]).names == ("b", "a")
    assert event_trigger(name for name in ("a", "b")).names == ("a", "b")
    assert event_trigger("a").sources == ()
    assert event_trigger("a", source="x").sources == ("x",)
    assert event_trigger("a", source={"x"}).sources == ("x",)
    assert event_trigger("n" * 256).names == ("n" * 256,)


def test_a_member_of_an_enumeration_is_its_text() -> None:
    """It is stored as plain text."""
    (name,) = event_trigger(_Name.NEW).names
    assert type(name) is str
    assert name == "user.new"


@pytest.mark.parametrize("field", ["name", "source"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "is empty"),
        ("", "is empty"),
        ("x" * 257, "1 to 256 characters"),
        (["fine", ""], "is empty"),
        ([["a"]], "1 to 256 characters"),
        (7, "must be a string of 1 to 256"),
        (b"bytes", "must be a string of 1 to 256"),
        ({"a": "b"}, "must be a string of 1 to 256"),
        ("half a \ud800 sign", "lone surrogate"),
    ],
)
def test_what_no_event_can_have_is_refused(field: str, given: Any, said: str) -> None:
    """The error names the field and shows what was given."""
    with pytest.raises(DefinitionError, match=said) as caught:
        event_trigger(given) if field == "name" else event_trigger("fine", source=given)
    assert str(caught.value).startswith(f"event_trigger: {field}")


def test_a_trigger_needs_a_name() -> None:
    """None is not any name."""
    with pytest.raises(DefinitionError, match="name None must be a string"):
        event_trigger(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["filter", "context_filter"])
def test_a_wrong_filter_is_refused_with_its_path(field: str) -> None:
    """The path begins with the filter's own name."""
    with pytest.raises(FilterError, match=rf"{field}\.plan: expected a list or a dict"):
        event_trigger("a", **{field: {"plan": "pro"}})


def test_a_trigger_stays_what_it_was() -> None:
    """What was given can be changed afterwards, at any depth; what is stored is plain lists and dicts."""
    plans: list[Any] = ["pro"]
    given: dict[str, Any] = {"plan": plans, "user": {"name": ("a", "b"), "kind": [_Name.NEW]}}
    trigger = event_trigger("a", filter=given)
    plans.append("free")
    given["user"]["name"] = [1]
    assert trigger.filter == {"plan": ["pro"], "user": {"name": ["a", "b"], "kind": ["user.new"]}}
    assert event_trigger("a", filter={}).filter == {}
    assert event_trigger("a").filter is None
