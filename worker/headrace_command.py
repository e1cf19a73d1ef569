"""The command `headrace` from its first moment on: an interrupt while its modules load ends it without a traceback.

It imports nothing of Headrace before it can be interrupted: that may take a second on a busy machine.
"""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 130


def main() -> None:
    """Run the process's command, and end the process with its exit code (SystemExit): 130 after an interrupt."""
    is_own = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a process may be started to ignore it
    if is_own:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from headrace_worker.cli.entry import load, run  # noqa: PLC0415 - see above

    load()
    if is_own:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
