"""Turns an event's payload into a value of a type, or says where it does not fit. Pure.

The type is any that msgspec can decode (Struct, dataclass, TypedDict, built-in types), or, if pydantic is installed,
its models, and lists and unions of them.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
import msgspec.inspect

from headrace.errors import PayloadError
from headrace.model.values import decode_value

Parser = Callable[[msgspec.Raw], Any]

_MAX_FAULTS = 20
"""How many faults of one payload are named."""


def parser_of(schema: Any) -> Parser:
    """Return the function that turns an encoded payload into a value of the schema, or raises PayloadError.

    Raises:
        TypeError: nothing can be decoded into such a type.
    """
    if schema is None or schema is Any or schema is object:
        return decode_value
    if has_pydantic(schema):
        return _pydantic_parser(schema)
    unknown = sorted({kind.__name__ for kind in _unknown_types(msgspec.inspect.type_info(schema), set())})
    if unknown:
        raise TypeError(f"msgspec knows no way to make {', '.join(unknown)}")
    decoder = msgspec.msgpack.Decoder(schema)

    def parse(raw: msgspec.Raw) -> Any:
        try:
            return decoder.decode(raw)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as exc:
            fault = str(exc).replace("`$", "`payload")
            raise PayloadError(fault if " - at `payload" in fault else f"{fault} - at `payload`") from exc

    return parse


@lru_cache(maxsize=1_000)
def class_parser(kind: type) -> Parser:
    """Return the parser of a class, made once."""
    return parser_of(kind)


def _unknown_types(info: object, seen: set[int]) -> Iterator[type]:
    """Yield the types in a schema that would be accepted here and then fit no payload at all."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        yield info.cls
    elif isinstance(info, msgspec.Struct):
        for field in info.__struct_fields__:
            yield from _unknown_types(getattr(info, field), seen)
    elif isinstance(info, tuple):
        for part in info:
            yield from _unknown_types(part, seen)


def has_pydantic(schema: Any) -> bool:
    """Return whether the schema has a model of pydantic, by a model's attributes: pydantic need not be installed."""
    if isinstance(schema, type) and hasattr(schema, "__pydantic_validator__"):
        return True
    return any(has_pydantic(part) for part in typing.get_args(schema))


def _pydantic_parser(schema: Any) -> Parser:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - it need not be installed
    from pydantic_core import PydanticSerializationError, to_json  # noqa: PLC0415 - as above

    adapter: TypeAdapter[Any] = TypeAdapter(schema)
    if not getattr(adapter, "pydantic_complete", True):
        adapter.rebuild(raise_errors=True)

    def from_json(value: Any) -> Any:
        return adapter.validate_json(to_json(value))

    # A payload is data, like JSON: from JSON a strict model takes a text for a UUID, and a list for a tuple. Python's
    # own values (bytes, times) are in no JSON. So both ways are tried, the likelier one first.
    ways: list[Callable[[Any], Any]]
    ways = [from_json, adapter.validate_python] if _goes_by_json(schema) else [adapter.validate_python, from_json]

    def parse(raw: msgspec.Raw) -> Any:
        value, misfit = decode_value(raw), None
        for way in ways:
            try:
                return way(value)
            except ValidationError as exc:
                misfit = exc if misfit is None or way is from_json else misfit
            except PydanticSerializationError:
                continue  # no JSON, so the other way decides
        raise PayloadError(_faults(misfit)) from misfit

    return parse


def _goes_by_json(schema: Any) -> bool:
    """Return whether a model of pydantic is strict, or reads bytes from JSON in a way of its own."""
    config = getattr(schema, "model_config", None) or {}
    own = bool(config.get("strict")) or config.get("val_json_bytes", "utf8") != "utf8"
    return own or any(_goes_by_json(part) for part in typing.get_args(schema))


def _faults(misfit: Any) -> str:
    faults = [
        f"{fault['msg']} - at `{_path(fault['loc'])}`"
        for fault in misfit.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f"; and {len(faults) - _MAX_FAULTS:,} more" if len(faults) > _MAX_FAULTS else ""
    return "; ".join(faults[:_MAX_FAULTS]) + more


def _path(place: tuple[int | str, ...]) -> str:
    return "payload" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
