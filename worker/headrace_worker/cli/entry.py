"""The process of `headrace`: its streams at the start, and its log lines at the end."""

from __future__ import annotations

import io
import os
import sys

from headrace_worker.logs.logger import flush
from headrace_worker.process.standard_streams import open_closed_streams

_LAST_LINES_S = 0.5
"""How long the end waits for a reader of log lines that has left no room."""


def main(prog_name: str | None = None) -> None:
    """Load the commands, run the process's own, and end the process with its exit code (SystemExit)."""
    load()
    run(prog_name)


def load() -> None:
    """Make the process's streams fit to be written to, then load the commands, whose imports may open descriptors."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the encoding lacks is shown as its number
            stream.reconfigure(errors="backslashreplace")
    import headrace_worker.cli.root  # noqa: F401


def run(prog_name: str | None = None) -> None:
    """Run the process's command once they are loaded, and end the process with its exit code (SystemExit)."""
    from headrace_worker.cli.root import root

    try:
        root(prog_name=prog_name)
    except SystemExit as exc:
        if not flush(_LAST_LINES_S) and isinstance(exc.code, int | None):
            # Python would wait for a thread that blocks in a write to a stream, or abort.
            os._exit(exc.code or 0)
        if isinstance(exc.code, int) and exc.code and not _is_written():
            os._exit(exc.code)  # Python would end with 120, whatever the command came to
        raise


def _is_written() -> bool:
    """Return whether all output could be written: that to a terminal which was closed can't be."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return False
    return True
