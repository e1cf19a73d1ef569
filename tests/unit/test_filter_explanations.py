"""Why a value does not pass a filter: the path, what stands there, and what was wanted."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_worker.app.filters import MISSING, Mismatch, explain
from headrace_worker.errors import FilterError

FILTER = {"plan": ["pro", "team"], "user": {"age": [{"$gte": 18}, {"$lt": 65}], "first name": [{"$exists": True}]}}
GOOD = {"plan": "pro", "user": {"age": 18, "first name": "Ada"}}


@pytest.mark.parametrize(
    ("payload", "mismatch"),
    [
        (GOOD, None),
        ([1, [GOOD]], None),
        (GOOD | {"plan": "free"}, Mismatch("payload.plan", "free", 'one of ["pro", "team"]')),
        ({"user": 1}, Mismatch("payload.plan", MISSING, 'one of ["pro", "team"]')),
        (None, Mismatch("payload", None, "an object")),
        ({"plan": "pro"}, Mismatch("payload.user", MISSING, "an object")),
        (GOOD | {"user": "Ada"}, Mismatch("payload.user.age", MISSING, "$gte 18")),
        (GOOD | {"user": {"age": 65}}, Mismatch("payload.user.age", 65, "$lt 65")),
        (GOOD | {"user": {"age": 18}}, Mismatch('payload.user["first name"]', MISSING, "$exists true")),
    ],
)
def test_the_first_part_that_fails_is_named(payload: Any, mismatch: Mismatch | None) -> None:
    """In the order of the filter's keys."""
    assert explain(FILTER, payload) == mismatch


def test_a_list_without_a_passing_element_is_named_whole() -> None:
    """No element is more at fault than the rest; the element's own filter says what was wanted."""
    items = [{"sku": "a"}, {"sku": "b"}]
    mismatch = Mismatch("context.items", items, 'an element that passes {"sku": ["c"]}')
    assert explain({"items": {"sku": ["c"]}}, {"items": items}, at="context") == mismatch


def test_a_filter_that_is_none_is_refused() -> None:
    """As the compiler refuses it."""
    with pytest.raises(FilterError):
        explain({"a": 1}, {"a": 1})
