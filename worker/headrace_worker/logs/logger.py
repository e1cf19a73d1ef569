"""Loggers of Headrace's own that can neither raise into the code that logs nor keep it waiting.

A line that can't be written is lost, and counted. With the configuration of `process.log_setup` lines are written where
they are logged. An application's own configuration of structlog may raise or wait: there a thread logs the lines.
"""

from __future__ import annotations

import _thread
import atexit
import contextvars
import logging
import os
import queue
import sys
import time
from typing import Any

import structlog

from headrace_worker.clock import monotonic
from headrace_worker.logs import writer
from headrace_worker.logs.values import add_exception
from headrace_worker.logs.writer import LOSSES, LOST

_MOST_LINES = 1000
"""Lines that may wait for an application's own configuration."""
_PAUSE_S = 0.002
_AT_EXIT_S = 0.5

_UNCONFIGURED = () if structlog.is_configured() else tuple(structlog.get_config()["processors"])
"""The processors of a program that has not configured structlog; empty if they can't be known any more."""

_Line = tuple[contextvars.Context, str, str, str, dict[str, Any]]


class SafeLogger:
    """Logs through structlog, whatever the application has configured there."""

    # Each method takes one frame of the stack before it can catch: a job may have left little of it.

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, /, **fields: Any) -> None:
        """Log what helps to find a fault."""
        try:
            _log(self._name, "debug", event, fields)
        except BaseException:  # noqa: BLE001 - no memory, no stack
            LOSSES.lines += 1

    def info(self, event: str, /, **fields: Any) -> None:
        """Log what an operator may want to know."""
        try:
            _log(self._name, "info", event, fields)
        except BaseException:  # noqa: BLE001 - no memory, no stack
            LOSSES.lines += 1

    def warning(self, event: str, /, **fields: Any) -> None:
        """Log what may need a look."""
        try:
            _log(self._name, "warning", event, fields)
        except BaseException:  # noqa: BLE001 - no memory, no stack
            LOSSES.lines += 1

    def error(self, event: str, /, **fields: Any) -> None:
        """Log what needs a look."""
        try:
            _log(self._name, "error", event, fields)
        except BaseException:  # noqa: BLE001 - no memory, no stack
            LOSSES.lines += 1

    def exception(self, event: str, /, **fields: Any) -> None:
        """Log what needs a look, with the traceback of the exception that is being handled."""
        try:
            _log(self._name, "exception", event, fields)
        except BaseException:  # noqa: BLE001 - no memory, no stack
            LOSSES.lines += 1


def shows_debug() -> bool:
    """Return whether structlog is configured, and such that lines of the level debug are logged, not just captured."""
    try:
        config = structlog.get_config()
        if _is_ours(config):
            return _Trusted.lowest <= logging.DEBUG
        if tuple(config["processors"]) == _UNCONFIGURED or _is_captured(config):
            return False
        logger = structlog.get_logger("headrace").bind()
        asks = getattr(logger, "is_enabled_for", None) or getattr(logger, "isEnabledFor", None)
        return asks is not None and bool(asks(logging.DEBUG))
    except BaseException:  # noqa: BLE001 - the application's own configuration may raise anything
        return False


def write_directly(text: str) -> None:
    """Write the last words of a process before all waiting lines; see `writer.write_directly`."""
    writer.write_directly(text)


def get_logger(name: str) -> SafeLogger:
    """Return the logger of one part of Headrace."""
    return SafeLogger(name)


def lost_lines() -> int:
    """Return how many log lines of this process were lost since it started."""
    return LOSSES.lines


def flush(timeout_s: float) -> bool:
    """Return whether all lines were written within the time, or are lost; to be called before the process ends.

    False means that a thread may wait in a write to a stream of Python's. An orderly end of the interpreter would wait
    for that thread: end the process with `os._exit` then.
    """
    deadline = monotonic() + timeout_s
    is_logged = _handed_over.flush(timeout_s)
    return writer.flush(deadline - monotonic()) and is_logged


class _Trusted:
    """The configuration of structlog whose processors and streams neither raise nor wait."""

    processors: tuple[Any, ...] = ()
    others: tuple[Any, ...] = ()
    lowest: int = logging.INFO


