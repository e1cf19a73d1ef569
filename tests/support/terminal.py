"""`python -m tests.support.terminal ARGS`: runs `headrace ARGS` on a terminal of its own, and ends with its exit code.

Runs a module of Python instead if ARGS begins with `-m`.
With HEADRACE_TEST_WITHOUT_RICH set `headrace` runs as if rich were not installed.
"""

from __future__ import annotations

import os
import pty
import sys

_HEADRACE = """
import os, sys
if "HEADRACE_TEST_WITHOUT_RICH" in os.environ:
    sys.modules["rich"] = None
from headrace_worker.cli import main
main(prog_name="headrace")
"""


def main(args: list[str]) -> int:
    """Return the exit code when the command has ended; write what its terminal shows to standard output."""
    options = args if args[0] == "-m" else ["-c", _HEADRACE, *args]
    status = pty.spawn([sys.executable, *options], lambda fd: os.read(fd, 65536))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
