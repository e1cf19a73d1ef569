"""The JSON Schema of a payload's type, and what it says of a filter's keys and values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import msgspec

from headrace.model.schema import has_pydantic
from headrace_worker.app.filters import as_json, is_possible

_REFERENCE = "#/$defs/"
_Schema = dict[str, Any]


def schema_of(
    kind: Any, reference: str = f"{_REFERENCE}{{}}", mode: Literal["validation", "serialization"] = "validation"
) -> _Schema:
    """Return the JSON Schema of a type as its values are encoded; raise TypeError where JSON can't hold them.

    Args:
        reference: refers to what stands in the schema's `$defs`, with `{}` for its name there.
        mode: of a model of pydantic, what it can be made of, or what it is encoded as.
    """
    if has_pydantic(kind):
        from pydantic import TypeAdapter  # noqa: PLC0415 - it need not be installed

        return TypeAdapter(kind).json_schema(by_alias=True, mode=mode, ref_template=reference.format("{model}"))
    (schema,), parts = msgspec.json.schema_components([kind], ref_template=reference.format("{name}"))
    return {**schema, "$defs": parts} if parts else schema


def unknown_key(definition: Mapping[str, Any], schemas: Sequence[_Schema], at: str) -> str | None:
    """Return what is wrong with a filter's first key that no value of the schemas has; None if they may have all.

    Args:
        schemas: of the payloads of all events that the filter sees; a key that one of them has is known.
        at: the path of the filter.
    """
    nodes = [(schema, schema) for schema in schemas]
    return _unknown_in(definition, nodes, at)


def impossible_value(definition: Mapping[str, Any], schemas: Sequence[_Schema], at: str) -> str | None:
    """Return what is wrong with a filter's first matcher that no payload of the schemas passes; None if all may pass.

    A payload may lack any key; a value of which the schemas say nothing may be anything.

    Args:
        schemas: of the payloads of all events that the filter sees, as they are encoded.
        at: the path of the filter.
    """
    return _impossible_in(definition, [(schema, schema) for schema in schemas], at)


_Node = tuple[_Schema, _Schema]
"""A part of a schema, and the whole schema, which holds what the part refers to."""


def _unknown_in(definition: Mapping[str, Any], nodes: Sequence[_Node], at: str) -> str | None:
    objects = [found for node in nodes for found in _resolved(node, set())]
    for key, item in definition.items():
        parts = [part for found in objects for part in _parts(found, key)]
        path = f"{at}.{key}"
        if not parts:
            return f"{path}: {_no_such_key(key, objects)}"
        if isinstance(item, dict) and (fault := _unknown_in(item, parts, path)):
            return fault
    return None


def _impossible_in(definition: Mapping[str, Any], nodes: Sequence[_Node], at: str) -> str | None:
    objects = [found for node in nodes for found in _resolved(node, set())]
    for key, item in definition.items():
        parts = [part for found in objects for part in _parts(found, key)]
        path = f"{at}.{key}"
        if isinstance(item, dict):
            fault = _impossible_in(item, parts, path)
        else:
            fault = _impossible_matcher(item, parts, path) if parts else None
        if fault:
            return fault
    return None


def _impossible_matcher(matcher: Sequence[Any], nodes: Sequence[_Node], path: str) -> str | None:
    values = [found for node in nodes for found in _resolved(node, set(), in_lists=False)]
    members = [member for part, _ in values for member in _members(part)]
    if not values or is_possible(matcher, lambda value: any(_can_be(value, node) for node in values), members):
        return None
    if not is_possible(matcher):  # whatever the type is
        return None
    kinds = " or ".join(dict.fromkeys(_kind_in_words(part) for part, _ in values))
    hint = next((hint for names, hint in _HINTS.items() if _operators(matcher) & names), "write a value of that type")
    return f"{path}: the payload has {kinds} there, which never passes {as_json(matcher)[:80]}; {hint}"


def _operators(matcher: Sequence[Any]) -> frozenset[str]:
    return frozenset(name for each in matcher if isinstance(each, dict) for name in each)


_HINTS = {
    frozenset({"$gt", "$gte", "$lt", "$lte", "$between"}): "only an int or a float can be compared, as a Decimal and "
    "a time travel as text",
    frozenset({"$includes"}): "$includes searches lists; for a text there are $startsWith and $endsWith",
}
"""What to say of operators that never pass."""


def _members(part: _Schema) -> list[Any]:
    return [*part.get("enum", ()), *([part["const"]] if "const" in part else [])]


def _can_be(value: Any, node: _Node) -> bool:
    """Return whether a value is of the type of a part; a part that does not say its type may be anything."""
    part, whole = node
    if members := _members(part):
        return any(value == member and isinstance(value, bool) is isinstance(member, bool) for member in members)
    kinds = part.get("type")
    if isinstance(value, list) and kinds == "array":
        inner = [*part.get("prefixItems", ()), part.get("items", {})]
        typed = [(each if isinstance(each, dict) else {}, whole) for each in inner if each is not False]
        elements = [found for each in typed for found in _resolved(each, set(), in_lists=False)]
        return all(any(_can_be(each, element) for element in elements) for each in value)
    named = [kinds] if isinstance(kinds, str) else kinds
    return named is None or any(_IS_OF.get(kind, _is_any)(value) for kind in named)


def _is_any(_value: object) -> bool:
    return True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_IS_OF: dict[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": _is_number,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _kind_in_words(part: _Schema) -> str:
    if members := _members(part):
        return f"one of {_listed([as_json(each) for each in members])}" if len(members) > 1 else as_json(members[0])
    kinds = part.get("type", "anything")
    words = {"integer": "an integer", "array": "a list", "object": "an object", "null": "null"}
    text = f" (a {part['format']})" if isinstance(part.get("format"), str) else ""
    return " or ".join(words.get(kind, f"a {kind}") for kind in ([kinds] if isinstance(kinds, str) else kinds)) + text


def _resolved(node: _Node, seen: set[str], *, in_lists: bool = True) -> Iterator[_Node]:
    """Yield what a value may be: references and unions resolved.

    Args:
        in_lists: yield, in place of a list, its elements, as a filter looks for keys there.
    """
    part, whole = node
    reference = part.get("$ref")
    if reference is not None:
        if reference not in seen:
            name = reference.removeprefix(_REFERENCE)
            yield from _resolved((whole["$defs"][name], whole), seen | {reference}, in_lists=in_lists)
        return
    words = ("anyOf", "oneOf", "allOf") + (("prefixItems",) if in_lists else ())
    inner = [each for word in words for each in part.get(word, ())]
    inner += [part["items"]] if in_lists and isinstance(part.get("items"), dict) else []
    for each in inner:
        yield from _resolved((each, whole), seen, in_lists=in_lists)
    if not inner:
        yield node


def _parts(node: _Node, key: str) -> Iterator[_Node]:
    """Yield what a key of an object may hold; nothing if the object has no such key."""
    part, whole = node
    fields = part.get("properties", {})
    if key in fields:
        yield fields[key], whole
    elif "patternProperties" in part or _is_open(part):
        more = part.get("additionalProperties")
        yield (more if isinstance(more, dict) else {}), whole


def _is_open(part: _Schema) -> bool:
    """Return whether a value may have keys that the schema does not name."""
    if not (part.keys() & {"type", "enum", "const"}):
        return True
    return part.get("type") == "object" and bool(part.get("additionalProperties", "properties" not in part))


def _no_such_key(key: str, objects: Sequence[_Node]) -> str:
    names = sorted({name for part, _ in objects for name in part.get("properties", ())})
    if not names:
        return f"no payload has anything inside of it, so there is no {key!r}"
    close = get_close_matches(key, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {_listed(names)}"
    return f"no payload has a field {key!r}; {hint}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
