"""The process that `headrace` is: the streams that it begins with, and the log lines that it ends with."""

from __future__ import annotations

import io
import os
import sys

from headrace_worker.logs.logger import flush
from headrace_worker.process.standard_streams import open_closed_streams

_LAST_LINES_S = 0.5
"""How long an end waits for a reader of log lines that has left no room."""


def main(prog_name: str | None = None) -> None:
    """Run the command that the process was started with, and end the process with its exit code (SystemExit)."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is shown as its number
            stream.reconfigure(errors="backslashreplace")
    from headrace_worker.cli.root import root  # what it imports may open descriptors

    try:
        root(prog_name=prog_name)
    except SystemExit as exc:
        if not flush(_LAST_LINES_S) and isinstance(exc.code, int | None):
            # Python would wait for a thread that stands in a write to a stream, or abort.
            os._exit(exc.code or 0)
        raise
