"""The definitions of queues and jobs. A job's function is inspected once, when it is defined. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from headrace import ConfigurationError
from headrace.formats.keys import check_name
from headrace.model.moments import MAX_DURATION_S, seconds_of
from headrace.model.schema import Parser
from headrace.plans.queues import MAX_LIMIT
from headrace_worker.app import functions
from headrace_worker.app.dependencies import Inspection, Step, Wants
from headrace_worker.app.payload import payload_rules
from headrace_worker.app.retry import Retry
from headrace_worker.app.trigger import Trigger
from headrace_worker.errors import DefinitionError, JobError

JobFunction = Callable[..., Any]
MAX_WEIGHT = 1_000


class Queue(msgspec.Struct, frozen=True):
    """A queue of an app, for `App.job(queue=)`.

    Attributes:
        name: unique in the app.
        concurrency: how many of its runs may be in flight at once, over all workers; None for any number.
        weight: how many runs a worker takes from it for each run of a queue with weight 1, while both have some.
    """

    name: str
    concurrency: int | None = None
    weight: int = 1

    def __post_init__(self) -> None:
        """Refuse, with DefinitionError, what can't be."""
        try:
            check_name("queue", self.name)
        except ConfigurationError as exc:
            raise DefinitionError(str(exc)) from exc
        for field, value, most in (("concurrency", self.concurrency, MAX_LIMIT), ("weight", self.weight, MAX_WEIGHT)):
            is_none = value is None and field == "concurrency"
            if not is_none and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most):
                rule = f"must be a whole number from 1 to {most:,}"
                raise DefinitionError(f"queue {self.name!r}: {field} {rule}, not {value!r}")


class Job(msgspec.Struct, frozen=True):
    """A function that subscribes to events.

    Attributes:
        name: `<app>/<id>`.
        takes: which of `payload`, `io`, `ctx` and `state` the function or a step takes.
        wants: what the function takes.
        steps: make the values that the function depends on.
        parse: turns an encoded payload into the function's type; None if there is neither parameter nor schema.
        parsers: the same for events whose names decide the type.
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
    wants: Wants
    steps: tuple[Step, ...] = ()
    parsers: dict[str, Parser] = {}

    @property
    def name(self) -> str:
        """`<app>/<id>`, as it stands in records."""
        return f"{self.app}/{self.id}"


def define(  # noqa: PLR0913 - a job has these parts
    app: str,
    function: JobFunction,
    *,
    id: str,  # noqa: A002 - the name in the public interface
    trigger: Trigger | None,
    retry: Retry,
    timeout: float | timedelta | None,
    queue: str,
    schema: Any,
    has_state: bool = False,
) -> Job:
    """Return the job, or raise JobError, which says what can't work."""
    try:
        check_name("job", id)
        check_name("queue", queue)
    except ConfigurationError as exc:
        raise JobError(id, str(exc)) from exc
    if trigger is not None and not isinstance(trigger, Trigger):
        raise JobError(id, f"trigger must be made by event_trigger(…), not {trigger!r}")
    if not isinstance(retry, Retry):
        raise JobError(id, f"retry must be a Retry(…), not {retry!r}")
    _check_function(id, function)
    is_async = functions.is_async(function)
    inspection = Inspection(id, is_async=is_async, has_state=has_state)
    wants = inspection.wants_of(function)
    takes = frozenset(wants.named).union(*(step.wants.named for step in inspection.steps))
    rules = payload_rules(id, function, schema, trigger, is_taken="payload" in takes)
    return Job(
        id=id,
        app=app,
        function=function,
        trigger=rules.trigger,
        retry=retry,
        timeout_s=_timeout_s(id, timeout),
        queue=queue,
        takes=takes,
        parse=rules.parse,
        parsers=rules.parsers,
        is_async=is_async,
        wants=wants,
        steps=tuple(inspection.steps),
    )


def _check_function(job_id: str, function: object) -> None:
    if not callable(function) or isinstance(function, type):
        raise JobError(job_id, f"a job is a function, not {function!r}")
    if functions.is_generator(function):
        raise JobError(job_id, "its function is a generator; a job returns, it does not yield")
    if not functions.is_async(function) and functions.gives_coroutine(function):
        reason = (
            "its function is plain and gives the coroutine of the async one it wraps; make the wrapper async def too"
        )
        raise JobError(job_id, reason)


def _timeout_s(job_id: str, timeout: object) -> float | None:
    if timeout is None:
        return None
    seconds = seconds_of(timeout)
    if seconds is None or not 0 < seconds <= MAX_DURATION_S:
        rule = "timeout must be seconds > 0, a timedelta or None, and at most 100 years"
        raise JobError(job_id, f"{rule}, not {timeout!r}")
    return seconds
