"""Each operator of the filter language, on each kind of value."""

from __future__ import annotations

import math
from enum import IntEnum, StrEnum
from typing import Any

import msgspec
import pytest

from headrace_worker.app.filters import compile_filter
from tests.support.filters import ALL_OPERATORS, MISSING, NAN, NOW, judge_key


class Plan(StrEnum):
    PRO = "pro"


class Level(IntEnum):
    HIGH = 3


# Scalars.


@pytest.mark.parametrize(
    ("scalars", "value", "verdict"),
    [
        (["a"], "a", True),
        (["a", "b"], "b", True),
        (["a", "b"], "c", False),
        (["a"], "A", False),
        (["a"], "ab", False),
        ([""], "", True),
        (["é"], "e\u0301", False),
        ([1, 2.5], 2.5, True),
        ([0.0], -0.0, True),
        ([math.inf], math.inf, True),
        ([math.inf], -math.inf, False),
        ([1], NAN, False),
        ([True], True, True),
        ([True], False, False),
        ([True, False], False, True),
        (["a"], MISSING, False),
        (["a"], None, False),
        (["a"], ["a"], False),
        (["a"], [], False),
        (["a"], {"a": "a"}, False),
        (["a"], b"a", False),
        ([0], NOW, False),
    ],
)
def test_a_list_of_scalars_passes_on_any_of_them(scalars: Any, value: object, *, verdict: bool) -> None:
    """A value passes a list of scalars if it equals one; nothing, None, lists, mappings, bytes and times never do."""
    assert judge_key(scalars, value) is verdict


@pytest.mark.parametrize("wanted", [1, 1.0, True, "1", "True"])
@pytest.mark.parametrize("value", [1, 1.0, True, "1", "True", b"1"])
def test_types_are_strict(wanted: Any, value: object) -> None:
    """1, True and "1" are three values, for scalars and for every operator that compares; 1 and 1.0 are one."""
    is_same = type(wanted) is type(value) and wanted == value
    is_same = is_same or (type(wanted) in {int, float} and type(value) in {int, float})
    assert judge_key([wanted], value) is is_same
    assert judge_key([{"$anythingBut": wanted}], value) is not is_same
    assert judge_key([{"$anythingBut": [wanted]}], value) is not is_same
    assert judge_key([{"$not": wanted}], value) is not is_same
    assert judge_key([{"$not": wanted}], [value]) is not is_same
    assert judge_key([{"$includes": wanted}], [value]) is is_same


@pytest.mark.parametrize(
    ("item", "value", "verdict"),
    [
        ([2**53], 2.0**53, True),
        ([2**53 + 1], 2.0**53, False),
        ([2.0**53], 2**53 + 1, False),
        ([{"$gt": 2.0**53}], 2**53 + 1, True),
        ([{"$lt": 2**53 + 1}], 2.0**53, True),
        ([{"$gte": 2**53 + 1}], 2.0**53, False),
        ([{"$between": [2.0**53, 2**53]}], 2**53 + 1, False),
        ([{"$not": 2**53 + 1}], [2.0**53], True),
        ([2**64 - 1], 2**64 - 1, True),
        ([2**64 - 1], 2.0**64, False),
        ([-(2**63)], -(2.0**63), True),
        ([{"$lt": math.inf}], 2**64 - 1, True),
    ],
)
def test_integers_and_floats_compare_exactly(item: Any, value: object, *, verdict: bool) -> None:
    """An integer that no float can hold neither equals nor is ordered like the float next to it."""
    assert judge_key(item, value) is verdict


def test_nan_in_a_payload_equals_nothing_and_has_no_order() -> None:
    """NaN is a number that differs from every operand and passes no comparison."""
    passing = [{"$anythingBut": 1}, {"$not": 1}, {"$exists": True}, {"$isNull": False}]
    failing = [{"$gt": 1}, {"$gte": 1}, {"$lt": 1}, {"$lte": 1}, {"$between": [-math.inf, math.inf]}, {"$includes": 1}]
    assert all(judge_key([each], NAN) for each in passing)
    assert not any(judge_key([each], NAN) for each in failing)


def test_members_of_enums_count_as_their_values() -> None:
    """A filter may be written with the members of string and integer enums, and is sent as their values."""
    definition = {"plan": [Plan.PRO], "level": [{"$gte": Level.HIGH}], "old": [{"$ignoreCaseEquals": Plan.PRO}]}
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(definition))
    for each in (definition, sent):
        assert compile_filter(each)({"plan": "pro", "level": 3, "old": "PRO"})
        assert not compile_filter(each)({"plan": "pro", "level": 2, "old": "PRO"})