def trust_configuration(lowest: int) -> None:
    """Log lines directly from now on, as long as structlog keeps its present configuration; `lowest` is its level."""
    config = structlog.get_config()
    _Trusted.lowest = lowest
    _Trusted.processors, _Trusted.others = tuple(config["processors"]), _others(config)


def _others(config: dict[str, Any]) -> tuple[Any, ...]:
    return config["wrapper_class"], config["logger_factory"], config["context_class"]


def _is_trusted() -> bool:
    config = structlog.get_config()
    return _is_captured(config) or _is_ours(config)


def _is_captured(config: dict[str, Any]) -> bool:
    """Return whether a test captures the lines; it waits for no thread."""
    processors = config["processors"]
    return bool(processors) and isinstance(processors[-1], structlog.testing.LogCapture)


def _is_ours(config: dict[str, Any]) -> bool:
    return tuple(config["processors"]) == _Trusted.processors and _others(config) == _Trusted.others


def _log(name: str, method: str, event: str, fields: dict[str, Any]) -> None:
    if _is_trusted():
        getattr(structlog.get_logger(name), method)(event, **fields)
        return
    if method == "exception":
        fields.setdefault("exc_info", sys.exc_info()[1])
    if tuple(structlog.get_config()["processors"]) == _UNCONFIGURED:
        # structlog's own form, with rich installed, shows the variables of each frame, and with them secrets.
        method, fields = "error" if method == "exception" else method, add_exception(None, method, fields)
        if "exception" in fields:  # a traceback that is text already makes an older structlog warn under this name
            fields["stack"] = fields.pop("exception")
    _handed_over.put((contextvars.copy_context(), name, method, event, fields))


class _HandedOver:
    """Lines that a thread logs, in their order."""

    def __init__(self) -> None:
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget waiting lines: in a forked process the parent logs them, and the parent's thread is missing."""
        # Safe in signal handlers and finalizers, unlike queue.Queue.
        self._lines: queue.SimpleQueue[_Line] = queue.SimpleQueue()
        self._is_started = False
        self._put = 0
        self._logged = 0

    def put(self, line: _Line) -> None:
        """Queue the line for the thread; lose it if too many lines wait or no thread can be started."""
        if not self._is_started:
            self._is_started = True
            try:
                # Not `threading`, which waits for the thread to begin, for ever if there is no memory left.
                _thread.start_new_thread(self._run, (self._lines,))
                atexit.register(self.flush, _AT_EXIT_S)
            except BaseException:
                self._is_started = False
                raise
        if self._lines.qsize() >= _MOST_LINES:
            LOSSES.lines += 1
        else:
            self._put += 1
            self._lines.put(line)

    def flush(self, timeout_s: float) -> bool:
        """Return whether all lines were logged within the time."""
        deadline = monotonic() + timeout_s
        while self._logged < self._put:
            if monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_S)
        return True

    def _run(self, lines: queue.SimpleQueue[_Line]) -> None:
        while True:
            line = lines.get()
            try:
                _log_line(*line)
            except BaseException:  # noqa: BLE001 - no memory, no stack
                LOSSES.lines += 1
            del line  # its exception would keep the frames of a job
            self._logged += 1


def _log_line(context: contextvars.Context, name: str, method: str, event: str, fields: dict[str, Any]) -> None:
    if _is_logged(context, name, method, event, fields) and (unreported := LOSSES.unreported):
        if _is_logged(context, name, "warning", LOST, {"lines": unreported}):
            LOSSES.reported += unreported
        else:
            LOSSES.lines -= 1  # the report itself does not count as a lost line


def _is_logged(context: contextvars.Context, name: str, method: str, event: str, fields: dict[str, Any]) -> bool:
    """Return whether the line was logged; count a line that was not."""
    before = LOSSES.lines
    try:
        context.run(getattr(structlog.get_logger(name), method), event, **fields)
    except BaseException:  # noqa: BLE001 - the application's processors may raise anything
        LOSSES.lines += 1
    return LOSSES.lines == before


_handed_over = _HandedOver()
os.register_at_fork(after_in_child=_handed_over.start_afresh)
