"""Headrace's worker: apps, their jobs, and what executes them."""

from headrace_worker.app.app import App
from headrace_worker.app.dependencies import Depends
from headrace_worker.app.job import Job, Queue
from headrace_worker.app.retry import Retry
from headrace_worker.app.trigger import Trigger, event_trigger
from headrace_worker.config import WorkerConfig
from headrace_worker.errors import (
    Abort,
    DefinitionError,
    FilterError,
    JobError,
    LifespanFailed,
    RetryAfter,
    RunCanceled,
    StartRefused,
)
from headrace_worker.run.context import Account, Context, EventInfo, JobInfo, RunInfo
from headrace_worker.run.io import JobIO, SyncJobIO
from headrace_worker.worker import Worker

__all__ = [
    "Abort",
    "Account",
    "App",
    "Context",
    "DefinitionError",
    "Depends",
    "EventInfo",
    "FilterError",
    "Job",
    "JobError",
    "JobIO",
    "JobInfo",
    "LifespanFailed",
    "Queue",
    "Retry",
    "RetryAfter",
    "RunCanceled",
    "RunInfo",
    "StartRefused",
    "SyncJobIO",
    "Trigger",
    "Worker",
    "WorkerConfig",
    "event_trigger",
]

__version__ = "0.2.0"
