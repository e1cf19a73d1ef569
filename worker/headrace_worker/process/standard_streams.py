"""Opens missing standard streams of a process, so that nothing else gets their descriptors.

Otherwise a connection to the server could become descriptor 2, and get whatever is written to standard error.
"""

from __future__ import annotations

import os
import sys

_STREAMS = {0: ("stdin", "r"), 1: ("stdout", "w"), 2: ("stderr", "w")}


def open_closed_streams() -> None:
    """Open the null device as each closed descriptor of 0, 1 and 2; to be called before any other is opened."""
    for fd, (name, mode) in _STREAMS.items():
        if _is_open(fd):
            continue
        # The lowest free descriptor is this one, as those below are open. Child processes inherit it.
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - its only name is private
        stream = open(fd, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - it stays
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
