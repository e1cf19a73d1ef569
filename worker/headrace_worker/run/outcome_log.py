"""Logs attempts that failed, by what becomes of their runs: a warning before a retry, an error at the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from headrace import RunError
from headrace_worker.app.app import App
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger, shows_debug
from headrace_worker.membership.in_flight import InFlightRun
from headrace_worker.run.outcome import Failed, Invalid, Outcome, RetryLater, Succeeded, TimedOut

log = get_logger("headrace.run")


class OutcomeLog:
    """Writes one line for each failed attempt. An error's message and traceback may show parts of a payload.

    Attributes:
        tells_success: a run that succeeds has a line, too: of the level debug.
    """

    def __init__(self, app: App, *, every_traceback: bool) -> None:
        """Log nothing yet.

        Args:
            app: whose runs end; its `log_errors` decides whether messages and tracebacks are logged.
            every_traceback: show that of an attempt before a retry, too.
        """
        self._with_messages = app.log_errors
        self._every_traceback = every_traceback
        self.tells_success = shows_debug()

    def report(self, run: InFlightRun, outcome: Outcome) -> None:
        """Log the attempt; a wait without a failed attempt is logged where it is decided."""
        match outcome:
            case Succeeded():
                took_s = round(monotonic() - run.started_at, 3)
                log.debug("run succeeded", took_s=took_s, run=run.delivery.run_id, job=run.delivery.job)
            case RetryLater(error, delay_s, following):
                if following.attempt > run.delivery.state.attempt:
                    next_at = datetime.now(UTC) + timedelta(seconds=delay_s)
                    when = next_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                    self._log(log.warning, "attempt failed", run, error, traceback=self._every_traceback, next_at=when)
            case Failed(error) | TimedOut(error) | Invalid(error):
                reason = {} if outcome.reason == "failed" else {"reason": outcome.reason}
                self._log(log.error, "run failed", run, error, traceback=True, **reason)

    def _log(self, write: Any, text: str, run: InFlightRun, error: RunError, *, traceback: bool, **more: Any) -> None:
        fields: dict[str, Any] = {"attempt": run.delivery.state.attempt, **more, "error": error.type}
        if self._with_messages:
            fields["message"] = error.message
            if traceback and error.traceback:
                fields["exception"] = error.traceback.rstrip()
        write(text, **fields, run=run.delivery.run_id, job=run.delivery.job)
