"""Lets no thread start, as a system without room for one does."""

from __future__ import annotations

import threading
from typing import Any, NoReturn

NAME = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
"""The name in `threading` of what starts a thread; Python 3.13 has another one."""


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Fail as Python does if the system starts no thread."""
    raise RuntimeError("can't start new thread")
