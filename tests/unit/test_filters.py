"""The filter language: its grammar, its errors, each operator on each kind of value, and filters inside filters."""

from __future__ import annotations

import copy
import math
import pickle
import sys
import time
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any

import msgspec
import pytest

from headrace import HeadraceError
from headrace_worker import FilterError
from headrace_worker.app.filters import MAX_DEPTH, compile_filter
from tests.properties.naive_filter import naive_passes

MISSING = object()
NOW = datetime(2024, 2, 29, tzinfo=UTC)
NAN = math.nan
DEEP = 100_000
ALL_OPERATORS = (
    "$startsWith, $endsWith, $ignoreCaseEquals, $exists, $isNull, $anythingBut, "
    "$gt, $gte, $lt, $lte, $between, $includes, $not"
)

JOHN = {
    "name": "John",
    "age": 30,
    "isAdmin": False,
    "hobbies": ["reading", "swimming"],
    "address": {"street": "123 Main St", "city": "Anytown"},
}
ITEMS = {"items": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]}


class Plan(StrEnum):
    PRO = "pro"


class Level(IntEnum):
    HIGH = 3


class Opaque(Enum):
    PRO = "pro"


class Text(str):
    __slots__ = ()


def judge(definition: Any, value: object) -> bool:
    """Returns the verdict, on which the compiled filter and the naive evaluator must agree."""
    verdict = compile_filter(definition)(value)
    assert verdict is naive_passes(definition, value)
    return verdict


def judge_key(item: Any, value: object) -> bool:
    """Returns the verdict of what a filter says of one key, on a payload whose key has the value or is MISSING."""
    return judge({"key": item}, {"other": 1} if value is MISSING else {"key": value, "other": 1})


def nested(depth: int, innermost: Any) -> Any:
    for _ in range(depth):
        innermost = {"a": innermost}
    return innermost


def listed(depth: int, innermost: Any) -> Any:
    for _ in range(depth):
        innermost = [innermost]
    return innermost


# The cases of the specification.


@pytest.mark.parametrize(
    ("definition", "payload"),
    [
        ({"name": ["John"]}, JOHN),
        ({"isAdmin": [False]}, JOHN),
        ({"age": [30]}, JOHN),
        ({"name": [{"$startsWith": "Jo"}, {"$endsWith": "hn"}]}, JOHN),
        ({"name": [{"$anythingBut": "Jane"}], "address": {"street": [{"$anythingBut": "456 Elm St"}]}}, JOHN),
        ({"foo": [{"$exists": False}]}, JOHN),
        ({"hobbies": [{"$includes": "reading"}]}, JOHN),
        ({"hobbies": [{"$not": "gaming"}]}, JOHN),
        ({"items": {"k": ["b"]}}, ITEMS),
        ({"a": {"b": [{"$exists": False}]}}, {"a": {}}),
    ],
)
def test_what_passes_in_the_specification_passes(definition: Any, payload: Any) -> None:
    """Each case that the specification lets pass does."""
    assert judge(definition, payload)


@pytest.mark.parametrize(
    ("definition", "payload"),
    [
        ({"name": ["Jane"]}, JOHN),
        ({"age": ["30"]}, JOHN),
        ({"isAdmin": [0]}, JOHN),
        ({"age": [{"$gt": 20}, {"$lt": 30}]}, JOHN),
        ({"hobbies": ["reading"]}, JOHN),
        ({"items": {"k": ["a"], "v": [2]}}, ITEMS),
        ({"a": {"b": [{"$exists": False}]}}, {}),
    ],
)
def test_what_fails_in_the_specification_fails(definition: Any, payload: Any) -> None:
    """Each case that the specification lets fail does."""
    assert not judge(definition, payload)


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


# Filters inside filters, and against whole payloads.


@pytest.mark.parametrize("value", [MISSING, None, 1, "a", False, [], [[]], [None], {}, {"a": 1}, b"", NOW])
def test_the_empty_filter_passes_always(value: object) -> None:
    """{} passes on any value as a whole filter, and on any value and none as a nested one."""
    assert judge({}, None if value is MISSING else value)
    assert judge_key({}, value)


