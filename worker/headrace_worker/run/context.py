"""What a job's function gets as `ctx`, which says where it is: its run, job and event, and the worker. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from headrace.model.event import DEFAULT_SOURCE


class RunInfo(msgspec.Struct, frozen=True):
    """This run: its id, which attempt of how many this is, and whether it was started again by hand."""

    id: str
    attempt: int
    max_attempts: int
    is_replay: bool
    started_at: datetime

    @property
    def is_retry(self) -> bool:
        """An attempt has failed before this one."""
        return self.attempt > 1


class JobInfo(msgspec.Struct, frozen=True):
    """This job: its id, its app, the version of its app and the queue of this run."""

    id: str
    app: str
    version: str | None
    queue: str


class EventInfo(msgspec.Struct, frozen=True):
    """The event that this run is for; its payload is the function's `payload`."""

    id: str
    name: str
    context: Any
    timestamp: datetime
    source: str = DEFAULT_SOURCE
    ordering_key: str | None = None


class Account(msgspec.Struct, frozen=True):
    """The account that the event was sent for."""

    id: str


class Context(msgspec.Struct, frozen=True):
    """Where a function is: its run, job and event, and who executes it."""

    run: RunInfo
    job: JobInfo
    event: EventInfo
    account: Account | None
    namespace: str
    worker_id: str
