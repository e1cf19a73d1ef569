"""The outcomes of an attempt, as values; the executor makes an outcome, the settler records it. Pure.

An outcome that ends its run has the `letter` of the run's status and the `reason` for which the run is dead, as they
stand in the record.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from headrace import RunError
from headrace.formats.codec import RunState
from headrace_worker.app.retry import Retry
from headrace_worker.errors import Abort, RetryAfter, RunControl

MAX_TRACEBACK = 8_192
MAX_MESSAGE = 2_048
UNKNOWN_JOB = "unknown_job"
SEALED = "sealed"
LOST = "lost"
_NO_THREAD_WAIT_S = 0.5
_WORKER = str(Path(__file__).parents[1]) + os.sep


class Succeeded(msgspec.Struct, frozen=True, gc=False):
    """The function returned."""

    letter: ClassVar[str] = "s"
    reason: ClassVar[str] = ""
    output: Any = None


class Failed(msgspec.Struct, frozen=True):
    """The run ends without success; `reason` is `failed`, `lost`, `unknown_job` or `sealed`."""

    letter: ClassVar[str] = "f"
    error: RunError
    reason: str = "failed"


class TimedOut(msgspec.Struct, frozen=True):
    """The last attempt ran out of time."""

    letter: ClassVar[str] = "t"
    reason: ClassVar[str] = "timed_out"
    error: RunError


class Invalid(msgspec.Struct, frozen=True):
    """The payload does not fit the job's schema. It never will, so there is no retry."""

    letter: ClassVar[str] = "i"
    reason: ClassVar[str] = "invalid_payload"
    error: RunError


class Canceled(msgspec.Struct, frozen=True):
    """The trigger of the run's job does not match its event; `error` says why."""

    letter: ClassVar[str] = "c"
    reason: ClassVar[str] = ""
    error: RunError


class Stopped(msgspec.Struct, frozen=True):
    """The function has ended of a run that was canceled, or is not this worker's: at most its entry is acknowledged."""


class RetryLater(msgspec.Struct, frozen=True):
    """The run waits for its next delivery, which `state` describes."""

    error: RunError
    delay_s: float
    state: RunState
    timed_out: bool = False


class Released(msgspec.Struct, frozen=True):
    """The worker released the run before its end: nothing is recorded, and another worker takes the run."""


class Unreadable(msgspec.Struct, frozen=True):
    """The entry or its event can't be read: the entry is dead-lettered as it is, for a person to look at."""

    message: str


Recordable = Succeeded | Failed | TimedOut | Invalid | Canceled | Stopped | RetryLater | Unreadable
Outcome = Recordable | Released


def error_of(exc: BaseException) -> RunError:
    """Return an exception as it is recorded: bounded, and cut in the middle of a long traceback."""
    message = _described(lambda: str(exc), "its message can't be read")
    trace = _described(lambda: "".join(_traceback_of(exc)), "its traceback can't be formatted")
    return RunError(_cut(name_of(exc), MAX_MESSAGE), _cut(message, MAX_MESSAGE), _cut(trace, MAX_TRACEBACK, tail=True))


def _traceback_of(exc: BaseException) -> list[str]:
    """Return the traceback from the job's first frame on: those of the worker before it say nothing of the failure."""
    begin = exc.__traceback__
    while begin is not None and begin.tb_frame.f_code.co_filename.startswith(_WORKER):
        begin = begin.tb_next
    return traceback.format_exception(type(exc), exc, begin or exc.__traceback__)


def name_of(exc: BaseException) -> str:
    """Return the name of an exception's class, without calling the class's own code."""
    return type.__repr__(type(exc))[len("<class '") : -len("'>")]


def _described(describe: Callable[[], str], why_not: str) -> str:
    """Return the text that the exception's own code makes; what that code raises must not hide the failure."""
    try:
        return str.__str__(describe())  # a plain text, whatever __str__ has returned
    except BaseException as exc:  # noqa: BLE001 - see above
        return f"<{why_not}: {_repr_of(exc)}>"


def _repr_of(fault: BaseException) -> str:
    try:
        return str.__str__(repr(fault))
    except BaseException:  # noqa: BLE001 - only its name can be shown
        return name_of(fault)


UNDESCRIBED = Failed(RunError("Undescribed", "the attempt ended, and what it came to can't be described"))
"""The last resort: an outcome that describes nothing, made while there was still memory."""


def _cut(text: str, limit: int, *, tail: bool = False) -> str:
    """Return text that UTF-8 carries in about so many bytes: an exception may hold lone surrogates, or megabytes."""
    blob = text.encode("utf-8", "backslashreplace")
    if len(blob) <= limit:
        return blob.decode()
    if not tail:
        return blob[:limit].decode("utf-8", "ignore")
    half = limit // 2
    head, end = (part.decode("utf-8", "ignore") for part in (blob[:half], blob[-half:]))
    return f"{head}\n  … {len(blob) - 2 * half:,} bytes …\n{end}"


