"""What the author of an app writes as a function: async or plain, a context manager, and what it takes. Pure."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal

_OURS = ("JobIO", "SyncJobIO", "Context")
"""The types that Headrace passes to functions. They are known by name: their room is built on this one."""


def behind(function: Any) -> Any:
    """Return the function behind a partial, a static method or a callable object; of a class, what initializes it."""
    while isinstance(function, functools.partial | staticmethod):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    if isinstance(function, type):
        return vars(function).get("__init__", object.__init__)
    is_function = inspect.isfunction(function) or inspect.ismethod(function) or inspect.isbuiltin(function)
    return function if is_function else function.__call__


def is_async(function: Any) -> bool:
    """Return whether a call returns a coroutine: the function is `async def`, or marked so, as before Python 3.12."""
    mark = getattr(asyncio.coroutines, "_is_coroutine", None)
    return any(
        inspect.iscoroutinefunction(each) or (mark is not None and getattr(each, "_is_coroutine", None) is mark)
        for each in (function, behind(function))
    )


def gives_coroutine(function: Any) -> bool:
    """Return whether a plain function certainly returns the coroutine of an async function that it wraps.

    It does if its code could not run a coroutine: it uses only the wrapped function and variables of its own.
    """
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is None or not (inspect.iscoroutinefunction(wrapped) or gives_coroutine(wrapped)):
        return False
    if isinstance(function, type(functools.lru_cache(len))):
        return True
    if not inspect.isfunction(function) or function.__code__.co_names:
        return False
    return all(cell.cell_contents is wrapped for cell in function.__closure__ or ())


def is_generator(function: Any) -> bool:
    """Return whether a call returns a generator, plain or async."""
    code = behind(function)
    return inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)


def manager_of(function: Any) -> Literal["plain", "async", "both"] | None:
    """Return which kind of context manager a call certainly returns; None if it need not return any.

    Known are functions under `@contextmanager` or `@asynccontextmanager`, and classes.
    """
    if isinstance(function, type):
        is_plain, is_awaited = hasattr(function, "__enter__"), hasattr(function, "__aenter__")
        return ("both" if is_awaited else "plain") if is_plain else ("async" if is_awaited else None)
    if is_generator(function):
        return None
    inner = behind(inspect.unwrap(behind(function)))
    return "plain" if inspect.isgeneratorfunction(inner) else "async" if inspect.isasyncgenfunction(inner) else None


def as_manager(function: Any) -> Callable[..., Any]:
    """Return what makes a context manager out of a generator function."""
    if inspect.isasyncgenfunction(behind(function)):
        return contextlib.asynccontextmanager(function)
    return contextlib.contextmanager(function)


_MISYIELDS = {
    "generator didn't yield": "never yielded",
    "generator didn't stop": "yielded twice",
    "generator didn't stop after throw()": "yielded again after an exception",
    "generator didn't stop after athrow()": "yielded again after an exception",
}
"""What contextlib says of a generator that does not yield once."""


def misyield(manager: Any, exc: BaseException) -> RuntimeError | None:
    """Return an error that names the function of a context manager whose generator does not yield once.

    None if the exception, as it was caught from entering or closing the manager, says anything else.
    """
    generator, frames = getattr(manager, "gen", None), exc.__traceback__
    code = getattr(generator, "gi_code", None) or getattr(generator, "ag_code", None)
    is_own = frames is not None and frames.tb_next is not None and frames.tb_next.tb_next is None
    if code is None or not is_own or type(exc) is not RuntimeError or str(exc) not in _MISYIELDS:
        return None
    name = f"{name_of(generator)}() at {os.path.basename(code.co_filename)}:{code.co_firstlineno}"  # noqa: PTH119 - of any form
    return RuntimeError(f"{name} {_MISYIELDS[str(exc)]}; it must yield once")


def annotation_of(function: Any, parameter: str) -> Any:
    """Return the annotation of a parameter, None if it has none; raise what its evaluation raises.

    Only this annotation is evaluated: those of other parameters need not exist when the program runs.
    """
    annotation = inspect.signature(function).parameters[parameter].annotation
    if annotation is inspect.Parameter.empty:
        return None
    names = getattr(inspect.unwrap(behind(inspect.unwrap(function))), "__globals__", {})
    holder = type("holder", (), {"__annotations__": {parameter: annotation}})
    found = typing.get_type_hints(holder, globalns=names, include_extras=True)[parameter]
    return getattr(found, "__value__", found)  # of an alias that `type` has made


def metadata_of(annotation: Any) -> tuple[Any, ...]:
    """Return what stands beside the type in an `Annotated`; nothing for another annotation."""
    return typing.get_args(annotation)[1:] if typing.get_origin(annotation) is typing.Annotated else ()


def our_types_in(function: Any, parameter: inspect.Parameter) -> frozenset[str]:
    """Return which of JobIO, SyncJobIO and Context the annotation of a parameter names, alone or in a union."""
    try:
        return frozenset(_ours(annotation_of(function, parameter.name)))
    except Exception:  # noqa: BLE001 - it exists for type checkers only: its text has to do
        return frozenset(re.findall(r"\b(?:Sync)?JobIO\b", str(parameter.annotation)))


def _ours(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, type) and annotation.__module__.startswith("headrace_worker."):
        yield from {annotation.__name__} & set(_OURS)
    for part in typing.get_args(annotation):
        yield from _ours(part)


def name_of(function: Any) -> str:
    """Return a function's name for an error."""
    return getattr(function, "__qualname__", None) or repr(function)
