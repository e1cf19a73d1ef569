"""Turns an event's payload into what a job's function takes, or says where it does not fit. Pure.

The schema is the annotation of `payload`, or `schema=`: whatever msgspec can decode into (Struct, dataclass,
TypedDict, built-in types), or a pydantic model if pydantic is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace import codec
from headrace.event import RunError

Parser = Callable[[msgspec.Raw], Any]


class PayloadError(Exception):
    """A payload does not fit; `error` names the paths at fault."""

    def __init__(self, error: RunError) -> None:
        self.error = error
        super().__init__(error.message)


def parser_of(schema: Any) -> Parser:
    """Returns the function that turns an encoded payload into a value of the schema or raises PayloadError.

    Raises:
        TypeError: nothing can be decoded into such a type.
    """
    if schema is None or schema is Any or schema is object:
        return codec.decode_value
    pydantic_model = _pydantic_parser(schema)
    if pydantic_model is not None:
        return pydantic_model
    decoder = msgspec.msgpack.Decoder(schema)

    def parse(raw: msgspec.Raw) -> Any:
        try:
            return decoder.decode(raw)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as exc:
            raise PayloadError(RunError("InvalidPayload", str(exc).replace("`$", "`payload"))) from exc

    return parse


def _pydantic_parser(schema: Any) -> Parser | None:
    """Returns a parser for a pydantic model; found by its methods, so that pydantic need not be installed."""
    if not (isinstance(schema, type) and hasattr(schema, "model_validate") and hasattr(schema, "model_fields")):
        return None
    from pydantic import ValidationError  # noqa: PLC0415 - optional

    model: Any = schema

    def parse(raw: msgspec.Raw) -> Any:
        try:
            return model.model_validate(codec.decode_value(raw))
        except ValidationError as exc:
            faults = "; ".join(
                f"`{'.'.join(map(str, ('payload', *fault['loc'])))}`: {fault['msg']}" for fault in exc.errors()
            )
            raise PayloadError(RunError("InvalidPayload", faults)) from exc

    return parse