def invalid(message: str) -> Invalid:
    """Return the outcome of a run whose payload does not fit; the schema's own code may have written the message."""
    return Invalid(RunError("InvalidPayload", _cut(message, MAX_TRACEBACK)))


def after_exception(
    exc: BaseException, *, timed_out: bool, retry: Retry, state: RunState, draw: Callable[[], float]
) -> Failed | TimedOut | RetryLater:
    """Return the outcome of an attempt that raised: a retry while attempts are left, or the end."""
    error, control = error_of(exc), _control_of(exc)
    if isinstance(control, Abort) or state.attempt >= retry.max_attempts or not (control or _allowed(retry, exc)):
        return TimedOut(error) if timed_out else Failed(error)
    delay_s = control.delay_s if isinstance(control, RetryAfter) else retry.delay_s(state.attempt, draw)
    following = RunState(attempt=state.attempt + 1, lost=state.lost, replay=state.replay)
    return RetryLater(error, delay_s, following, timed_out)


def _allowed(retry: Retry, exc: BaseException) -> bool:
    try:
        return retry.allows(exc)
    except BaseException:  # noqa: BLE001 - as below
        return True


def _control_of(exc: BaseException) -> RunControl | None:
    try:
        return _control_in(exc)
    except BaseException:  # noqa: BLE001 - an exception's own code may raise anything
        return None


def _control_in(exc: BaseException) -> RunControl | None:
    """Return what an exception, or a group as a TaskGroup raises it, says about how the run goes on.

    An Abort anywhere in a group ends the run; of several waits the longest counts.
    """
    found: list[RunControl] = []
    unseen: list[Any] = [exc]
    while unseen:
        each = unseen.pop()
        kind = type(each)  # isinstance would call the exception's own code for its class
        if issubclass(kind, BaseExceptionGroup):
            unseen += each.exceptions
        elif issubclass(kind, RunControl):
            found.append(each)
    abort = next((each for each in found if isinstance(each, Abort)), None)
    waits = [each for each in found if isinstance(each, RetryAfter)]
    return abort or max(waits, key=lambda each: each.delay_s, default=None)


def unknown_for_ms(state: RunState, queued_ms: int) -> int:
    """Return for how long no worker that took the run has had its job, or the codec that opens its event.

    The times are those at which the run's entries came into the queue, so that no worker's clock decides.
    """
    return max(queued_ms - (state.unknown_since_ms or queued_ms), 0)


def after_unknown_job(job: str, state: RunState, queued_ms: int, *, give_up: bool) -> Outcome:
    """Return the outcome of a run whose job this worker does not have: a wait for a worker that has it, or the end."""
    waited_ms = unknown_for_ms(state, queued_ms)
    error = RunError("UnknownJob", f"no live worker has had job {job!r} for {waited_ms / 1000:.0f} s")
    return Failed(error, UNKNOWN_JOB) if give_up else _wait_for_another_worker(error, state, queued_ms)


def after_missing_codec(reason: str, state: RunState, queued_ms: int, *, give_up: bool) -> Outcome:
    """Return the outcome of a run whose event no codec of this worker opens: a wait for another worker, or the end."""
    error = RunError("SealedEvent", reason)
    return Failed(error, SEALED) if give_up else _wait_for_another_worker(error, state, queued_ms)


def _wait_for_another_worker(error: RunError, state: RunState, queued_ms: int) -> RetryLater:
    """Return a wait of 1, 2 … 60 s: a second longer than the run has waited already, which doubles the wait.

    No attempt and no lost worker is counted.
    """
    since = state.unknown_since_ms or queued_ms
    following = RunState(attempt=state.attempt, lost=state.lost, unknown_since_ms=since, replay=state.replay)
    return RetryLater(error, min(unknown_for_ms(state, queued_ms) / 1000 + 1, 60.0), following)


def not_called(error: RunError, state: RunState, queued_ms: int) -> RetryLater:
    """Return the outcome of a run whose function the worker could not call, by its own fault: a wait."""
    return _wait_for_another_worker(error, state, queued_ms)


def no_thread(reason: str, state: RunState) -> RetryLater:
    """Return the outcome of a run for which no thread can be started now: a wait, with nothing counted."""
    return RetryLater(RunError("NoThread", f"no thread can be started now: {reason}"), _NO_THREAD_WAIT_S, state)


def lost(state: RunState) -> Failed:
    """Return the outcome of a run that cost too many workers: they died while they executed it."""
    message = f"{state.lost} workers died with this run in flight"
    return Failed(RunError("LostWorker", message), LOST)
