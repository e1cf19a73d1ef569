"""Puts a process's clock wrong: what Headrace and the app read of the time there is off by so many seconds."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any


def shift(offset_s: float) -> None:
    """`time.time`, `time.time_ns` and, in Headrace's modules, `datetime.now` are off; the monotonic clock is not."""
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + offset_s
    time.time_ns = lambda: right_ns() + int(offset_s * 1e9)

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=offset_s)

    for name in ("headrace.base", "headrace_worker.run.executor"):
        module: Any = sys.modules[name]
        assert module.datetime is datetime, f"{name} reads the time in another way now"
        module.datetime = Shifted
