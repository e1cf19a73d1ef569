"""The JSON Schema of a payload's type, and what it says of a filter's keys. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from headrace.model.schema import has_pydantic

_REFERENCE = "#/$defs/"
_Schema = dict[str, Any]


def schema_of(kind: Any, reference: str = f"{_REFERENCE}{{}}") -> _Schema:
    """Return the JSON Schema of a type as its values are encoded; raise TypeError where JSON can't hold them.

    Args:
        reference: refers to what stands in the schema's `$defs`, with `{}` for its name there.
    """
    if has_pydantic(kind):
        from pydantic import TypeAdapter  # noqa: PLC0415 - it need not be installed

        return TypeAdapter(kind).json_schema(by_alias=True, ref_template=reference.format("{model}"))
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


_Node = tuple[_Schema, _Schema]
"""A part of a schema, and the whole schema, which holds what the part refers to."""


def _unknown_in(definition: Mapping[str, Any], nodes: Sequence[_Node], at: str) -> str | None:
    objects = [found for node in nodes for found in _objects(node, set())]
    for key, item in definition.items():
        parts = [part for found in objects for part in _parts(found, key)]
        path = f"{at}.{key}"
        if not parts:
            return f"{path}: {_no_such_key(key, objects)}"
        if isinstance(item, dict) and (fault := _unknown_in(item, parts, path)):
            return fault
    return None


def _objects(node: _Node, seen: set[str]) -> Iterator[_Node]:
    """Yield what a value may be, where a filter looks for keys: references and unions resolved, lists searched."""
    part, whole = node
    reference = part.get("$ref")
    if reference is not None:
        if reference not in seen:
            name = reference.removeprefix(_REFERENCE)
            yield from _objects((whole["$defs"][name], whole), seen | {reference})
        return
    inner = [each for word in ("anyOf", "oneOf", "allOf", "prefixItems") for each in part.get(word, ())]
    inner += [part["items"]] if isinstance(part.get("items"), dict) else []
    for each in inner:
        yield from _objects((each, whole), seen)
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