EXISTS = {"a": [{"$exists": True}]}
LACKS = {"a": [{"$exists": False}]}


@pytest.mark.parametrize(
    ("definition", "value", "verdict"),
    [
        # a mapping
        ({"a": [1]}, {"a": 1, "b": 2}, True),
        ({"a": [1]}, {"a": 2}, False),
        ({"a": [1], "b": [2]}, {"a": 1, "b": 3}, False),
        ({"a": {"b": {"c": [1]}}}, {"a": {"b": {"c": 1}}}, True),
        ({"a": {"b": {"c": [1]}}}, {"a": {"b": {"c": 2}}}, False),
        (LACKS, {}, True),
        ({"a": []}, {}, True),
        # a list: one element passes the whole filter
        ({"a": [1]}, [{"a": 2}, {"a": 1}], True),
        ({"a": [1]}, [{"a": 2}, {"a": 3}], False),
        ({"a": [1], "b": [1]}, [{"a": 1, "b": 2}, {"a": 2, "b": 1}], False),
        ({"a": [1], "b": [1]}, [{"a": 1, "b": 2}, {"a": 1, "b": 1}], True),
        ({"a": [1]}, [], False),
        (LACKS, [], False),
        ({"a": []}, [], False),
        (LACKS, [None], False),
        (LACKS, [None, 5], True),
        ({"a": [1]}, [[{"a": 1}]], True),
        ({"a": [1], "b": [1]}, [[{"a": 1}, {"b": 1}]], False),
        (LACKS, [[]], False),
        (LACKS, [[[None], []], [[]]], False),
        ({"a": {"b": [1]}}, {"a": [{"b": 2}, {"b": 1}]}, True),
        ({"a": {"b": {"c": [1]}}}, {"a": [{"b": [{"c": 2}]}, {"b": [{"c": 1}]}]}, True),
        # nothing and None
        ({"a": [1]}, None, False),
        (LACKS, None, False),
        ({"a": []}, None, False),
        ({"a": {}}, None, False),
        ({"a": {"b": []}}, {}, False),
        ({"a": LACKS}, {}, False),
        ({"a": LACKS}, {"a": None}, False),
        ({"a": {"b": {}}}, {}, False),
        ({"a": {"b": {}}}, {"a": {}}, True),
        # any other scalar is like {}
        (LACKS, 5, True),
        (LACKS, "text", True),
        (LACKS, False, True),
        (LACKS, b"a", True),
        (LACKS, NOW, True),
        (EXISTS, 5, False),
        (EXISTS, "a", False),
        ({"a": []}, 5, True),
        ({"a": {}}, 5, True),
        ({"a": {"b": []}}, 5, False),
        ({"a": [{"$anythingBut": 1}]}, 0, True),
        # keys are strings, and no other key is one of them
        ({"1": [1]}, {1: 1}, False),
        ({"1": [1]}, {b"1": 1, 1: 1, None: 1, NOW: 1, (1, 2): 1, "1": 1}, True),
        ({"": [1], "a.b": [2], "é": [3]}, {"": 1, "a.b": 2, "é": 3}, True),
        ({"a.b": [1]}, {"a": {"b": 1}}, False),
    ],
)
def test_a_filter_against_a_value_of_each_kind(definition: Any, value: object, *, verdict: bool) -> None:
    """A filter judges a payload and a value inside one alike: mappings, lists, None and scalars."""
    assert judge(definition, value) is verdict
    assert judge_key(definition, value) is verdict


@pytest.mark.parametrize("value", [(), ("a",), ({"k": 1},)])
def test_a_tuple_is_a_list(value: tuple[object, ...]) -> None:
    """Tuples in a payload are judged as the lists that they become on their way."""
    for item in ({"k": [1]}, ["a"], [{"$includes": "a"}], [{"$not": "a"}], [{"$anythingBut": "a"}]):
        assert judge_key(item, value) is judge_key(item, list(value))


