"""Lets a process die with the one that started it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

# A killed parent must not leave its server behind. The kernel can end it (PR_SET_PDEATHSIG = 1, kept across
# exec), but has to be asked from inside the child; a `preexec_fn` would run Python between fork and exec, and
# that is not safe beside other threads. So a Python of its own asks, and then becomes the server. SIGKILL, as
# a stopped (SIGSTOP) server would never get to a SIGTERM; what it has written to its append-only file is with
# the kernel already.
_TETHER = (
    "import ctypes, os, sys;"
    "ctypes.CDLL(None).prctl(1, 9, 0, 0, 0);"
    "os.getppid() == int(sys.argv[1]) or sys.exit(1);"  # the parent may have died before the call
    "os.execv(sys.argv[2], sys.argv[2:])"
)


def tethered(command: Sequence[str]) -> list[str]:
    """Returns the command that runs `command`, an absolute path first, in a process that dies with this one.

    Only Linux can, and only from the main thread: it is the thread that the kernel watches, and only the main
    one lives as long as the process. Elsewhere the command comes back as it is.
    """
    is_main_thread = threading.current_thread() is threading.main_thread()
    if not (sys.platform == "linux" and is_main_thread and sys.executable):
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), *command]
