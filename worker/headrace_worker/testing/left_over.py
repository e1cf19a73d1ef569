"""What a test leaves behind in its process: functions that still execute, workers that were not stopped."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from types import FrameType

from headrace_worker.clock import monotonic
from headrace_worker.current_run import current_run
from headrace_worker.run.hooks import call_checked
from headrace_worker.tasks.job_threads import ThreadCall

_END_S = 1.0
"""How long what is about to end may take."""
_LOOK_S = 0.01


def left_over(before: Iterable[threading.Thread]) -> list[str]:
    """Return what a test has left, one line each; wait a second for what is about to end.

    Args:
        before: the threads of the process when the test began.
    """
    known, deadline = set(before), monotonic() + _END_S
    while (found := _look(known)) and monotonic() < deadline:
        time.sleep(_LOOK_S)
    return found


def _look(known: set[threading.Thread]) -> list[str]:
    frames = sys._current_frames()  # noqa: SLF001 - the one way to see another thread's stack
    new = [each for each in threading.enumerate() if each not in known]
    functions = [_executing(frames[each.ident]) for each in new if each.name == "headrace-job" and each.ident in frames]
    workers = sum(each.name == "headrace-lease" for each in new)
    return [*filter(None, functions), *(["a worker that was not stopped: call its stop()"] if workers else [])]


def _executing(frame: FrameType | None) -> str:
    """Return which run a thread executes, and the line of the job's function; nothing if it waits for one."""
    at = ""
    while frame is not None and frame.f_code is not ThreadCall.run.__code__:
        if frame.f_back is not None and frame.f_back.f_code is call_checked.__code__:
            at = f", at {frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    if frame is None:
        return ""
    delivery = frame.f_locals["self"].context.get(current_run)
    run = "a plain function" if delivery is None else f"the function of run {delivery.run_id}"
    return f"{run} still executes{at}"
