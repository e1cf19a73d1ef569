"""A wrong filter is an error that says where it is wrong and why."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from enum import Enum

import pytest

from headrace import HeadraceError
from headrace_worker import FilterError
from headrace_worker.app.filters import compile_filter
from tests.support.filters import ALL_OPERATORS, NAN, NOW, Text


class Opaque(Enum):
    PRO = "pro"


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