def test_tuples_stand_for_lists_in_a_filter() -> None:
    """A filter written with tuples is the filter written with lists."""
    passes = compile_filter({"a": ("x", "y"), "b": ({"$between": (1, 2)}, {"$anythingBut": (1, 3)}), "c": ()})
    assert passes({"a": "y", "b": 2})
    assert not passes({"a": "y", "b": 1})


def test_a_compiled_filter_is_its_own() -> None:
    """What becomes of the definition after it was compiled changes no verdict."""
    definition: Any = {"a": ["x"], "b": [{"$anythingBut": ["y"]}], "c": {"d": [1]}}
    passes = compile_filter(definition)
    definition["a"].append("z")
    definition["b"][0]["$anythingBut"].append("z")
    definition["c"]["d"] = []
    definition["e"] = ["x"]
    assert passes({"a": "x", "b": "z", "c": {"d": 1}})
    assert not passes({"a": "z", "b": "z", "c": {"d": 1}})


# Hostile input.


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


# Errors. Each message is the whole of what its reader sees.


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        # a filter
        (None, "filter: expected a dict, not None"),
        ([], "filter: expected a dict, not a list"),
        ("name", 'filter: expected a dict, not "name"'),
        ({1: ["a"]}, "filter: expected a string as key, not 1"),
        ({"a": {None: ["a"]}}, "filter.a: expected a string as key, not None"),
        ({"a": {b"b": ["a"]}}, "filter.a: expected a string as key, not a value of type bytes"),
        ({"\ud800": []}, "filter: expected a string as key, not a string that UTF-8 cannot encode"),
        ({"$gt": 1}, 'filter: expected a key, not "$gt"; an operator stands in a list'),
        ({"a": {"$gt": 1}}, 'filter.a: expected a key, not "$gt"; an operator stands in a list'),
        ({"a": {"$ref": ["x"]}}, 'filter.a: expected a key, not "$ref"; an operator stands in a list'),
        # a bare value
        ({"name": "John"}, 'filter.name: expected a list or a dict, not "John"; write ["John"]'),
        ({"age": 30}, "filter.age: expected a list or a dict, not 30; write [30]"),
        ({"isAdmin": False}, "filter.isAdmin: expected a list or a dict, not False; write [False]"),
        ({"a": {"b": None}}, 'filter.a.b: expected a list or a dict, not None; write [{"$isNull": True}]'),
        ({"a": NAN}, "filter.a: expected a list or a dict, not NaN"),
        ({"a": {"x"}}, "filter.a: expected a list or a dict, not a value of type set"),
        # a scalar
        ({"a": [None]}, "filter.a[0]: expected a string, a number or a boolean, not None; for None there is $isNull"),
        (
            {"a": ["x", None]},
            "filter.a[1]: expected a string, a number or a boolean, not None; for None there is $isNull",
        ),
        ({"a": [["x"]]}, "filter.a[0]: expected a string, a number or a boolean, not a list"),
        ({"a": [b"x"]}, "filter.a[0]: expected a string, a number or a boolean, not a value of type bytes"),
        ({"a": [NOW]}, "filter.a[0]: expected a string, a number or a boolean, not a value of type datetime"),
        ({"a": [Decimal(1)]}, "filter.a[0]: expected a string, a number or a boolean, not a value of type Decimal"),
        ({"a": [Text("x")]}, "filter.a[0]: expected a string, a number or a boolean, not a value of type Text"),
        ({"a": [Opaque.PRO]}, "filter.a[0]: expected a string, a number or a boolean, not a value of type Opaque"),
        ({"a": [1, NAN]}, "filter.a[1]: expected a string, a number or a boolean, not NaN"),
        ({"a": [2**64]}, "filter.a[0]: expected a string, a number or a boolean, not an integer over 64 bits"),
        ({"a": [-(2**63) - 1]}, "filter.a[0]: expected a string, a number or a boolean, not an integer over 64 bits"),
        ({"a": [10**5000]}, "filter.a[0]: expected a string, a number or a boolean, not an integer over 64 bits"),
        (
            {"a": ["x\udfff"]},
            "filter.a[0]: expected a string, a number or a boolean, not a string that UTF-8 cannot encode",
        ),
        # a mixture
        ({"a": [1, True]}, "filter.a[1]: expected a number like those before it, not a boolean"),
        ({"a": [True, 1]}, "filter.a[1]: expected a boolean like those before it, not a number"),
        ({"a": ["1", "2", 3]}, "filter.a[2]: expected a string like those before it, not a number"),
        ({"a": ["x", {"$gt": 1}]}, "filter.a[1]: expected a string like those before it, not an operator"),
        ({"a": [{"$gt": 1}, 2]}, "filter.a[1]: expected an operator like those before it, not a number"),
        # an operator's name
        (
            {"address": {"city": [{"$endsWith": "x"}, {"$startswith": "x"}]}},
            'filter.address.city[1]: unknown operator "$startswith"; did you mean "$startsWith"?',
        ),
        ({"a": [{"$beetween": [1, 2]}]}, 'filter.a[0]: unknown operator "$beetween"; did you mean "$between"?'),
        ({"a": [{"$isnull": True}]}, 'filter.a[0]: unknown operator "$isnull"; did you mean "$isNull"?'),
        ({"a": [{"$STARTSWITH": "x"}]}, 'filter.a[0]: unknown operator "$STARTSWITH"; did you mean "$startsWith"?'),
        ({"a": [{"gt": 1}]}, 'filter.a[0]: unknown operator "gt"; did you mean "$gt"?'),
        ({"a": [{"$eq": 1}]}, f'filter.a[0]: unknown operator "$eq"; there are {ALL_OPERATORS}'),
        ({"a": [{"$gt": 1, "$": 1}]}, f'filter.a[0]: unknown operator "$"; there are {ALL_OPERATORS}'),
        ({"items": [{"k": ["b"]}]}, 'filter.items[0]: unknown operator "k"; a nested filter stands without a list'),
        (
            {"items": [{"type": ["b"]}]},
            'filter.items[0]: unknown operator "type"; a nested filter stands without a list',
        ),
        ({"a": [{1: 1}]}, "filter.a[0]: unknown operator 1; a nested filter stands without a list"),
        ({"a": [{}]}, "filter.a[0]: expected an operator, not an empty dict"),
        ({"a": [{"$gt": 1}, {}]}, "filter.a[1]: expected an operator, not an empty dict"),
        # an operator's operand
        ({"a": [{"$startsWith": 1}]}, "filter.a[0].$startsWith: expected a string, not 1"),
        ({"a": [{"$endsWith": ["x"]}]}, "filter.a[0].$endsWith: expected a string, not a list"),
        ({"a": [{"$ignoreCaseEquals": None}]}, "filter.a[0].$ignoreCaseEquals: expected a string, not None"),
        ({"a": [{"$exists": 1}]}, "filter.a[0].$exists: expected a boolean, not 1"),
        ({"a": [{"$isNull": "true"}]}, 'filter.a[0].$isNull: expected a boolean, not "true"'),
        ({"a": [{"$gt": "5"}]}, 'filter.a[0].$gt: expected a number, not "5"'),
        ({"a": [{"$gte": True}]}, "filter.a[0].$gte: expected a number, not True"),
        ({"a": [{"$lt": NOW}]}, "filter.a[0].$lt: expected a number, not a value of type datetime"),
        ({"a": [{"$gt": 0, "$lte": NAN}]}, "filter.a[0].$lte: expected a number, not NaN"),
        ({"a": [{"$between": 5}]}, "filter.a[0].$between: expected [low, high], two numbers"),
        ({"a": [{"$between": [1]}]}, "filter.a[0].$between: expected [low, high], two numbers"),
        ({"a": [{"$between": [1, 2, 3]}]}, "filter.a[0].$between: expected [low, high], two numbers"),
        ({"a": [{"$between": "12"}]}, "filter.a[0].$between: expected [low, high], two numbers"),
        ({"a": [{"$between": range(2)}]}, "filter.a[0].$between: expected [low, high], two numbers"),
        ({"a": [{"$between": [1, "2"]}]}, 'filter.a[0].$between[1]: expected a number, not "2"'),
        ({"a": [{"$between": [False, 2]}]}, "filter.a[0].$between[0]: expected a number, not False"),
        ({"a": [{"$between": [5, 1]}]}, "filter.a[0].$between: expected the lower bound first, not 5 before 1"),
        ({"a": [{"$includes": ["x"]}]}, "filter.a[0].$includes: expected a string, a number or a boolean, not a list"),
        (
            {"a": [{"$not": None}]},
            "filter.a[0].$not: expected a string, a number or a boolean, not None; for None there is $isNull",
        ),
        ({"a": [{"$not": {"$gt": 1}}]}, "filter.a[0].$not: expected a string, a number or a boolean, not a dict"),
        (
            {"a": [{"$anythingBut": {"x": 1}}]},
            "filter.a[0].$anythingBut: expected a string, a number or a boolean, not a dict",
        ),
        (
            {"a": [{"$anythingBut": ["x", ["y"]]}]},
            "filter.a[0].$anythingBut[1]: expected a string, a number or a boolean, not a list",
        ),
        (
            {"a": [{"$anythingBut": [0, False]}]},
            "filter.a[0].$anythingBut[1]: expected a number like those before it, not a boolean",
        ),
        # where it is
        ({"a.b": {"c-d": {"": 3}}}, 'filter["a.b"]["c-d"][""]: expected a list or a dict, not 3; write [3]'),
        ({'"': {"größe": 3}}, 'filter["\\""].größe: expected a list or a dict, not 3; write [3]'),
        ({"a": [{"$gt": "x" * 61}]}, f'filter.a[0].$gt: expected a number, not "{"x" * 60}"...'),
    ],
)
def test_a_wrong_filter_is_an_error_that_says_where_and_why(definition: object, message: str) -> None:
    """A definition that is no filter raises an error with the path, what was expected there and what is."""
    with pytest.raises(FilterError) as caught:
        compile_filter(definition)
    assert str(caught.value) == message


