"""The chatty app, with a logger of structlog that waits for the reader of standard error."""

from __future__ import annotations

import sys

import structlog

from tests.apps.chatty import app

__all__ = ["app"]

structlog.configure(
    processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
)
