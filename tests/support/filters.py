"""Verdicts of filters, on which the compiled filter and the naive evaluator must agree."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from headrace_worker.app.filters import compile_filter
from tests.properties.naive_filter import naive_passes

MISSING = object()
NOW = datetime(2024, 2, 29, tzinfo=UTC)
NAN = math.nan
DEEP = 100_000
ALL_OPERATORS = (
    "$startsWith, $endsWith, $ignoreCaseEquals, $exists, $isNull, $anythingBut, "
    "$gt, $gte, $lt, $lte, $between, $includes, $not"
)


class Text(str):
    """A string of another class."""

    __slots__ = ()


def judge(definition: Any, value: object) -> bool:
    """Return the verdict, on which the compiled filter and the naive evaluator must agree."""
    verdict = compile_filter(definition)(value)
    assert verdict is naive_passes(definition, value)
    return verdict


def judge_key(item: Any, value: object) -> bool:
    """Return the verdict of a filter of one key on a payload whose key has the value or is MISSING."""
    return judge({"key": item}, {"other": 1} if value is MISSING else {"key": value, "other": 1})


def nested(depth: int, innermost: Any) -> Any:
    """Return the value inside so many dicts."""
    for _ in range(depth):
        innermost = {"a": innermost}
    return innermost
