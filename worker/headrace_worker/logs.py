"""How log lines look: for people on a terminal, JSON otherwise. Values never break a line, so none can be forged."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog

from headrace_worker.context import ids_here

LogFormat = Literal["auto", "console", "json"]
LEVELS = ("debug", "info", "warning", "error")


def configure(log_format: LogFormat = "auto", level: str = "info") -> None:
    """Every line of structlog goes to standard error, in the format and from the level given."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # Not rich's, which shows the variables of each frame, and with them payloads.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_run,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape if console else _unchanged,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        # One write a line, its end included: several processes write to one place.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        # Not cached: whoever embeds a worker, or tests it, may configure structlog again. Lines are rare enough.
        cache_logger_on_first_use=False,
    )


def _add_run(_logger: Any, _method: str, line: Any) -> Any:
    """Adds the ids of the run that executes here, which are bound once a run."""
    for name, value in ids_here().items():
        line.setdefault(name, value)
    return line


def _escape(_logger: Any, _method: str, line: Any) -> Any:
    """Line breaks and control characters are escaped: event names come from outside.

    An exception's lines stay lines, each behind a bar, as the message of the exception may hold what looks like one.
    """
    return {
        _printable(name): _exception(value) if name == "exception" else _value(value) for name, value in line.items()
    }


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, bool | int | float | None):
        return value
    shown = repr(value)
    return value if shown.isprintable() else _printable(shown)


def _exception(text: str) -> str:
    return "\n".join(f"  | {_printable(each)}" for each in text.split("\n"))


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _unchanged(_logger: Any, _method: str, line: Any) -> Any:
    return line