def test_an_error_names_the_filter_by_what_it_is() -> None:
    """The path begins with the name that the caller gave the filter."""
    with pytest.raises(FilterError, match=r"^context_filter\.plan\[0\]: unknown operator") as caught:
        compile_filter({"plan": [{"$foo": 1}]}, at="context_filter")
    assert caught.value.path == "context_filter.plan[0]"


def test_an_error_holds_its_facts() -> None:
    """A FilterError is one of ours, and a ValueError, with the path and the reason, also copied or pickled."""
    with pytest.raises(ValueError, match="expected a dict") as caught:
        compile_filter(None)
    for error in (caught.value, copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert isinstance(error, FilterError)
        assert isinstance(error, HeadraceError)
        assert isinstance(error, ValueError)
        assert (error.path, error.reason) == ("filter", "expected a dict, not None")
        assert str(error) == "filter: expected a dict, not None"


@pytest.mark.parametrize(
    ("definition", "make"),
    [
        ({"a": {"b": [{"$ignoreCaseEquals": "x"}]}}, lambda n: {"a": [{"b": ["y"] * 10}] * n}),
        ({"a": [{"$anythingBut": ["x"]}, {"$includes": "y"}]}, lambda n: {"a": ["x"] * n}),
        (nested(MAX_DEPTH - 1, {"z": ["x"]}), lambda n: nested(MAX_DEPTH - 1, [[["y"]] * 10] * n)),
    ],
)
def test_the_cost_of_a_filter_grows_with_the_payload_and_no_faster(
    definition: dict[str, Any], make: Callable[[int], Any]
) -> None:
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
