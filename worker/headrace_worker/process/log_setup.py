"""The form of log lines: for people on a terminal, JSON otherwise. Values never break a line, so none can be forged."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Literal, cast, get_args

import structlog

from headrace_worker.current_run import ids_here
from headrace_worker.logs.guarded_logger import guarded
from headrace_worker.logs.logger import trust_configuration
from headrace_worker.logs.python_reports import log_reports_of_python
from headrace_worker.logs.values import add_exception, as_json, shown
from headrace_worker.logs.writer import Writer, open_writer, use_writer

LogFormat = Literal["auto", "console", "json"]
LEVELS = ("debug", "info", "warning", "error")


def configure_by_environment() -> None:
    """Do as `configure` does for a command without options for it, from warnings on unless the environment says else.

    A wrong value is left to the commands that have these options, which refuse it.
    """
    log_format, level = os.environ.get("HEADRACE_LOG_FORMAT"), os.environ.get("HEADRACE_LOG_LEVEL")
    configure(
        cast("LogFormat", log_format) if log_format in get_args(LogFormat) else "auto",
        level if level in LEVELS else "warning",
    )


def configure(log_format: LogFormat = "auto", level: str = "info") -> None:
    """Send every line of structlog and of `logging` to standard error, in the format and from the level given.

    Records of `logging` come from INFO on at the earliest, unless their logger has a lower level of its own: the
    lines of every library would hide what was looked for.

    No log call raises, and none waits for the reader of standard error: see `logs.writer`. Python's own reports become
    such lines, too. The lines of a run carry its ids.
    """
    console = log_format == "console" or (log_format == "auto" and _is_terminal(sys.stderr))
    renderer: Any = (
        structlog.dev.ConsoleRenderer(
            colors=_is_terminal(sys.stderr),
            # Not rich's, which shows the variables of each frame, and with them payloads.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else _render_json
    )
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)

    def form(level: str, text: str, fields: dict[str, Any]) -> str:
        return str(renderer(None, level, timestamp(None, level, {"event": text, **fields, "level": level}))) + "\n"

    writer = open_writer(sys.stderr, form)
    use_writer(writer)
    processors = [
        structlog.contextvars.merge_contextvars,
        _add_run,
        structlog.processors.add_log_level,
        timestamp,
        add_exception,
        _escape if console else _unchanged,
        renderer,
    ]
    lowest = getattr(logging, level.upper())
    wrapper = guarded(structlog.make_filtering_bound_logger(lowest))
    structlog.configure(
        processors=processors,
        wrapper_class=wrapper,
        logger_factory=_LineLoggerFactory(writer),
        # Not cached: a program or a test that embeds a worker may configure structlog again. Lines are rare enough.
        cache_logger_on_first_use=False,
    )
    trust_configuration(lowest)
    records = structlog.wrap_logger(_LineLogger(writer), processors=processors, wrapper_class=wrapper)
    log_reports_of_python(records.bind(), lowest)


class _Process:
    worker = ""


def name_worker(name: str) -> None:
    """Name this process's worker on each line of a run from now on: several processes write to one log."""
    _Process.worker = name


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # none, or closed
        return False


class _LineLogger:
    """Receives the lines of structlog's loggers."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        """Write the line and its end in one write."""
        self._writer.write(line + "\n")

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


class _LineLoggerFactory:
    def __init__(self, writer: Writer) -> None:
        self._logger = _LineLogger(writer)

    def __call__(self, *_names: Any) -> _LineLogger:
        return self._logger


def _render_json(_logger: Any, _method: str, line: Any) -> str:
    return as_json(line)


def _add_run(_logger: Any, _method: str, line: Any) -> Any:
    """Add the ids of the run that executes here, and the worker to what names a run."""
    for name, value in ids_here().items():
        line.setdefault(name, value)
    if _Process.worker and "run" in line:
        line.setdefault("worker", _Process.worker)
    return line


def _escape(_logger: Any, _method: str, line: Any) -> Any:
    """Escape line breaks and control characters: event names come from outside.

    An exception or a stack keeps its lines, each behind a bar, as a message may hold text that looks like a log line.
    """
    return {_printable(name): _block(value) if name in _BLOCKS else _value(value) for name, value in line.items()}


_BLOCKS = ("exception", "stack")


def _value(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        value = ", ".join(value)
    return _printable(value if isinstance(value, str) else shown(value))


def _block(value: Any) -> str:
    text = value if isinstance(value, str) else shown(value)
    return "\n".join(f"  | {_printable(each)}" for each in text.split("\n"))


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _unchanged(_logger: Any, _method: str, line: Any) -> Any:
    return line
