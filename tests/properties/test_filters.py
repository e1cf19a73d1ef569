"""Filters against a naive evaluator, on filters and payloads that share keys and values so that hits are common."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from headrace_worker.app.filters import MISSING, compile_filter, explain
from tests.properties.naive_filter import naive_passes

Filter = dict[str, Any]

# How long a busy machine takes to draw or to judge proves nothing.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# The language's scalars, many of which are easily mistaken for one another.

ODD_STRINGS = ["", "a", "A", "ab", "1", "True", "é", "e\u0301", "É", "ß", "SS", "\ufb01", "fi", "ΐ"]
ODD_NUMBERS = [0, 1, 1.0, -0.0, 1.5, 2**53, 2**53 + 1, 2.0**53, 2**64 - 1, -(2**63), math.inf, -math.inf]

STRINGS = st.sampled_from(ODD_STRINGS) | st.text(max_size=3)
NUMBERS = (
    st.sampled_from(ODD_NUMBERS) | st.integers(-3, 3) | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
)
BOOLEANS = st.booleans()
SCALARS = STRINGS | NUMBERS | BOOLEANS
MANY = st.lists(STRINGS, max_size=3) | st.lists(NUMBERS, max_size=3) | st.lists(BOOLEANS, max_size=3)

# Filters.

KEYS = st.sampled_from(["a", "b", "c", "1"]) | st.text(max_size=2).filter(lambda key: not key.startswith("$"))

OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    "$startsWith": STRINGS,
    "$endsWith": STRINGS,
    "$ignoreCaseEquals": STRINGS,
    "$exists": BOOLEANS,
    "$isNull": BOOLEANS,
    "$anythingBut": SCALARS | MANY,
    "$gt": NUMBERS,
    "$gte": NUMBERS,
    "$lt": NUMBERS,
    "$lte": NUMBERS,
    "$between": st.tuples(NUMBERS, NUMBERS).map(sorted),
    "$includes": SCALARS,
    "$not": SCALARS,
}


@st.composite
def operator_objects(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(OPERANDS)), min_size=1, max_size=2, unique=True))
    return {name: draw(OPERANDS[name]) for name in names}


MATCHERS = MANY | st.lists(operator_objects(), max_size=2)
FILTERS: st.SearchStrategy[Filter] = st.recursive(
    st.dictionaries(KEYS, MATCHERS, max_size=2) | st.fixed_dictionaries({"a": MATCHERS}),
    lambda inner: st.dictionaries(KEYS, MATCHERS | inner, max_size=3) | st.fixed_dictionaries({"a": inner}),
    max_leaves=4,
)

# Payloads.

LEAVES = st.none() | SCALARS | st.floats() | st.binary(max_size=3) | st.datetimes(timezones=st.just(UTC))
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | LEAVES, inner, max_size=3),
    max_leaves=12,
)


def constants_in(item: Any) -> list[Any]:
    if isinstance(item, dict | list):
        inner = item.values() if isinstance(item, dict) else item
        return [constant for each in inner for constant in constants_in(each)]
    return [item]


def relatives_of(constant: Any) -> list[Any]:
    """Return the constant with what could be mistaken for it, begins or ends with it, or stands beside it in order."""
    if isinstance(constant, str):
        other_cases = [constant.swapcase(), constant.upper(), constant.casefold()]
        other_forms = [unicodedata.normalize("NFKD", constant), unicodedata.normalize("NFKC", constant.upper())]
        return [constant, f"{constant}a", f"a{constant}", *other_cases, *other_forms]
    if isinstance(constant, bool):
        return [constant, not constant, int(constant), str(constant)]
    other_types = [float(constant), bool(constant), str(constant)]
    return [constant, max(constant - 1, -(2**63)), min(constant + 1, 2**64 - 1), *other_types]


def values_near(item: Any) -> st.SearchStrategy[Any]:
    """Return what a key may hold so that both verdicts of the filter on it are likely."""
    others: st.SearchStrategy[Any] = st.none() | st.just({}) | ANYTHING
    if isinstance(item, dict):
        near = payloads_near(item)
    else:
        near = st.sampled_from(constants_in(item) or [""]).flatmap(lambda each: st.sampled_from(relatives_of(each)))
    return near | near | st.lists(near | near | st.lists(near, max_size=2) | others, max_size=3) | others


@st.composite
def payloads_near(draw: st.DrawFn, definition: Filter) -> Any:
    payload: dict[Any, Any] = draw(st.just({}) | st.dictionaries(KEYS | LEAVES, ANYTHING, max_size=2))
    for key, item in definition.items():
        if draw(st.integers(0, 5)):
            payload[key] = draw(values_near(item))
    return payload


def with_payloads(filters: st.SearchStrategy[Filter]) -> st.SearchStrategy[tuple[Filter, Any]]:
    def with_payload(definition: Filter) -> st.SearchStrategy[tuple[Filter, Any]]:
        near = payloads_near(definition)
        return st.tuples(st.just(definition), near | near | near | st.lists(near, max_size=2) | ANYTHING)

    return filters.flatmap(with_payload)


PAIRS = with_payloads(FILTERS)


def with_tuples(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: with_tuples(each) for key, each in item.items()}
    return tuple(map(with_tuples, item)) if isinstance(item, list) else item


@settings(unhurried, max_examples=1000)
@given(PAIRS)
def test_a_compiled_filter_agrees_with_the_naive_one(pair: tuple[Filter, Any]) -> None:
    """A filter passes on a payload exactly when the specification, read naively, says so."""
    definition, payload = pair
    assert compile_filter(definition)(payload) is naive_passes(definition, payload)


def value_at(payload: Any, keys: list[str]) -> Any:
    for key in keys:
        payload = payload.get(key, MISSING) if isinstance(payload, dict) else MISSING
    return payload


@settings(unhurried, max_examples=1000)
@given(PAIRS)
def test_an_explanation_agrees_with_the_compiled_filter(pair: tuple[Filter, Any]) -> None:
    """There is one exactly when the filter does not pass; what it found stands at its path."""
    definition, payload = pair
    mismatch = explain(definition, payload, at="p")
    assert (mismatch is None) is compile_filter(definition)(payload)
    if mismatch is not None:
        path, found, wanted = mismatch
        assert path.startswith("p")
        assert wanted
        if all(part.isidentifier() for part in path.split(".")):
            assert value_at(payload, path.split(".")[1:]) is found


@pytest.mark.parametrize("name", sorted(OPERANDS))
@unhurried
@given(data=st.data())
def test_each_operator_is_explained_where_it_fails(name: str, data: st.DataObject) -> None:
    """An explanation names the operator that fails, with its operand, and the value."""
    definition = {"a": [{name: data.draw(OPERANDS[name])}]}
    payload = data.draw(payloads_near(definition))
    mismatch = explain(definition, payload)
    assert (mismatch is None) is compile_filter(definition)(payload)
    if mismatch is not None and mismatch.path == "payload.a":
        assert mismatch.wanted.startswith(f"{name} ")


@pytest.mark.parametrize("name", sorted(OPERANDS))
@unhurried
@given(data=st.data())
def test_each_operator_agrees_with_the_naive_one(name: str, data: st.DataObject) -> None:
    """Each operator passes on a value exactly when its row of the specification says so."""
    definition = {"a": [{name: data.draw(OPERANDS[name])}]}
    payload = data.draw(payloads_near(definition))
    assert compile_filter(definition)(payload) is naive_passes(definition, payload)


@unhurried
@given(data=st.data())
def test_several_operators_agree_with_the_naive_one(data: st.DataObject) -> None:
    """Several operators, in one object and in more, pass on a value exactly when all their rows say so."""
    definition = {"a": data.draw(st.lists(operator_objects(), min_size=1, max_size=2))}
    payload = data.draw(payloads_near(definition))
    assert compile_filter(definition)(payload) is naive_passes(definition, payload)


@unhurried
@given(FILTERS, ANYTHING)
def test_evaluation_never_raises(definition: Filter, value: object) -> None:
    """A valid filter compiles, and judges anything that msgpack can carry."""
    assert compile_filter(definition)(value) in {True, False}


@unhurried
@given(PAIRS)
def test_a_filter_is_data(pair: tuple[Filter, Any]) -> None:
    """A filter comes back from msgpack as it was; neither that nor tuples in place of its lists change a verdict."""
    definition, payload = pair
    verdict = compile_filter(definition)(payload)
    returned = msgspec.msgpack.decode(msgspec.msgpack.encode(with_tuples(definition)))
    assert returned == definition
    assert compile_filter(returned)(payload) is verdict
    assert compile_filter(with_tuples(definition))(payload) is verdict


@unhurried
@given(PAIRS)
def test_a_payload_is_judged_alike_before_and_after_its_journey(pair: tuple[Filter, Any]) -> None:
    """A payload passes once msgpack has carried it exactly when it passed before."""
    definition, payload = pair
    passes = compile_filter(definition)
    assert passes(msgspec.msgpack.decode(msgspec.msgpack.encode(payload))) is passes(payload)


@pytest.mark.parametrize("verdict", [True, False], ids=["passes", "fails"])
@pytest.mark.parametrize("name", sorted(OPERANDS))
def test_the_strategies_reach_both_verdicts(name: str, *, verdict: bool) -> None:
    """For each operator there are payloads that pass and payloads that fail, so that agreement says something."""
    pairs = with_payloads(OPERANDS[name].map(lambda operand: {"a": [{name: operand}]}))

    def is_wanted(pair: tuple[Filter, Any]) -> bool:
        definition, payload = pair
        has_value = isinstance(payload, dict) and "a" in payload
        return has_value is (name != "$exists") and naive_passes(definition, payload) is verdict

    find(pairs, is_wanted, settings=settings(unhurried, max_examples=2000))
