"""Calls a job's function with what the app puts around it: arounds, and the values that the function depends on.

    enter the arounds → make the values → call the function → close all that was opened, in reverse order

The function's own exception decides: a context manager sees it and can't suppress or replace it. An error while closing
fails an attempt that has not failed yet. Which hooks a job has is decided when a worker starts; a job without any is
called directly.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from headrace_worker.app import functions
from headrace_worker.app.app import App
from headrace_worker.app.dependencies import Step, Wants
from headrace_worker.app.job import Job, JobFunction
from headrace_worker.tasks.forks import fork
from headrace_worker.tasks.guard import describe

_Opened = list[tuple[Any, bool]]
"""The context managers that an attempt has entered, and whether each is an async one."""


class HookedJob(Job, frozen=True):
    """A job whose `function` takes the event's arguments alone, and does the rest by itself.

    Attributes:
        outer: what is entered on the event loop around the thread of a plain job; None for an async job.
    """

    outer: Hooks | None = None


def hooked_jobs(app: App, state: object) -> Mapping[str, Job]:
    """Return an app's jobs as they are to be called.

    Args:
        state: the value of the app's lifespan.
    """
    hooked = {job.id: _hooked(job, app.arounds, state) for job in app.jobs.values()}
    return hooked if any(isinstance(job, HookedJob) for job in hooked.values()) else app.jobs


def _hooked(job: Job, arounds: Sequence[Step], state: object) -> Job:
    if not (arounds or job.steps or "state" in job.takes):
        return job
    takes = job.takes.union(*(around.wants.named for around in arounds)) - {"state"}
    inner = tuple(around for around in arounds if job.is_async or not around.is_async)
    outer = tuple(around for around in arounds if around.is_async and not job.is_async)
    hooks = Hooks(inner, job.steps, job.wants, state)
    return HookedJob(
        **{
            **msgspec.structs.asdict(job),
            "takes": takes,
            "function": functools.partial(hooks.call if job.is_async else hooks.call_plain, job.function),
            "outer": Hooks(outer, (), Wants(tuple(takes)), None) if outer else None,
        }
    )


class Hooks(msgspec.Struct, frozen=True):
    """What stands around a function, and what the function takes."""

    arounds: tuple[Step, ...]
    steps: tuple[Step, ...]
    wants: Wants
    state: object

    async def call(self, function: Callable[..., Awaitable[Any]], **given: Any) -> Any:
        """Call an async function on the event loop."""
        opened: _Opened = []
        output = failure = None
        try:
            output = await self._call(function, given, opened)
        except BaseException as exc:  # noqa: BLE001 - raised again once all is closed
            failure = exc
        if fork.is_child:
            fork.end(failure)
        while opened:
            manager, is_async = opened.pop()
            try:
                if is_async:
                    await type(manager).__aexit__(manager, *_exit_arguments(failure))
                else:
                    type(manager).__exit__(manager, *_exit_arguments(failure))
            except BaseException as exc:  # noqa: BLE001 - see above
                failure = _deciding(failure, functions.misyield(manager, exc) or exc)
        return _ended(output, failure)

    async def _call(self, function: Callable[..., Awaitable[Any]], given: dict[str, Any], opened: _Opened) -> Any:
        given["state"] = self.state
        for around in self.arounds:
            await _take(around, given, (), opened)
        made: list[Any] = []
        for step in self.steps:
            made.append(await _take(step, given, made, opened))
        return await function(**self.wants.pick(given, made))

    def call_plain(self, function: JobFunction, **given: Any) -> Any:
        """Call a plain function in its thread; no around and no step is async."""
        opened: _Opened = []
        output = failure = None
        try:
            output = self._call_plain(function, given, opened)
        except BaseException as exc:  # noqa: BLE001 - as above
            failure = exc
        if fork.is_child:
            fork.end(failure)
        while opened:
            manager, _ = opened.pop()
            try:
                type(manager).__exit__(manager, *_exit_arguments(failure))
            except BaseException as exc:  # noqa: BLE001 - as above
                failure = _deciding(failure, functions.misyield(manager, exc) or exc)
        return _ended(output, failure)

    def _call_plain(self, function: JobFunction, given: dict[str, Any], opened: _Opened) -> Any:
        given["state"] = self.state
        for around in self.arounds:
            _take_plain(around, given, (), opened)
        made: list[Any] = []
        for step in self.steps:
            made.append(_take_plain(step, given, made, opened))
        return call_checked(function, self.wants.pick(given, made))


async def _take(step: Step, given: Mapping[str, Any], made: Sequence[Any], opened: _Opened) -> Any:
    if not step.is_async:
        return _take_plain(step, given, made, opened)
    value = step.call(**step.wants.pick(given, made))
    if not step.is_manager:
        return await value
    try:
        entered = await type(value).__aenter__(value)
    except RuntimeError as exc:
        if (named := functions.misyield(value, exc)) is None:
            raise
        raise named from None
    opened.append((value, True))
    return entered


def _take_plain(step: Step, given: Mapping[str, Any], made: Sequence[Any], opened: _Opened) -> Any:
    value = step.call(**step.wants.pick(given, made))
    if not step.is_manager:
        return value
    try:
        entered = type(value).__enter__(value)
    except RuntimeError as exc:
        if (named := functions.misyield(value, exc)) is None:
            raise
        raise named from None
    opened.append((value, False))
    return entered


def call_checked(function: JobFunction, arguments: dict[str, Any]) -> Any:
    """Call a plain function in its thread; raise an error if it gives a coroutine."""
    output = function(**arguments)
    if inspect.iscoroutine(output):
        output.close()
        raise TypeError("a plain function returned a coroutine; make the function itself, and what wraps it, async def")
    return output


def _exit_arguments(failure: BaseException | None) -> tuple[Any, Any, Any]:
    """Return the arguments of a context manager's exit."""
    return (None, None, None) if failure is None else (type(failure), failure, failure.__traceback__)


def _deciding(failure: BaseException | None, exc: BaseException) -> BaseException:
    """Return the exception that decides the outcome: the first one; a later one is noted on it."""
    if failure is None or exc is failure:
        return exc
    with contextlib.suppress(BaseException):  # the exception's own code may refuse
        failure.add_note(f"While closing after this, there was also {describe(exc)}")
    return failure


def _ended(output: Any, failure: BaseException | None) -> Any:
    if failure is None:
        return output
    try:
        raise failure
    finally:
        del failure  # or the exception and this frame would keep each other alive
