"""Filters pass what the specification says, against whole payloads and inside other filters."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_worker.app.filters import compile_filter
from tests.support.filters import MISSING, NOW, judge, judge_key

JOHN = {
    "name": "John",
    "age": 30,
    "isAdmin": False,
    "hobbies": ["reading", "swimming"],
    "address": {"street": "123 Main St", "city": "Anytown"},
}


ITEMS = {"items": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]}


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
