"""Loggers of Headrace's own that can neither raise into the code that logs nor keep it waiting.

A line that can't be written is lost, and counted.
"""

from __future__ import annotations

import sys
from typing import Any

import structlog


class SafeLogger:
    """Logs through structlog, whatever the application has configured there."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, /, **fields: Any) -> None:
        """Log what helps to find a fault."""
        self._log("debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Log what an operator may want to know."""
        self._log("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Log what may need a look."""
        self._log("warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Log what needs a look."""
        self._log("error", event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """Log what needs a look, with the traceback of the exception that is being handled."""
        self._log("exception", event, fields)

    def _log(self, method: str, event: str, fields: dict[str, Any]) -> None:
        getattr(structlog.get_logger(self._name), method)(event, **fields)


def write_directly(text: str) -> None:
    """Write a line to standard error past everything that may be configured."""
    sys.stderr.write(text + "\n")


def get_logger(name: str) -> SafeLogger:
    """Return the logger of one part of Headrace."""
    return SafeLogger(name)
