"""What a job's function receives as `ctx`: its run, job and event, and the worker. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from headrace.model.event import DEFAULT_SOURCE
from headrace_worker.errors import RunCanceled
from headrace_worker.membership.in_flight import Ending


class RunInfo(msgspec.Struct, frozen=True):
    """This run.

    Attributes:
        id: `<event id>:<app>/<job id>`.
        attempt: the number of this attempt, from 1.
        max_attempts: after so many the run is a dead letter.
        is_replay: the run was started again by hand, `headrace runs retry` for example.
        started_at: when this attempt began.
    """

    id: str
    attempt: int
    max_attempts: int
    is_replay: bool
    started_at: datetime

    @property
    def is_retry(self) -> bool:
        """Whether an attempt has failed before this one."""
        return self.attempt > 1


class JobInfo(msgspec.Struct, frozen=True):
    """This job.

    Attributes:
        id: without its app.
        app: the name of its app.
        version: `App(version=)`, of the worker that executes it.
        queue: the queue of this run, without the app.
    """

    id: str
    app: str
    version: str | None
    queue: str


class EventInfo(msgspec.Struct, frozen=True):
    """The event of this run; its payload is the function's `payload`.

    Attributes:
        id: the same for all jobs that get the event, and in each attempt.
        name: what the trigger matched.
        context: as the sender gave it.
        timestamp: when it happened, as the sender says.
        source: what sent it.
        ordering_key: runs of events with the same key begin in their order; None without one.
        headers: what travels beside the payload; events that the run sends have them, too.
    """

    id: str
    name: str
    context: Any
    timestamp: datetime
    source: str = DEFAULT_SOURCE
    ordering_key: str | None = None
    headers: dict[str, str] = {}


class Account(msgspec.Struct, frozen=True):
    """The account for which the event was sent.

    Attributes:
        id: the `account_id` of its send.
    """

    id: str


NEVER_ENDED = Ending()
"""Of the contexts that no executor has made."""


class Context(msgspec.Struct, frozen=True):
    """The run, job and event of a function, and the worker that executes it.

    Attributes:
        run: this run.
        job: this job.
        event: the event of the run.
        account: the account for which the event was sent; None without one.
        namespace: whose events these are.
        worker_id: the name of the worker, as `headrace workers list` shows it.
        ending: what `is_canceled` reads.
    """

    run: RunInfo
    job: JobInfo
    event: EventInfo
    account: Account | None
    namespace: str
    worker_id: str
    ending: Ending = NEVER_ENDED

    @property
    def is_canceled(self) -> bool:
        """Whether the run was ended from outside: what its function comes to is not recorded, so it should stop.

        True once the run was canceled, is over its timeout, or has gone to another worker. A plain function, which
        nothing can end, may ask at any time, in its thread.
        """
        return self.ending.cause is not None

    def raise_if_canceled(self) -> None:
        """Raise RunCanceled if `is_canceled`."""
        if self.ending.cause is not None:
            raise RunCanceled(self.ending.cause)