# The operators: what each passes on and what it fails on, which includes every kind of value.

TABLE: dict[str, list[tuple[dict[str, Any], list[Any], list[Any]]]] = {
    "$startsWith": [
        (
            {"$startsWith": "Jo"},
            ["Jo", "John"],
            [MISSING, None, ["Jo"], ["John"], {"Jo": 1}, "", "J", "jo", "aJo", 1, True, b"Jo", NOW],
        ),
        ({"$startsWith": ""}, ["", "a"], [MISSING, None, [], {}, 0, False]),
    ],
    "$endsWith": [
        (
            {"$endsWith": "hn"},
            ["hn", "John"],
            [MISSING, None, ["hn"], ["John"], {"hn": 1}, "", "n", "HN", "hna", 1, True, b"hn", NOW],
        ),
        ({"$endsWith": ""}, ["", "a"], [MISSING, None, [], {}, 0, False]),
    ],
    "$ignoreCaseEquals": [
        (
            {"$ignoreCaseEquals": "Straße 1"},
            ["Straße 1", "STRASSE 1", "strasse 1", "STRA\u1e9eE 1", "straße\u00a0\uff11"],
            [MISSING, None, ["Straße 1"], {"Straße 1": 1}, "", "Strase 1", "Straße 1 ", 1, True, b"Strasse 1", NOW],
        ),
        ({"$ignoreCaseEquals": "CAFÉ"}, ["café", "cafe\u0301", "Cafe\u0301"], ["cafe", "CAFE", "cafè"]),
        ({"$ignoreCaseEquals": "ΐ"}, ["ΐ", "Ϊ\u0301", "\u0399\u0308\u0301"], ["ϊ", "\u03b9\u0301\u0308"]),
        ({"$ignoreCaseEquals": "\u1fb7"}, ["\u1fb7", "\u1fb7".upper(), "\u1fbc\u0342"], ["\u1fb6", "\u03b1"]),
        ({"$ignoreCaseEquals": "ΣΊΣΥΦΟΣ"}, ["σίσυφος", "Σίσυφος", "σίσυφοσ"], ["σισυφος"]),
        ({"$ignoreCaseEquals": "\ufb01"}, ["fi", "FI", "\ufb01"], ["f", "\u0131"]),
        ({"$ignoreCaseEquals": ""}, [""], [MISSING, None, [], {}, " ", 0, False]),
    ],
    "$exists": [
        ({"$exists": True}, [None, 0, "", False, [], {}, ["a"], b"", NOW], [MISSING]),
        ({"$exists": False}, [MISSING], [None, 0, "", False, [], {}, ["a"], b"", NOW]),
    ],
    "$isNull": [
        ({"$isNull": True}, [None], [MISSING, 0, "", False, [], [None], {}, b"", NOW]),
        ({"$isNull": False}, [MISSING, 0, "", False, [], [None], {}, b"", NOW], [None]),
    ],
    "$anythingBut": [
        (
            {"$anythingBut": "a"},
            [MISSING, None, [], ["a"], ["b"], {}, {"a": "a"}, "A", "b", "", 1, True, b"a", NOW],
            ["a"],
        ),
        ({"$anythingBut": ["a", "b"]}, [MISSING, None, [], ["a"], ["a", "b"], {}, "c", 1], ["a", "b"]),
        ({"$anythingBut": [1, 2.5]}, [MISSING, None, [1], True, "1", 2], [1, 1.0, 2.5]),
        ({"$anythingBut": False}, [MISSING, None, [False], {}, 0, 0.0, "", True], [False]),
        ({"$anythingBut": []}, [MISSING, None, [], {}, "", 0, False], []),
    ],
    "$gt": [
        (
            {"$gt": 1},
            [1.5, 2, math.inf],
            [MISSING, None, [2], [], {}, {"a": 2}, 1, 1.0, 0, "2", True, b"2", NOW],
        ),
        ({"$gt": 0}, [1], [True, False, "a", "1"]),
    ],
    "$gte": [
        (
            {"$gte": 1},
            [1, 1.0, 2, math.inf],
            [MISSING, None, [2], [], {}, {"a": 2}, 0.5, -1, "2", True, b"2", NOW],
        ),
    ],
    "$lt": [
        (
            {"$lt": 1},
            [0.5, 0, -math.inf],
            [MISSING, None, [0], [], {}, {"a": 0}, 1, 1.0, 2, "0", False, b"0", NOW],
        ),
    ],
    "$lte": [
        (
            {"$lte": 1},
            [1, 1.0, 0, -math.inf],
            [MISSING, None, [0], [], {}, {"a": 0}, 1.5, 2, "0", True, False, b"0", NOW],
        ),
    ],
    "$between": [
        (
            {"$between": [1, 2.5]},
            [1, 1.0, 2, 2.5],
            [MISSING, None, [2], [1, 2], [], {}, {"a": 2}, 0.9, 2.6, "2", True, b"2", NOW],
        ),
        ({"$between": (3, 3)}, [3, 3.0], [2, 4]),
    ],
    "$includes": [
        (
            {"$includes": "a"},
            [["a"], ["b", "a"], [None, 1, {}, [], "a"]],
            [MISSING, None, [], ["b"], ["A"], ["ab"], [["a"]], [{"a": "a"}], "a", "cat", {}, {"a": 1}, 1, True, b"a"],
        ),
        ({"$includes": 1}, [[1], [1.0], [True, 1]], [[True], ["1"], [NAN], 1, "1"]),
        ({"$includes": False}, [[False]], [[0], [None], [True], False]),
    ],
    "$not": [
        (
            {"$not": "a"},
            ["A", "ab", "", 1, True, b"a", NOW, [], ["b"], [["a"]], [{"a": "a"}]],
            [MISSING, None, "a", ["a"], ["b", "a"], {}, {"a": "b"}],
        ),
        ({"$not": 1}, [True, "1", 2, [True], ["1"], []], [MISSING, None, 1, 1.0, [1], [1.0], {}]),
        ({"$not": False}, [0, True, [0], [None]], [MISSING, None, False, [False], {}]),
    ],
}


