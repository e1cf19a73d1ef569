"""Shows any value and any exception in a log line, as far as they can be shown; pure.

A job may log anything: objects whose `__repr__` raises, structures that contain themselves, keys that are no strings,
exceptions that can't be formatted.
"""

from __future__ import annotations

import json
import math
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from structlog.processors import format_exc_info

_DEEPEST = 32
_LONGEST_CHAIN = 10


def shown(value: object) -> str:
    """Return `repr(value)`, or the value's type if `repr` raises."""
    try:
        return repr(value)
    except BaseException as exc:  # noqa: BLE001 - what a __repr__ raises is its own choice
        return f"<{type(value).__name__} that can't be shown: {type(exc).__name__}>"


def as_json(line: Mapping[str, Any]) -> str:
    """Return the line as JSON: values without a form in JSON are shown as text, and so are NaN and the infinities."""
    try:
        return json.dumps(line, default=_fallback, allow_nan=False)
    except BaseException:  # noqa: BLE001 - what a value of a job raises is its own choice
        return json.dumps(_plain(line, ()), allow_nan=False)


def _fallback(value: Any) -> Any:
    """Return the value in the form that structlog's own renderer takes, but raise nothing."""
    try:
        return value.__structlog__()
    except BaseException:  # noqa: BLE001 - most have no such method
        return shown(value)


def _plain(value: Any, above: tuple[int, ...]) -> Any:
    """Return the value in JSON's own types; `above` are the ids of the structures around it."""
    try:
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int | float):
            return _number(value)
        if id(value) in above or len(above) == _DEEPEST:
            return "…"
        above = (*above, id(value))
        if isinstance(value, dict):
            return {_key(key): _plain(each, above) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [_plain(each, above) for each in value]
        return _plain(_fallback(value), above)
    except BaseException:  # noqa: BLE001 - what a value of a job raises is its own choice
        return shown(value)


def _number(value: float) -> float | str:
    text = json.dumps(value)  # raises for whole numbers that are too long
    return value if math.isfinite(value) else text


def _key(key: Any) -> str:
    return key if isinstance(key, str) else shown(key)


def add_exception(logger: Any, method: str, line: Any) -> Any:
    """Put the traceback of `exc_info` under `exception`, as structlog does; if that fails, as much as can be shown."""
    exc = _exception_of(line.get("exc_info"))
    try:
        return format_exc_info(logger, method, line)
    except BaseException:  # noqa: BLE001 - an exception's own code may raise anything
        line.pop("exc_info", None)
        if exc is not None:
            line["exception"] = _describe(exc)
        return line


def _exception_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return next((each for each in exc_info if isinstance(each, BaseException)), None)
    return sys.exc_info()[1] if exc_info else None


def _describe(exc: BaseException) -> str:
    return "\n".join(_lines(exc))


def _lines(exc: BaseException) -> Iterator[str]:
    """Yield each exception of the chain, the last one first."""
    for _ in range(_LONGEST_CHAIN):
        yield "Traceback (most recent call last):"
        try:
            yield from "".join(traceback.format_tb(exc.__traceback__)).splitlines()
        except BaseException as failure:  # noqa: BLE001 - a source file's loader is anyone's code
            yield f"  <frames that can't be shown: {type(failure).__name__}>"
        yield f"{type(exc).__name__}: {_message(exc)}"
        before = exc.__cause__ or exc.__context__
        if before is None:
            return
        yield "which came after:"
        exc = before


def _message(exc: BaseException) -> str:
    try:
        return str(exc)
    except BaseException as failure:  # noqa: BLE001 - what a __str__ raises is its own choice
        return f"<message that can't be shown: {type(failure).__name__}>"
