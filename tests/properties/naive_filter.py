"""The filter language once more, written down from its specification row by row, for tests to compare with.

It reads the filter anew for every value, checks nothing and takes its time: what it has in common with the compiler of
`headrace_worker.app.filters` is the specification alone. Only filters that compile may be given to it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any


def naive_passes(definition: dict[str, Any], value: object, /) -> bool:
    """Return whether a whole value, such as an event's payload, passes the filter."""
    return _passes_filter(definition, _kind(value), value)


def _passes_filter(definition: dict[str, Any], kind: str, value: Any) -> bool:
    if definition == {}:
        return True
    if kind in {"missing", "null"}:
        return False
    if kind == "list":
        return any(_passes_filter(definition, _kind(element), element) for element in value)
    mapping = value if kind == "mapping" else {}
    return all(
        _passes_key(item, _kind(mapping[key]) if key in mapping else "missing", mapping.get(key))
        for key, item in definition.items()
    )


def _passes_key(item: Any, kind: str, value: object) -> bool:
    if isinstance(item, dict):
        return _passes_filter(item, kind, value)
    if len(item) == 0:
        return True
    if isinstance(item[0], dict):
        return all(ROWS[name](operand, kind, value) for each in item for name, operand in each.items())
    return any(_is_same(scalar, kind, value) for scalar in item)


ROWS: dict[str, Callable[[Any, str, Any], bool]] = {
    "$startsWith": lambda operand, kind, value: kind == "string" and value[: len(operand)] == operand,
    "$endsWith": lambda operand, kind, value: kind == "string" and value[::-1][: len(operand)] == operand[::-1],
    "$ignoreCaseEquals": lambda operand, kind, value: kind == "string" and _folded(value) == _folded(operand),
    "$exists": lambda operand, kind, _: (kind != "missing") == operand,
    "$isNull": lambda operand, kind, _: (kind == "null") == operand,
    "$anythingBut": lambda operand, kind, value: (
        not any(_is_same(scalar, kind, value) for scalar in (operand if _kind(operand) == "list" else [operand]))
    ),
    "$gt": lambda operand, kind, value: kind == "number" and value > operand,
    "$gte": lambda operand, kind, value: kind == "number" and value >= operand,
    "$lt": lambda operand, kind, value: kind == "number" and value < operand,
    "$lte": lambda operand, kind, value: kind == "number" and value <= operand,
    "$between": lambda operand, kind, value: kind == "number" and value >= operand[0] and value <= operand[1],
    "$includes": lambda operand, kind, value: (
        kind == "list" and any(_is_same(operand, _kind(element), element) for element in value)
    ),
    "$not": lambda operand, kind, value: (
        all(not _is_same(operand, _kind(element), element) for element in value)
        if kind == "list"
        else kind not in {"missing", "null", "mapping"} and not _is_same(operand, kind, value)
    ),
}


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if value is True or value is False:
        return "boolean"
    names = {str: "string", int: "number", float: "number", list: "list", tuple: "list", dict: "mapping"}
    return names.get(type(value), "another scalar")


def _is_same(scalar: object, kind: str, value: object) -> bool:
    return kind == _kind(scalar) and scalar == value


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).casefold())
