"""What a job's function receives as `ctx`: its run, job and event, and the worker. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from headrace.model.event import DEFAULT_SOURCE
from headrace_worker.errors import RunCanceled
from headrace_worker.membership.in_flight import Ending


class RunInfo(msgspec.Struct, frozen=True):
    """This run: its id, the attempt and the most attempts, and whether the run was started again by hand."""

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
    """This job: its id, its app, the version of its app and the queue of this run."""

    id: str
    app: str
    version: str | None
    queue: str


class EventInfo(msgspec.Struct, frozen=True):
    """The event of this run; its payload is the function's `payload`."""

    id: str
    name: str
    context: Any
    timestamp: datetime
    source: str = DEFAULT_SOURCE
    ordering_key: str | None = None
    headers: dict[str, str] = {}


class Account(msgspec.Struct, frozen=True):
    """The account for which the event was sent."""

    id: str


NEVER_ENDED = Ending()
"""Of the contexts that no executor has made."""


class Context(msgspec.Struct, frozen=True):
    """The run, job and event of a function, and the worker that executes it.

    Attributes:
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
