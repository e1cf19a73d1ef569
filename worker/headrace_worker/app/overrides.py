"""An app for a test: what its jobs depend on is replaced, and the app itself stays as it is. Pure."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from headrace import InvalidArgument
from headrace.model.schema import parser_of
from headrace_worker.app import functions
from headrace_worker.app.app import App
from headrace_worker.app.dependencies import Inspection
from headrace_worker.app.job import Job


def overridden(app: App, override: Mapping[Any, Any] | None, state: object = msgspec.UNSET) -> App:
    """Return a copy of an app in which other functions, or values, stand for those in `Depends`.

    Args:
        override: for a function in `Depends`, the function to call in its place, which may have dependencies of its
            own, or the value itself.
        state: the value of the copy's lifespan, which then opens nothing; UNSET for the lifespan of the app.

    Raises:
        InvalidArgument: no job depends on such a function.
        JobError: a function can't stand for another one, as it is async and the job plain, for example.
    """
    copied = copy.copy(app)
    if state is not msgspec.UNSET:
        copied.lifespan = lambda: contextlib.nullcontext(state)
    calls = {function: _call_of(stand_in) for function, stand_in in (override or {}).items()}
    unused, has_state = set(calls), copied.lifespan is not None
    copied.jobs = {job.id: _replaced(job, calls, unused, has_state=has_state) for job in app.jobs.values()}
    for function in unused:
        named, known = ", ".join(app.jobs), _names(app.jobs.values())
        way_out = f"give the function {function}, not its name" if function in known else _listed(known)
        raise InvalidArgument("override", f"{functions.name_of(function)} is no dependency of {named}; {way_out}")
    return copied


def _call_of(stand_in: Any) -> Callable[..., Any]:
    if inspect.isroutine(stand_in) or isinstance(stand_in, type | functools.partial):
        return stand_in
    return lambda: stand_in


def _replaced(job: Job, calls: Mapping[Any, Callable[..., Any]], unused: set[Any], *, has_state: bool) -> Job:
    inspection = Inspection(job.id, is_async=job.is_async, has_state=has_state, override=calls)
    wants = inspection.wants_of(job.function)
    if not inspection.replaced:
        return job
    unused -= inspection.replaced
    takes = frozenset(wants.named).union(*(step.wants.named for step in inspection.steps))
    parse = job.parse or (parser_of(None) if "payload" in takes else None)
    return msgspec.structs.replace(job, takes=takes, wants=wants, steps=tuple(inspection.steps), parse=parse)


def _names(jobs: Iterable[Job]) -> list[str]:
    return sorted({functions.name_of(step.call) for job in jobs for step in job.steps})


def _listed(names: Sequence[str]) -> str:
    return f"known are {', '.join(names)}" if names else "there is none"
