"""The filter language. A filter is checked once, at its definition, and becomes a function that tests events.

The language is Trigger.dev v2's `EventFilter`, with its holes closed:

    Filter  := { key: Matcher | Filter, ... }          every key must pass
    Matcher := [ scalar, ... ]                         the value equals any of them
             | [ {operator: operand, ...}, ... ]       every operator passes
             | []                                      no constraint

Differences from v2:

* Several operators in one object all count; v2 kept one of them and dropped the rest.
* `{}` passes whatever the value is; v2 made an exception of an empty list.
* A list inside a list is searched like the outer one; v2 took it for an object without keys.
* `$ignoreCaseEquals` folds as Unicode says, in every locale: "STRASSE" equals "straße", "e" is not "é".
* A filter without a sensible meaning is an error at definition: an operator outside a list, an object without
  operators, NaN, a `$between` with its bounds the wrong way round, a value that msgpack cannot carry.

A filter is data, to be stored and sent as it is. Evaluation has no effects, recurses as deep as the filter
and never as deep as the payload, and raises for no value that msgpack can carry. Bytes and datetimes are
scalars that equal no other scalar. This module must not know of triggers, events or Redis.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from enum import Enum
from itertools import chain, pairwise, product
from typing import Any, Final, NamedTuple, TypeGuard

from headrace_worker.errors import FilterError

MAX_DEPTH: Final = 64
"""How many dicts of a filter may stand inside one another."""

# A test gets the value of one key, which is MISSING if the payload lacks the key.
_Test = Callable[[object], bool]
MISSING: Final = object()
"""Stands for the value of a key that the payload lacks."""

_LONGEST: Final = 200
"""Characters of a value in an explanation."""
_LIST: Final = (list, tuple)
_HALF_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def compile_filter(definition: object, /, at: str = "filter") -> Callable[[object], bool]:
    """Return the function that says whether a value passes the filter; later changes of `definition` do not matter.

    Args:
        definition: the filter, made of dicts, lists or tuples, and scalars; an enum's member counts as its value.
        at: the filter's name in errors, such as `context_filter`.

    Raises:
        FilterError: `definition` is no filter, or more than `MAX_DEPTH` of its dicts stand inside one another.
    """
    return _filter(definition, at, depth=1)


class Mismatch(NamedTuple):
    """The first part of a filter that a value does not pass.

    Attributes:
        path: of the value at fault, as in `payload.address.city`.
        found: the value there, or MISSING.
        wanted: what passes there, in the filter's own words.
    """

    path: str
    found: object
    wanted: str

    def in_words(self) -> str:
        """Return what stands where, a long value cut short, and what was wanted."""
        found = "missing" if self.found is MISSING else repr(self.found)
        return f"{self.path} is {found if len(found) <= _LONGEST else found[:_LONGEST] + '…'}, wanted {self.wanted}"


def explain(definition: object, value: object, /, at: str = "payload") -> Mismatch | None:
    """Return why a value does not pass a filter; None if it does. It takes its time: dispatch needs `compile_filter`.

    Args:
        at: the value's name in paths.

    Raises:
        FilterError: `definition` is no filter.
    """
    compile_filter(definition)
    return _explain_filter(definition, value, at)


# The explanation goes through a filter as the compiler does, with the value at hand.


def _explain_filter(definition: Any, value: object, path: str) -> Mismatch | None:
    if not definition:
        return None
    if value is None or value is MISSING:
        return Mismatch(path, value, "an object")
    if isinstance(value, _LIST):
        passes = any(_explain_filter(definition, each, path) is None for each in _elements(value))
        return None if passes else Mismatch(path, value, f"an element that passes {as_json(definition)}")
    mapping = value if isinstance(value, dict) else {}
    for key, item in definition.items():
        found = mapping.get(key, MISSING)
        explained = _explain_filter if isinstance(item, dict) else _explain_matcher
        if mismatch := explained(item, found, _key_path(key, path)):
            return mismatch
    return None


def _explain_matcher(items: Sequence[Any], value: object, path: str) -> Mismatch | None:
    if items and not isinstance(items[0], dict):
        wanted = as_json(items[0]) if len(items) == 1 else f"one of {as_json(items)}"
        return None if _equals_any(items)(value) else Mismatch(path, value, wanted)
    for name, operand in (pair for item in items for pair in item.items()):
        if not _operator(name, path)(operand, path)(value):
            return Mismatch(path, value, f"{name} {as_json(operand)}")
    return None


def as_json(item: object) -> str:
    """Return a part of a filter as it is written in JSON."""
    return json.dumps(item, ensure_ascii=False, default=lambda member: member.value)


# The grammar.


def _filter(definition: object, path: str, depth: int) -> _Test:
    if not isinstance(definition, dict):
        raise FilterError(path, f"expected a dict, not {_shown(definition)}")
    if depth > MAX_DEPTH:
        raise FilterError(path, f"more than {MAX_DEPTH} dicts stand inside one another")
    if not definition:
        return lambda _: True
    located = ((key, item, _key_path(key, path)) for key, item in definition.items())
    return _passes_on([(key, test) for key, item, at in located for test in _key_tests(item, at, depth)])


def _key_path(key: object, path: str) -> str:
    if not isinstance(key, str) or not _kind(key):
        raise FilterError(path, f"expected a string as key, not {_shown(key)}")
    if key.startswith("$"):
        raise FilterError(path, f"expected a key, not {_shown(key)}; an operator stands in a list")
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{_shown(key)}]"


def _key_tests(item: object, path: str, depth: int) -> list[_Test]:
    if isinstance(item, dict):
        return [_filter(item, path, depth + 1)]
    if isinstance(item, _LIST):
        return _matcher_tests(item, path)
    hint = '; write [{"$isNull": True}]' if item is None else ""
    hint = f"; write [{_shown(item)}]" if _kind(item) else hint
    raise FilterError(path, f"expected a list or a dict, not {_shown(item)}{hint}")


def _matcher_tests(items: Sequence[object], path: str) -> list[_Test]:
    located = [(item, f"{path}[{index}]") for index, item in enumerate(items)]
    kinds = ["an operator" if isinstance(item, dict) else _scalar_kind(item, at) for item, at in located]
    _require_one_kind(kinds, path)
    if "an operator" in kinds:
        return [test for item, at in located for test in _operator_tests(item, at)]
    return [_equals_any(items)] if items else []


def _operator_tests(item: object, path: str) -> list[_Test]:
    if not isinstance(item, dict) or not item:
        raise FilterError(path, "expected an operator, not an empty dict")
    return [_operator(name, path)(operand, f"{path}.{name}") for name, operand in item.items()]


def _operator(name: object, path: str) -> Callable[[object, str], _Test]:
    if isinstance(name, str) and name in _OPERATORS:
        return _OPERATORS[name]
    wanted = name.lower() if isinstance(name, str) else ""
    hint = "a nested filter stands without a list"
    if wanted.startswith("$"):
        hint = f"there are {', '.join(_OPERATORS)}"
    for meant in get_close_matches(f"${wanted.lstrip('$')}", _OPERATORS, n=1, cutoff=0.75):
        hint = f"did you mean {_shown(meant)}?"
    raise FilterError(path, f"unknown operator {_shown(name)}; {hint}")


# Scalars and operands.


def _kind(value: object) -> str | None:
    """Return the kind of a scalar; None for a value that is no scalar, equals nothing or cannot be sent."""
    if isinstance(value, bool):
        return "a boolean"
    if type(value) not in {str, int, float} and not isinstance(value, Enum):
        return None  # nor can msgpack carry another subclass of them
    match value:
        case str():
            return None if _HALF_SURROGATE.search(value) else "a string"
        case int():
            return "a number" if -(2**63) <= value < 2**64 else None
        case float():
            return None if math.isnan(value) else "a number"
    return None


def _shown(value: object) -> str:
    match value:
        case str() if _kind(value):
            return json.dumps(value[:60], ensure_ascii=False) + ("..." if value[60:] else "")
        case None | bool() | int() | float() if value is None or _kind(value):
            return repr(value)
        case dict():
            return "a dict"
        case list() | tuple():
            return "a list"
    odd = {str: "a string that UTF-8 cannot encode", int: "an integer over 64 bits", float: "NaN"}
    return odd.get(type(value), f"a value of type {type(value).__name__}")


def _scalar_kind(value: object, path: str) -> str:
    if kind := _kind(value):
        return kind
    hint = "; for None there is $isNull" if value is None else ""
    raise FilterError(path, f"expected a string, a number or a boolean, not {_shown(value)}{hint}")


def _require_one_kind(kinds: Sequence[str], path: str) -> None:
    for index, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise FilterError(f"{path}[{index}]", f"expected {kinds[0]} like those before it, not {kind}")


def _expect(kind: str) -> Callable[[object, str], Any]:
    def check(operand: object, path: str) -> object:
        if _kind(operand) != kind:
            raise FilterError(path, f"expected {kind}, not {_shown(operand)}")
        return operand

    return check


_string, _boolean, _number = _expect("a string"), _expect("a boolean"), _expect("a number")


def _bounds(operand: object, path: str) -> tuple[Any, Any]:
    match operand:
        case [low, high] if isinstance(operand, _LIST):
            if _number(low, f"{path}[0]") <= _number(high, f"{path}[1]"):
                return low, high
            raise FilterError(path, f"expected the lower bound first, not {low} before {high}")
        case _:
            raise FilterError(path, "expected [low, high], two numbers")


def _equality(operand: object, path: str) -> _Test:
    _scalar_kind(operand, path)
    return _equals_any([operand])


def _equality_to_any(operand: object, path: str) -> _Test:
    if not isinstance(operand, _LIST):
        return _equality(operand, path)
    _require_one_kind([_scalar_kind(item, f"{path}[{index}]") for index, item in enumerate(operand)], path)
    return _equals_any(operand)


# Evaluation.


def _passes_on(tests: Sequence[tuple[str, _Test]]) -> _Test:
    """Return the test of a filter that has keys, for a value of any kind."""

    def passes_mapping(mapping: dict[object, object]) -> bool:
        for key, test in tests:  # noqa: SIM110 - all() takes twice as long
            if not test(mapping.get(key, MISSING)):
                return False
        return True

    passes_scalar = passes_mapping({})

    def passes(value: object) -> bool:
        if isinstance(value, dict):
            return passes_mapping(value)
        if isinstance(value, _LIST):
            return any(map(passes, _elements(value)))
        return passes_scalar and value is not None and value is not MISSING

    return passes


def _elements(items: Sequence[object]) -> Iterator[object]:
    """Yield the elements of a list and of the lists inside it; without recursion, as a payload may have any depth."""
    rest = list(items)
    while rest:
        item = rest.pop()
        if isinstance(item, _LIST):
            rest.extend(item)
        else:
            yield item


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equals_any(scalars: Sequence[object]) -> _Test:
    """Return the test of equality to scalars of one kind; it checks the type first, as 1 == True."""
    among = frozenset(scalars)
    if all(isinstance(scalar, str) for scalar in scalars):
        return lambda value: isinstance(value, str) and value in among
    if all(isinstance(scalar, bool) for scalar in scalars):
        return lambda value: isinstance(value, bool) and value in among
    return lambda value: _is_number(value) and value in among


def _equals_ignoring_case(text: str) -> _Test:
    folded = _fold(text)
    longest = 4 * len(folded)  # no longer text folds to it; normalising can take time quadratic in the length
    return lambda value: isinstance(value, str) and len(value) <= longest and _fold(value) == folded


def _fold(text: str) -> str:
    """Return the text without case and compatibility forms, decomposed first so that accents fold apart."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).casefold())


