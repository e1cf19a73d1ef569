"""An app: a named set of jobs. Its workers execute the jobs; any worker dispatches for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from headrace import ConfigurationError, PayloadCodec
from headrace.formats.keys import check_name
from headrace.formats.seal import check_codec
from headrace_worker.app import hooks
from headrace_worker.app import job as jobs
from headrace_worker.app.dependencies import Step
from headrace_worker.app.examples import Example, checked_examples
from headrace_worker.app.job import Job, JobFunction, Queue
from headrace_worker.app.retry import Retry
from headrace_worker.app.trigger import Trigger
from headrace_worker.errors import DefinitionError, JobError

F = TypeVar("F", bound=JobFunction)
A = TypeVar("A", bound=Callable[..., AbstractContextManager[Any] | AbstractAsyncContextManager[Any]])
P = ParamSpec("P")
R = TypeVar("R")


def _by_name(method: Callable[P, R]) -> Callable[P, R]:
    """Return `App.job` such that a use without its arguments' names raises JobError, which says how it is used."""

    @functools.wraps(method)
    def call(*given: P.args, **named: P.kwargs) -> R:
        if len(given) != 1 or "id" not in named:
            job_id = named.get("id", getattr(given[1], "__name__", given[1]) if len(given) > 1 else "?")
            raise JobError(job_id, "write @app.job(id='…', trigger=event_trigger('…')): each is given by its name")
        return method(*given, **named)

    return call


