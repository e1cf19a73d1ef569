"""Turns records of `logging` and Python's own reports into log lines.

A write to standard error could wait for a reader that stands still, and such reports come in the event loop, too:
asyncio logs a task's lost exception, Python warns of a coroutine that was never awaited, and reports the exceptions of
finalizers.
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


def log_reports_of_python(records: Any, level: int) -> None:
    """Log what `logging` records, warnings, and exceptions that no code can catch any more, from now on.

    Records reach the log through a handler of the root logger, or, if the application has handlers there, where a
    logger has none.

    Args:
        records: a logger of structlog whose calls raise nothing. It must not pass lines on to `logging`, as an
            application's configuration of structlog may: that would be a circle.
        level: the lowest level that is logged; DEBUG only of loggers that have it as their own level.
    """
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, RecordHandler)]:
        root.removeHandler(handler)
    logging.lastResort = RecordHandler(records, logging.WARNING)
    if not root.handlers:
        root.addHandler(RecordHandler(records, level))
        root.setLevel(max(level, logging.INFO))
    warnings.showwarning = _log_warning
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_end_of_thread


class RecordHandler(logging.Handler):
    """Logs records of `logging` with their level, their logger's name and what was given as `extra`."""

    def __init__(self, records: Any, level: int) -> None:
        super().__init__(level)
        self._records = records

    def handle(self, record: logging.LogRecord) -> bool:
        """Log the record; takes no lock."""
        try:
            self._log(record)
        except BaseException:  # noqa: BLE001 - no memory, no stack
            LOSSES.lines += 1
        return True

    def _log(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except BaseException:  # noqa: BLE001 - arguments that do not fit the message
            text = f"{record.msg if isinstance(record.msg, str) else shown(record.msg)} {shown(record.args)}"
        fields = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        if record.stack_info:
            fields["stack"] = record.stack_info
        write = getattr(self._records, next(name for lowest, name in _LEVELS if record.levelno >= lowest))
        write(text, **(fields | {"logger": record.name}))


_OF_EVERY_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_LEVELS = (
    (logging.CRITICAL, "critical"), (logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"),
    (-sys.maxsize, "debug"),
)  # fmt: skip


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
