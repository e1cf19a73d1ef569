"""The definition of a job: its function, inspected once at the definition, and how to call it. No I/O."""

from __future__ import annotations

import asyncio
import functools
import inspect
import typing
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from headrace import ConfigurationError
from headrace.formats.keys import check_name
from headrace.model.moments import MAX_DURATION_S, seconds_of
from headrace_worker.app.retry import Retry
from headrace_worker.app.schema import Parser, parser_of
from headrace_worker.app.trigger import Trigger
from headrace_worker.errors import JobError

JobFunction = Callable[..., Any]
_TAKES = ("payload", "io", "ctx")


class Job(msgspec.Struct, frozen=True):
    """A function that subscribes to events.

    Attributes:
        name: `<app>/<id>`.
        takes: which of `payload`, `io` and `ctx` the function has as parameters.
        parse: turns an encoded payload into the function's type; None if there is neither parameter nor schema.
        is_async: the function is `async def`; a plain function executes in a thread.
        timeout_s: seconds that an attempt may take; None without a limit.
    """

    id: str
    app: str
    function: JobFunction
    trigger: Trigger
    retry: Retry
    timeout_s: float | None
    queue: str
    takes: frozenset[str]
    parse: Parser | None
    is_async: bool

    @property
    def name(self) -> str:
        """`<app>/<id>`, as it stands in records."""
        return f"{self.app}/{self.id}"


def define(  # noqa: PLR0913 - a job has these parts
    app: str,
    function: JobFunction,
    *,
    id: str,  # noqa: A002 - the name in the public interface
    trigger: Trigger,
    retry: Retry,
    timeout: float | timedelta | None,
    queue: str,
    schema: Any,
) -> Job:
    """Return the job, or raise JobError, which says what can't work."""
    try:
        check_name("job", id)
        check_name("queue", queue)
    except ConfigurationError as exc:
        raise JobError(id, str(exc)) from exc
    if not isinstance(trigger, Trigger):
        raise JobError(id, f"trigger must be made by event_trigger(…), not {trigger!r}")
    if not isinstance(retry, Retry):
        raise JobError(id, f"retry must be a Retry(…), not {retry!r}")
    takes = _parameters(id, function)
    return Job(
        id=id,
        app=app,
        function=function,
        trigger=trigger,
        retry=retry,
        timeout_s=_timeout_s(id, timeout),
        queue=queue,
        takes=takes,
        parse=_parser(id, function, schema, takes),
        is_async=_is_async(function),
    )


def _parameters(job_id: str, function: object) -> frozenset[str]:
    if not callable(function) or isinstance(function, type):
        raise JobError(job_id, f"a job is a function, not {function!r}")
    if inspect.isasyncgenfunction(_behind(function)) or inspect.isgeneratorfunction(_behind(function)):
        raise JobError(job_id, "its function is a generator; a job returns, it does not yield")
    if not _is_async(function) and _gives_coroutine(function):
        reason = (
            "its function is plain and gives the coroutine of the async one it wraps; make the wrapper async def too"
        )
        raise JobError(job_id, reason)
    try:
        found = inspect.signature(function).parameters.values()
    except ValueError as exc:
        raise JobError(job_id, f"its function does not say what it takes: {exc}") from exc
    for parameter in found:
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if parameter.name not in _TAKES or not named:
            raise JobError(
                job_id,
                f"its function takes {str(parameter)!r}; a job's function takes any of payload, io, ctx, by name",
            )
    return frozenset(parameter.name for parameter in found)


def _behind(function: Any) -> Any:
    """Return the function behind a partial, a static method or a callable object."""
    while isinstance(function, functools.partial | staticmethod):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    is_function = inspect.isfunction(function) or inspect.ismethod(function) or inspect.isbuiltin(function)
    return function if is_function else function.__call__


def _is_async(function: Any) -> bool:
    """Return whether a call returns a coroutine: the function is `async def`, or marked so, as before Python 3.12."""
    mark = getattr(asyncio.coroutines, "_is_coroutine", None)
    return any(
        inspect.iscoroutinefunction(each) or (mark is not None and getattr(each, "_is_coroutine", None) is mark)
        for each in (function, _behind(function))
    )


def _gives_coroutine(function: Any) -> bool:
    """Return whether a plain function certainly returns the coroutine of an async function that it wraps.

    It does if its code could not run a coroutine: it uses only the wrapped function and variables of its own.
    """
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is None or not (inspect.iscoroutinefunction(wrapped) or _gives_coroutine(wrapped)):
        return False
    if isinstance(function, type(functools.lru_cache(len))):
        return True
    if not inspect.isfunction(function) or function.__code__.co_names:
        return False
    return all(cell.cell_contents is wrapped for cell in function.__closure__ or ())


def _timeout_s(job_id: str, timeout: object) -> float | None:
    if timeout is None:
        return None
    seconds = seconds_of(timeout)
    if seconds is None or not 0 < seconds <= MAX_DURATION_S:
        rule = "timeout must be seconds > 0, a timedelta or None, and at most 100 years"
        raise JobError(job_id, f"{rule}, not {timeout!r}")
    return seconds


def _parser(job_id: str, function: JobFunction, schema: Any, takes: frozenset[str]) -> Parser | None:
    if schema is None:
        if "payload" not in takes:
            return None
        schema = _annotation(job_id, function)
    try:
        return parser_of(schema)
    except Exception as exc:  # a type's own code may raise anything
        raise JobError(job_id, f"nothing can be decoded into the payload's type {schema!r}: {exc}") from exc


def _annotation(job_id: str, function: JobFunction) -> Any:
    """Return the annotation of `payload`; other parameters' annotations need not exist when the program runs."""
    annotation = inspect.signature(function).parameters["payload"].annotation
    if annotation is inspect.Parameter.empty:
        return None
    names = getattr(inspect.unwrap(_behind(inspect.unwrap(function))), "__globals__", {})
    holder = type(job_id, (), {"__annotations__": {"payload": annotation}})
    try:
        return typing.get_type_hints(holder, globalns=names, include_extras=True)["payload"]
    except Exception as exc:  # an annotation is any expression
        raise JobError(
            job_id,
            f"the annotation of payload, {annotation!r}, can't be found: {exc}; define the type at the top of a "
            "module, or give it as schema=…",
        ) from exc
