"""What a job's function receives as `ctx`: its run, job and event, and the worker. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from headrace.model.event import DEFAULT_SOURCE


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


class Context(msgspec.Struct, frozen=True):
    """The run, job and event of a function, and the worker that executes it."""

    run: RunInfo
    job: JobInfo
    event: EventInfo
    account: Account | None
    namespace: str
    worker_id: str
