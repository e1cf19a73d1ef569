"""What the worker package adds to the tree of `headrace.errors`.

HeadraceError
├── DefinitionError    an app is defined in a way that can't work, so it can't be used
│   ├── JobError           a job of it, or its trigger
│   └── FilterError        a filter is not of the language; the path says where
├── StartRefused       the worker can't start on this server; nothing was started
├── WorkerFailed       a part of the worker did not work any more; its runs go to others
└── RunControl         raised by a job's function to say how its run goes on
    ├── RetryAfter
    └── Abort
"""

from __future__ import annotations

from datetime import timedelta

from headrace import HeadraceError, InvalidArgument
from headrace.model.moments import seconds_of


class DefinitionError(HeadraceError, ValueError):
    """An app, or a part of it, is defined in a way that can't work; the message says what to change."""


class JobError(DefinitionError):
    """A job is defined in a way that can't work; the message names the job and what to change."""

    def __init__(self, job_id: object, reason: str) -> None:
        self.job_id = job_id
        self.reason = reason
        super().__init__(f"job {job_id!r}: {reason}")


class FilterError(DefinitionError):
    """A filter is wrong: `path` says where, as in `filter.address.city[1]`, and `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class StartRefused(HeadraceError):
    """The worker can't start on this server, and nothing was started; the message says what to change."""


class WorkerFailed(HeadraceError):
    """A part of the worker did not work any more, so that it has ended; the message says which, and where it stood."""


class RunControl(HeadraceError):
    """Raised by a job's function to say how its run goes on."""


class RetryAfter(RunControl):
    """Ends this attempt, and asks for the next one after `seconds`, if attempts are left.

    In a group of exceptions it counts as well; of several the longest does.
    """

    def __init__(self, seconds: float | timedelta, reason: str = "") -> None:
        delay_s = seconds_of(seconds)
        if delay_s is None or not 0 <= delay_s <= 366 * 86_400:
            raise InvalidArgument("RetryAfter.seconds", f"must be 0 seconds to a year, or a timedelta, not {seconds!r}")
        self.delay_s = delay_s
        super().__init__(reason or f"asked for another attempt in {self.delay_s:g} s")


class Abort(RunControl):
    """Ends the run as failed, with no more attempts; so it does anywhere in a group of exceptions."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "aborted by the job")
