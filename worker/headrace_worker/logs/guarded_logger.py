"""Makes loggers of structlog whose log calls raise nothing, whatever processors, values and streams do.

The loggers stay as they were: `bind`, `new`, `info`, arguments by position and all.
"""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from headrace_worker.logs.values import shown
from headrace_worker.logs.writer import LOSSES

_METHODS = (
    "debug", "info", "warning", "warn", "error", "err", "critical", "fatal", "exception", "failure", "msg", "log",
)  # fmt: skip
_TAKEN = frozenset({"self", "level", "method_name", "event"})
"""Names of structlog's own parameters, by which no field can be passed."""


@functools.cache
def guarded(wrapper_class: Any) -> Any:
    """Return a subclass of a class of bound loggers in which no log call raises; a line that fails is counted."""
    body: dict[str, Any] = {"_is_guarded": True}
    body |= {name: _guard(name, getattr(wrapper_class, name)) for name in _METHODS if hasattr(wrapper_class, name)}
    body |= {
        f"a{name}": _guard_async(name, getattr(wrapper_class, f"a{name}"))
        for name in _METHODS
        if hasattr(wrapper_class, f"a{name}")
    }
    if hasattr(wrapper_class, "_proxy_to_logger"):
        body["_proxy_to_logger"] = _guard_last(wrapper_class._proxy_to_logger)  # noqa: SLF001 - meant for subclasses
    return type(f"Guarded{wrapper_class.__name__}", (wrapper_class,), body)


def guarded_logger(name: str, fields: Mapping[str, Any]) -> Any:
    """Return a logger of structlog, as it is configured now, whose log calls raise nothing."""
    try:
        logger = structlog.get_logger(name).bind(**fields)
    except BaseException:  # noqa: BLE001 - the application's factory may raise anything
        return _silent_logger()
    kind: Any = type(logger)
    if getattr(kind, "_is_guarded", False):
        return logger
    try:
        safe = copy.copy(logger)
        safe.__class__ = guarded(kind)
    except (TypeError, AttributeError):  # a class of the application's own, without structlog's base
        return logger
    return safe


class _Lost:
    """Loses each line: the application's configuration makes no logger."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return self._lose

    @staticmethod
    def _lose(*_args: Any, **_fields: Any) -> None:
        LOSSES.lines += 1


def _silent_logger() -> Any:
    wrapper = guarded(structlog.make_filtering_bound_logger(0))
    return structlog.wrap_logger(_Lost(), processors=[], wrapper_class=wrapper).bind()


def _guard(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, /, *args: Any, **fields: Any) -> Any:
        try:
            return method(self, *args, **fields)
        except BaseException:  # noqa: BLE001 - the arguments may raise anything
            return _repeat(method, self, name, args, fields)

    return functools.wraps(method)(call)


def _guard_async(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    async def call(self: Any, /, *args: Any, **fields: Any) -> Any:
        try:
            return await method(self, *args, **fields)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:  # noqa: BLE001 - the arguments may raise anything
            return _repeat(getattr(type(self), name), self, name, args, fields)

    return functools.wraps(method)(call)


def _guard_last(method: Callable[..., Any]) -> Callable[..., Any]:
    """Guard the method that all log methods call: nothing of the line can be saved there."""

    def call(self: Any, /, *args: Any, **fields: Any) -> Any:
        try:
            return method(self, *args, **fields)
        except BaseException:  # noqa: BLE001 - processors and streams may raise anything
            LOSSES.lines += 1
            return None

    return functools.wraps(method)(call)


def _repeat(method: Callable[..., Any], logger: Any, name: str, args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    """Log a call whose arguments did not fit: text and arguments side by side, fields under free names."""
    try:
        leading = args[:1] if name == "log" else ()
        text, *rest = args[len(leading) :] or ("",)
        if rest:
            text = f"{text if isinstance(text, str) else shown(text)} {shown(tuple(rest))}"
        free = {f"{each}_" if each in _TAKEN else each: value for each, value in fields.items()}
        return method(logger, *leading, text, **free)
    except BaseException:  # noqa: BLE001 - the method itself has raised
        LOSSES.lines += 1
        return None
