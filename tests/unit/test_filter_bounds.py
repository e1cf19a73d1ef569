"""A hostile filter or payload costs no more than its size."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from headrace_worker import FilterError
from headrace_worker.app.filters import MAX_DEPTH, compile_filter
from tests.support.filters import DEEP, nested


def listed(depth: int, innermost: Any) -> Any:
    for _ in range(depth):
        innermost = [innermost]
    return innermost


def test_a_filter_may_nest_to_the_limit() -> None:
    """A filter of the greatest depth is evaluated, on mappings and on lists of them."""
    passes = compile_filter(nested(MAX_DEPTH, ["x"]))
    assert passes(nested(MAX_DEPTH, "x"))
    assert not passes(nested(MAX_DEPTH, "y"))
    value: Any = "x"
    for _ in range(MAX_DEPTH):
        value = [[None, {"a": value}]]
    assert passes(value)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, DEEP])
def test_a_filter_that_nests_deeper_is_an_error(depth: int) -> None:
    """A filter deeper than the limit is an error at definition, however deep it is."""
    with pytest.raises(FilterError, match="more than 64 dicts stand inside one another") as caught:
        compile_filter(nested(depth, []))
    assert caught.value.path == "filter" + MAX_DEPTH * ".a"


def test_a_filter_that_contains_itself_is_an_error() -> None:
    """A filter without end is an error at definition."""
    definition: dict[str, Any] = {}
    definition["a"] = definition
    with pytest.raises(FilterError, match="more than 64 dicts"):
        compile_filter(definition)


@pytest.mark.parametrize("items", [listed(DEEP, "x"), [listed(DEEP, {})], [{"$not": listed(DEEP, "x")}]])
def test_lists_in_a_filter_never_nest(items: Any) -> None:
    """Lists inside one another are an error at definition, however deep they are."""
    with pytest.raises(FilterError, match="expected a string, a number or a boolean, not a list"):
        compile_filter({"a": items})


def test_a_payload_may_nest_as_deep_as_it_likes() -> None:
    """No depth of a payload's mappings or lists disturbs evaluation."""
    passes = compile_filter({"a": {"a": ["x"]}})
    assert not passes(nested(DEEP, "x"))
    assert passes(listed(DEEP, {"a": listed(DEEP, {"a": "x"})}))
    assert not passes(listed(DEEP, {"a": listed(DEEP, {"a": "y"})}))
    assert compile_filter({"a": [{"$not": "x"}]})({"a": listed(DEEP, "x")})


def test_a_long_string_is_not_normalised_in_vain() -> None:
    """A string too long to be equal is refused by its length: normalising one like this takes time quadratic in it."""
    passes = compile_filter({"a": [{"$ignoreCaseEquals": "abc"}]})
    started = time.process_time()
    assert not passes({"a": "a" + "\u0301" * 50_000 + "\u0327" * 50_000})
    assert time.process_time() - started < 1


def test_no_form_of_a_character_is_too_long_to_be_equal() -> None:
    """Every character equals what it decomposes and folds to when case is ignored, whatever their lengths."""
    characters = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    composed = [each for each in characters if unicodedata.normalize("NFKD", each) != each or each.casefold() != each]
    assert len(composed) > 10_000
    for each in composed:
        passes = compile_filter({"a": [{"$ignoreCaseEquals": each}]})
        decomposed = unicodedata.normalize("NFKD", each)
        assert passes({"a": decomposed}), each
        assert passes({"a": unicodedata.normalize("NFKD", decomposed.casefold())}), each


@pytest.mark.parametrize(
    ("definition", "make"),
    [
        ({"a": {"b": [{"$ignoreCaseEquals": "x"}]}}, lambda n: {"a": [{"b": ["y"] * 10}] * n}),
        ({"a": [{"$anythingBut": ["x"]}, {"$includes": "y"}]}, lambda n: {"a": ["x"] * n}),
        (nested(MAX_DEPTH - 1, {"z": ["x"]}), lambda n: nested(MAX_DEPTH - 1, [[["y"]] * 10] * n)),
    ],
)
def test_the_cost_of_a_filter_is_linear_in_the_payload(definition: dict[str, Any], make: Callable[[int], Any]) -> None:
    """An event of twice the size takes at most twice the work, so that no payload can hold a dispatcher up."""
    passes = compile_filter(definition)

    def calls_for(size: int) -> int:
        calls = 0

        def note(_frame: object, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        payload = make(size)
        sys.setprofile(note)
        try:
            assert not passes(payload)
        finally:
            sys.setprofile(None)
        return calls

    assert calls_for(400) <= 2 * calls_for(200) + 10
