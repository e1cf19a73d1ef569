"""Ends a process with its parent, even if the parent is killed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

# The kernel can end a child when its parent dies (PR_SET_PDEATHSIG = 1, kept across exec). The child has to request
# that. A `preexec_fn` would run Python between fork and exec, which is not safe beside other threads. So another Python
# requests it, and then becomes the child. The signal is SIGKILL, as a stopped (SIGSTOP) child would not act on SIGTERM.
# A server loses no data by that: what it has written to its append-only file is with the kernel.
_REQUEST_AND_BECOME = (
    "import ctypes, os, sys;"
    "ctypes.CDLL(None).prctl(1, 9, 0, 0, 0);"
    "os.getppid() == int(sys.argv[1]) or sys.exit(1);"  # the parent may have died before the call
    "os.execv(sys.argv[2], sys.argv[2:])"
)


def die_with_parent(command: Sequence[str]) -> list[str]:
    """Return a command that runs `command` in a process that is killed when this process dies.

    The first word of `command` must be an absolute path. This works only on Linux, and only for a process that the main
    thread starts: the kernel watches the starting thread, and only the main thread lives as long as its process.
    Otherwise return the command unchanged.
    """
    is_main_thread = threading.current_thread() is threading.main_thread()
    if not (sys.platform == "linux" and is_main_thread and sys.executable):
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _REQUEST_AND_BECOME, str(os.getpid()), *command]
