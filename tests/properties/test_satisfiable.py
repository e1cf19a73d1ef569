"""A part of a filter that is said to be passed by no value is passed by none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from headrace_worker.app.filters import impossible_parts
from tests.properties.naive_filter import naive_passes
from tests.properties.test_filters import PAIRS, unhurried


@unhurried
@given(PAIRS)
def test_what_passes_is_possible(pair: tuple[dict[str, Any], Any]) -> None:
    """A filter that any payload passes has no impossible part."""
    definition, payload = pair
    if naive_passes(definition, payload):
        assert not list(impossible_parts(definition, "filter"))


@pytest.mark.parametrize(
    "matcher",
    [
        [{"$gt": 5, "$lt": 3}],
        [{"$gt": 5}, {"$lte": 5}],
        [{"$startsWith": "a"}, {"$gt": 1}],
        [{"$startsWith": "a", "$ignoreCaseEquals": "b"}],
        [{"$exists": False}, {"$isNull": True}],
        [{"$includes": 1, "$not": 1}],
        [{"$startsWith": "a"}, {"$startsWith": "b"}],
        [{"$anythingBut": [1]}, {"$gte": 1}, {"$lte": 1}],
    ],
    ids=str,
)
def test_contradictions_are_found(matcher: list[Any]) -> None:
    """At any depth; the path names them."""
    assert list(impossible_parts({"a": {"b": matcher, "c": ["x"]}}, "filter")) == ["filter.a.b"]


@pytest.mark.parametrize(
    "matcher",
    [
        [{"$gt": 3, "$lt": 5}],
        [{"$gt": 1e308}],
        [{"$startsWith": "ab"}, {"$startsWith": "a"}, {"$endsWith": "b"}],
        [{"$startsWith": "Ab", "$ignoreCaseEquals": "aBC"}],
        [{"$includes": 1}, {"$includes": "x"}],
        [{"$exists": True}, {"$isNull": True}],
        [{"$anythingBut": [1]}, {"$gte": 1}, {"$lt": 1.5}],
    ],
    ids=str,
)
def test_what_is_only_narrow_is_possible(matcher: list[Any]) -> None:
    """No warning is better than a wrong one."""
    assert not list(impossible_parts({"a": matcher}, "filter"))
