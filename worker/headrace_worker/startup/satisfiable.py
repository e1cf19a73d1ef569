"""Finds the parts of a filter that no value passes. Pure.

The keys of a filter are independent of each other, so each matcher is tried alone: with values that are made of its own
operands such that, if any value passes it, one of these does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

from headrace_worker.app.filters import compile_filter

_KEY = "key"
_NEW = "\x00no text of a filter"


def impossible_parts(definition: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the path of each matcher that no value passes; a filter that has one matches nothing."""
    for key, item in definition.items():
        at = f"{path}.{key}"
        if isinstance(item, Mapping):
            yield from impossible_parts(item, at)
        elif item and not _is_possible(item):
            yield at


def _is_possible(matcher: Sequence[Any]) -> bool:
    passes = compile_filter({_KEY: matcher})
    return passes({}) or any(passes({_KEY: value}) for value in _candidates(matcher))


def _candidates(matcher: Sequence[Any]) -> Iterator[Any]:
    scalars = list(_scalars(matcher))
    yield from (None, True, False, {}, _NEW, *scalars)
    yield from _numbers([each for each in scalars if isinstance(each, int | float) and not isinstance(each, bool)])
    yield from _texts(matcher)
    yield from ([], [_NEW], _operands(matcher, "$includes"))


def _scalars(item: Any) -> Iterator[Any]:
    if isinstance(item, Mapping):
        item = list(item.values())
    if isinstance(item, list | tuple):
        for each in item:
            yield from _scalars(each)
    else:
        yield item


def _operands(matcher: Sequence[Any], operator: str) -> list[Any]:
    return [each[operator] for each in matcher if isinstance(each, Mapping) and operator in each]


def _numbers(bounds: Sequence[float]) -> Iterator[float]:
    """Yield a number below all bounds, some between each two neighbours, and one above all."""
    ordered = sorted({*bounds, 0})
    yield from (-math.inf, math.inf, ordered[0] - 1, ordered[-1] + 1)
    for low, high in pairwise(ordered):
        yield from (
            low + 1,
            high - 1,
            low / 2 + high / 2,
            math.nextafter(low, math.inf),
            math.nextafter(high, -math.inf),
        )


def _texts(matcher: Sequence[Any]) -> Iterator[str]:
    """Yield texts that begin and end with operands and have another operand, in any case, or something new between."""
    equal = [each for text in _operands(matcher, "$ignoreCaseEquals") for each in (text, text.lower(), text.upper())]
    for begin, end in product(["", *_operands(matcher, "$startsWith")], ["", *_operands(matcher, "$endsWith")]):
        yield begin + end
        yield begin + _NEW + end
        yield from (begin + text[len(begin) : len(text) - len(end)] + end for text in equal)