class App:
    """The jobs of one service, under the service's name.

    Attributes:
        name: 1 to 64 of `A-Z a-z 0-9 _ . -`; two services on one namespace need two names.
        version: reaches the job as `ctx.job.version`.
        codec: opens the events of the jobs; seals the events that they send, their outputs and their errors.
        dispatch_only: the app has no jobs on purpose: its workers dispatch events for other apps.
        log_errors: messages and tracebacks of failed attempts are logged; if not, only the types of their exceptions.
        lifespan: opens what the jobs of one worker process share, and closes it after the last run; None for nothing.
        modules: define jobs of this app; a worker imports them before it starts.
        jobs: every job by its id.
        definitions: the queues that jobs define by more than their names, by name.
        examples: of each job's payload, by the job's id and their names.
        arounds: what is entered around each attempt, outermost first.
    """

    def __init__(  # noqa: PLR0913 - each is an option, and given by name
        self,
        name: str,
        *,
        version: str | None = None,
        codec: PayloadCodec | None = None,
        dispatch_only: bool = False,
        log_errors: bool = True,
        lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
        modules: list[str] | tuple[str, ...] = (),
    ) -> None:
        """Make an app without jobs.

        Args:
            lifespan: is entered once in each worker process, on its event loop, before the first run; its value is the
                parameter `state` of jobs. See docs/jobs.md.
            modules: full names, imported in this order when a worker loads the app. They may import the app's module.

        Raises:
            DefinitionError: the name, the codec, the lifespan or the modules are invalid.
        """
        try:
            self.name: str = check_name("app", name)
            self.codec: PayloadCodec | None = None if codec is None else check_codec(codec)
        except ConfigurationError as exc:
            raise DefinitionError(str(exc)) from exc
        self.version = version
        self.dispatch_only = dispatch_only
        self.log_errors = log_errors
        self.lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = hooks.checked_lifespan(lifespan)
        self.modules: tuple[str, ...] = hooks.checked_modules(modules)
        self.jobs: dict[str, Job] = {}
        self.definitions: dict[str, Queue] = {}
        self._owned: set[str] = set()
        self.examples: dict[str, dict[str, Example]] = {}
        self.arounds: list[Step] = []

    @_by_name
    def job(  # noqa: PLR0913 - each is an option, and given by name
        self,
        *,
        id: str,  # noqa: A002 - the name in the public interface
        trigger: Trigger | None = None,
        retry: Retry = Retry(),  # noqa: B008 - a frozen struct
        timeout: float | timedelta | None = None,
        queue: str | Queue | None = None,
        concurrency: int | None = None,
        schema: Any = None,
        examples: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Make the decorated function a job of this app: each event that the trigger matches becomes one run.

        Args:
            id: unique in the app, and the same across its versions.
            trigger: made by `event_trigger`; by default the events of the class that is the annotation of `payload`.
            retry: how often a run is attempted, and how long it waits in between.
            timeout: seconds that an attempt may take; None without a limit.
            queue: the queue in which the runs wait, `default` if it is None; a Queue says more of it than its name.
            concurrency: gives the job a queue of its own, named as its id, of which so many runs at most are in flight
                at once, over all workers.
            schema: the type of the parsed payload; by default the annotation of `payload`.
            examples: payloads by names, for `headrace jobs trigger --example` and `headrace_worker.testing.examples`.

        Raises:
            JobError: the job is defined in a way that can't work; the message says what to change.
        """

        def define(function: F) -> F:
            if self.dispatch_only:
                raise JobError(id, f"app {self.name!r} is dispatch_only, so it has no jobs")
            if id in self.jobs:
                raise JobError(id, f"app {self.name!r} has a job of this id already; ids are unique in an app")
            used = self._queue_of(id, queue, concurrency)
            job = jobs.define(
                self.name,
                function,
                id=id,
                trigger=trigger,
                retry=retry,
                timeout=timeout,
                queue=used.name if isinstance(used, Queue) else used,
                schema=schema,
                has_state=self.lifespan is not None,
            )
            if isinstance(used, Queue):
                self.definitions[used.name] = used
            if concurrency is not None:
                self._owned.add(job.queue)
            self.examples[id] = checked_examples(job, examples or {})
            self.jobs[id] = job
            return function

        return define

    def _queue_of(self, job_id: str, queue: str | Queue | None, concurrency: int | None) -> str | Queue:
        """Return the queue of a job to be, or raise JobError if it can't be that of the app's other jobs."""
        if concurrency is not None:
            if queue is not None:
                own = "concurrency gives the job a queue of its own; to limit a queue that it shares, write"
                name = queue.name if isinstance(queue, Queue) else queue
                raise JobError(job_id, f"{own} queue=Queue({name!r}, concurrency={concurrency!r}) instead")
            if sharing := sorted(job.id for job in self.jobs.values() if job.queue == job_id):
                taken = f"its own queue would be {job_id!r}, which is the queue of job {sharing[0]!r}"
                raise JobError(job_id, f"{taken}; give one of them another name")
            queue = _defined(job_id, concurrency)
        if queue is None:
            return "default"
        if not isinstance(queue, str | Queue):
            raise JobError(job_id, f"queue {queue!r} is not a name, nor a Queue(…)")
        name = queue.name if isinstance(queue, Queue) else queue
        if name in self._owned:
            raise JobError(job_id, f"queue {name!r} is the own queue of job {name!r}, which has a concurrency")
        known = self.definitions.get(name)
        if isinstance(queue, Queue) and known is not None and known != queue:
            raise JobError(job_id, f"queue {name!r} is defined twice: as {known!r}, and here as {queue!r}")
        return queue

    def queue(self, name: str) -> Queue:
        """Return the definition of a queue; that of one which no job defines has no limit, and the usual weight."""
        return self.definitions.get(name) or Queue(name)

    def around(self, factory: A) -> A:
        """Enter the decorated context manager around each attempt of each job, the first one outermost.

        A plain context manager is entered where the function executes: in the thread of a plain job, on the event loop
        of an async one. An async one is entered on the event loop, around both. The function's own exception decides
        the run's outcome; no around can suppress it. An error before the `yield`, or while closing after the function
        has returned, fails the attempt.

        Args:
            factory: returns the context manager; takes `ctx`, the attempt's `Context`, or nothing.

        Raises:
            DefinitionError: the factory makes no context manager, or takes anything else.
        """
        self.arounds.append(hooks.around_of(factory))
        return factory

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of the queues that this app's jobs use, sorted."""
        return tuple(sorted({job.queue for job in self.jobs.values()}))


def _defined(job_id: str, concurrency: int) -> Queue:
    try:
        return Queue(job_id, concurrency)
    except DefinitionError as exc:
        raise JobError(job_id, str(exc)) from exc