ROWS = [row for rows in TABLE.values() for row in rows]


def shown(value: object) -> str:
    return "missing" if value is MISSING else repr(value)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        pytest.param(operator, value, id=f"{operator}-{shown(value)}")
        for operator, passing, _ in ROWS
        for value in passing
    ],
)
def test_an_operator_passes_where_its_row_says_so(operator: dict[str, Any], value: object) -> None:
    """The operator passes on the value, as the table of operators says."""
    assert judge_key([operator], value)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        pytest.param(operator, value, id=f"{operator}-{shown(value)}")
        for operator, _, failing in ROWS
        for value in failing
    ],
)
def test_an_operator_fails_where_its_row_says_so(operator: dict[str, Any], value: object) -> None:
    """The operator fails on the value, as the table of operators says."""
    assert not judge_key([operator], value)


@pytest.mark.parametrize("name", TABLE)
def test_the_table_has_every_column_for_every_operator(name: str) -> None:
    """A missing value, None, a list and a mapping are all judged by each operator's first row."""
    _, passing, failing = TABLE[name][0]
    values = passing + failing
    assert MISSING in values
    assert None in values
    assert any(isinstance(value, list) for value in values)
    assert any(isinstance(value, dict) for value in values)


def test_the_table_has_every_operator() -> None:
    """The table above and the language know the same operators."""
    assert ", ".join(TABLE) == ALL_OPERATORS


@pytest.mark.parametrize(
    ("operators", "value", "verdict"),
    [
        ([{"$gt": 1}, {"$lt": 3}], 2, True),
        ([{"$gt": 1}, {"$lt": 3}], 3, False),
        ([{"$gt": 1}, {"$lt": 3}], 1, False),
        ([{"$gt": 1, "$lt": 3}], 2, True),
        ([{"$gt": 1, "$lt": 3}], 3, False),
        ([{"$gt": 1, "$lt": 3}], 1, False),
        ([{"$gt": 1, "$lt": 3}, {"$not": 2}], 2, False),
        ([{"$not": 1}, {"$not": 2}, {"$not": 3}], 3, False),
        ([{"$exists": True, "$isNull": False}], None, False),
        ([{"$exists": True, "$isNull": False}], MISSING, False),
        ([{"$includes": "a"}, {"$includes": "b"}], ["a", "b"], True),
        ([{"$includes": "a", "$not": "b"}], ["a", "b"], False),
    ],
)
def test_all_operators_must_pass(operators: Any, value: object, *, verdict: bool) -> None:
    """Operators are AND-ed, whether they stand in one object or in several."""
    assert judge_key(operators, value) is verdict


@pytest.mark.parametrize("value", [MISSING, None, 1, "a", False, [], {}, b"", NOW])
def test_an_empty_list_is_no_constraint(value: object) -> None:
    """A key with an empty list passes on any value, and on none."""
    assert judge_key([], value)
