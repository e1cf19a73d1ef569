"""What the worker package adds to the tree of `headrace.errors`; in brackets the module, if it is not this one.

    HeadraceError
    ├── ConfigurationError
    │   └── AppNotLoaded            MODULE:APP names no app that can be loaded (process.loading)
    ├── InvalidArgument
    │   └── BadLine                 a line of a file is no event that can be sent; nothing was sent (cli.event_file)
    ├── DefinitionError             an app, or a part of it, is defined in a way that can't work
    │   ├── JobError                a job of it, or its trigger
    │   └── FilterError             a filter breaks a rule of the language; the path says where
    ├── StartRefused                the worker can't start on this server; nothing was started
    ├── LifespanFailed              the app's lifespan raised at the start; nothing was started
    ├── WorkerFailed                a part of the worker did not work any more; its runs go to other workers
    ├── RoutesTooNew                routes need a newer release; this worker dispatches nothing (app.routes)
    ├── RunControl                  raised by a job's function to say how its run goes on
    │   ├── RetryAfter
    │   └── Abort
    ├── RunCanceled                 raised by ctx.raise_if_canceled() in a function whose run was ended from outside
    ├── NotSettled                  a test's events or runs have not settled in the time given (testing.settling)
    ├── RunFailed                   a run of a test failed, and its exception is not at hand (testing.kit)
    ├── EmbeddedServerFailed        the server for development did not start (dev.embedded)
    ├── SendingStopped              a batch of a file was not sent, nor any batch after it (cli.event_file)
    ├── AlreadyFinished             a run had ended before it was canceled (operate.open_runs)
    ├── NotCanceled                 an event was delivered before it was canceled (operate.open_events)
    ├── NoRun                       a dead letter belongs to no run that could be retried (operate.dead_letters)
    ├── NoLetters                   a job that was named has no dead letters (operate.dead_letters)
    ├── UnknownWorker               no worker of the name is known (inspect.workers)
    ├── UnknownApp                  no app of the name was ever registered (operate.forget_app)
    ├── AppAlive                    an app that has live workers is not forgotten (operate.forget_app)
    ├── UnknownJob                  no job of the name is registered (inspect.jobs)
    └── JobDisabled                 an event is not sent to a job that gets no runs (operate.send_to_job)

Each writes its own message, holds the facts as attributes and says what to do.
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
    """The worker can't start on this server; nothing was started. The message says what to change."""


class LifespanFailed(HeadraceError):
    """The lifespan of an app raised at the start, so the worker has not started; the cause is what it raised."""

    def __init__(self, app: str, reason: str) -> None:
        self.app = app
        self.reason = reason
        super().__init__(f"the lifespan of app {app!r} failed: {reason}")


class WorkerFailed(HeadraceError):
    """A part of the worker did not work any more, so the worker has ended. The message names the part and its place."""


class RunControl(HeadraceError):
    """Raised by a job's function to say how its run goes on."""


class RetryAfter(RunControl):
    """Ends this attempt, and requests the next one after `seconds`, if attempts are left.

    It counts in a group of exceptions, too; of several, the longest wait counts.
    """

    def __init__(self, seconds: float | timedelta, reason: str = "") -> None:
        delay_s = seconds_of(seconds)
        if delay_s is None or not 0 <= delay_s <= 366 * 86_400:
            raise InvalidArgument("RetryAfter.seconds", f"must be 0 seconds to a year, or a timedelta, not {seconds!r}")
        self.delay_s = delay_s
        super().__init__(reason or f"asked for another attempt in {self.delay_s:g} s")


class Abort(RunControl):
    """Ends the run as failed, with no more attempts; anywhere in a group of exceptions, too."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "aborted by the job")


class RunCanceled(HeadraceError):
    """The run was ended from outside, and what its function comes to is not recorded; `cause` says by what.

    Attributes:
        cause: `canceled`, `timed_out` or `released`: another worker has the run.
    """

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(f"the run was ended from outside ({cause}); nothing of what its function does is recorded")