def _differs(equals: _Test) -> _Test:
    def passes(value: object) -> bool:
        if isinstance(value, _LIST):
            return not any(map(equals, value))
        return not (value is None or value is MISSING or isinstance(value, dict) or equals(value))

    return passes


def _takes(check: Callable[[object, str], Any], test: Callable[[Any], _Test]) -> Callable[[object, str], _Test]:
    return lambda operand, path: test(check(operand, path))


_OPERATORS: Final = {
    "$startsWith": _takes(_string, lambda prefix: lambda v: isinstance(v, str) and v.startswith(prefix)),
    "$endsWith": _takes(_string, lambda suffix: lambda v: isinstance(v, str) and v.endswith(suffix)),
    "$ignoreCaseEquals": _takes(_string, _equals_ignoring_case),
    "$exists": _takes(_boolean, lambda wanted: lambda v: (v is not MISSING) is wanted),
    "$isNull": _takes(_boolean, lambda wanted: lambda v: (v is None) is wanted),
    "$anythingBut": _takes(_equality_to_any, lambda equals: lambda v: not equals(v)),
    "$gt": _takes(_number, lambda bound: lambda v: _is_number(v) and v > bound),
    "$gte": _takes(_number, lambda bound: lambda v: _is_number(v) and v >= bound),
    "$lt": _takes(_number, lambda bound: lambda v: _is_number(v) and v < bound),
    "$lte": _takes(_number, lambda bound: lambda v: _is_number(v) and v <= bound),
    "$between": _takes(_bounds, lambda bounds: lambda v: _is_number(v) and bounds[0] <= v <= bounds[1]),
    "$includes": _takes(_equality, lambda equals: lambda v: isinstance(v, _LIST) and any(map(equals, v))),
    "$not": _takes(_equality, _differs),
}


