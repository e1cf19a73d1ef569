"""Turns Python's own reports into log lines: a write to standard error could wait for a reader that stands still.

Such reports come in the event loop, too: asyncio logs a task's lost exception, Python warns of a coroutine that was
never awaited, and reports the exceptions of finalizers.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from typing import Any, TextIO

from headrace_worker.logs.logger import get_logger
from headrace_worker.logs.values import shown
from headrace_worker.logs.writer import LOSSES

log = get_logger("headrace.python")


def log_reports_of_python() -> None:
    """Log records and warnings without a handler, and exceptions that no code can catch any more, from now on."""
    logging.lastResort = _UnclaimedRecords(logging.WARNING)
    warnings.showwarning = _log_warning
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_end_of_thread


class _UnclaimedRecords(logging.Handler):
    """Logs records of loggers for which the application has configured no handler."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Log the record, whose level is warning or higher; takes no lock."""
        try:
            self._log(record)
        except BaseException:  # noqa: BLE001 - no memory, no stack
            LOSSES.lines += 1
        return True

    @staticmethod
    def _log(record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except BaseException:  # noqa: BLE001 - arguments that do not fit the message
            text = f"{record.msg if isinstance(record.msg, str) else shown(record.msg)} {shown(record.args)}"
        write = log.error if record.levelno >= logging.ERROR else log.warning
        write(text, logger=record.name, **({"exc_info": record.exc_info} if record.exc_info else {}))


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if file is not None:
        file.write(warnings.formatwarning(message, category, filename, lineno, line))
        return
    log.warning(_text(message), category=category.__name__, place=f"{filename}:{lineno}")


def _log_unraisable(report: Any) -> None:
    log.error(report.err_msg or "exception ignored", place=shown(report.object), exc_info=report.exc_value)


def _log_end_of_thread(report: Any) -> None:
    if report.exc_type is not SystemExit:
        log.error("a thread ended with an exception", thread=shown(report.thread), exc_info=report.exc_value)


def _text(value: object) -> str:
    try:
        return str(value)
    except BaseException:  # noqa: BLE001 - what a __str__ raises is its own choice
        return shown(value)