# What no value passes. The keys of a filter are independent of each other, so each matcher is tried alone: with values
# that are made of its own operands such that, if any value passes it, one of these does.

_KEY: Final = "key"
_NEW: Final = "\x00no text of a filter"


def impossible_parts(definition: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the path of each matcher that no value passes; a filter that has one matches nothing."""
    for key, item in definition.items():
        at = f"{path}.{key}"
        if isinstance(item, Mapping):
            yield from impossible_parts(item, at)
        elif not is_possible(item):
            yield at


def is_possible(
    matcher: Sequence[Any], can_be: Callable[[Any], bool] = lambda _: True, more: Iterable[Any] = ()
) -> bool:
    """Return whether a value passes a matcher, or its absence does.

    Args:
        can_be: whether a value may stand there.
        more: values that may, beside those that a type of JSON has.
    """
    passes = compile_filter({_KEY: matcher})
    tried = (value for value in chain(_candidates(matcher), more) if can_be(value))
    return passes({}) or any(passes({_KEY: value}) for value in tried)


def _candidates(matcher: Sequence[Any]) -> Iterator[Any]:
    scalars = list(_scalars(matcher))
    yield from (None, True, False, {}, _NEW, *scalars)
    yield from _numbers_around([each for each in scalars if _is_number(each)])
    yield from _texts_around(matcher)
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


def _numbers_around(bounds: Sequence[float]) -> Iterator[float]:
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


def _texts_around(matcher: Sequence[Any]) -> Iterator[str]:
    """Yield texts that begin and end with operands and have another operand, in any case, or something new between."""
    equal = [each for text in _operands(matcher, "$ignoreCaseEquals") for each in (text, text.lower(), text.upper())]
    for begin, end in product(["", *_operands(matcher, "$startsWith")], ["", *_operands(matcher, "$endsWith")]):
        yield begin + end
        yield begin + _NEW + end
        yield from (begin + text[len(begin) : len(text) - len(end)] + end for text in equal)
