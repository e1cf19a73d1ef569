"""What happened in a run of chaos, line by line: sends, calls, deaths and settles with their times. Pure but for Diary.

Each process writes a file of its own. A line is in it before its process goes on, so what a killed process did is
there, up to the instruction at which it died.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something happened.

    Attributes:
        at: seconds by the monotonic clock, which all processes of a machine share.
        ms: the server's time, which is that of this machine.
    """

    at: float
    ms: int


class Sending(Line, frozen=True, kw_only=True, tag=True):
    """A send begins; `jobs` are those of the event at that time; later jobs may be added.

    All sends with one ordering key are those of one process, one after the other.
    """

    id: str
    name: str
    jobs: tuple[str, ...]
    delay_ms: int = 0
    key: str = ""


class Acknowledged(Line, frozen=True, kw_only=True, tag=True):
    """A send has returned; the server's times are 0 where it gave none."""

    id: str
    due_ms: int = 0
    delivered_ms: int = 0
    duplicate: bool = False


class Repeated(Line, frozen=True, kw_only=True, tag=True):
    """The id of an event that was delivered before has been sent once more, and this was the answer."""

    id: str
    duplicate: bool


class Canceled(Line, frozen=True, kw_only=True, tag=True):
    """A delayed event is canceled, as the server has answered."""

    id: str


class CancelAsked(Line, frozen=True, kw_only=True, tag=True):
    """A run is to be canceled; whether it was is not known until the answer, and never if there is none."""

    run: str


class CancelAnswered(Line, frozen=True, kw_only=True, tag=True):
    """The one request for a run's cancellation was answered: `canceled`, `asked` or `already_finished`."""

    run: str
    answer: str


class Began(Line, frozen=True, kw_only=True, tag=True):
    """A job's function was called."""

    event: str
    job: str
    attempt: int
    pid: int
    worker: str


class Ended(Line, frozen=True, kw_only=True, tag=True):
    """A call has ended; `began` is the time of its beginning."""

    event: str
    job: str
    pid: int
    began: float
    how: str


class Named(Line, frozen=True, kw_only=True, tag=True):
    """A worker process has a name; another than before when it was fenced."""

    pid: int
    name: str


class OfLastRelease(Line, frozen=True, kw_only=True, tag=True):
    """A worker process of the last release begins."""

    pid: int


class Died(Line, frozen=True, kw_only=True, tag=True):
    """A worker process has ended: how is one of these.

    `killed` from outside; `poisoned` or `exited` by a job; `broken`, as its worker did not work any more; `stopped` in
    order; or `by itself`.
    """

    pid: int
    how: str
    last: str = ""
    """Of one that ended by itself: its exit code, and the end of what it has printed."""


class Injected(Line, frozen=True, kw_only=True, tag=True):
    """A fault began at `at` and was over at `until`; `pids` are the processes that it meant."""

    kind: str
    until: float
    pids: tuple[int, ...] = ()


class Settled(Line, frozen=True, kw_only=True, tag=True):
    """The server's listing of runs has said that a run settled."""

    run: str
    status: str


class RolledBack(Line, frozen=True, kw_only=True, tag=True):
    """The server lost power, and with it what it had done from `since_ms` to `ms`."""

    since_ms: int


class Routed(Line, frozen=True, kw_only=True, tag=True):
    """A job was registered while events came in: those sent from `until` on have a run of it, earlier ones may."""

    job: str
    name: str
    until: float


class Closed(Line, frozen=True, kw_only=True, tag=True):
    """A queue was paused, or had a limit, from `at` on, and at `until` it was asked to open again.

    Attributes:
        jobs: those whose runs are in the queue.
        limit: how many of its runs could be in flight; 0 if it was paused.
        held: the runs that were in flight at `at`, each with the worker that had it.
        waited: the runs that came into the queue after `at` and that no worker had at `until`.
    """

    jobs: tuple[str, ...]
    limit: int
    until: float
    held: tuple[tuple[str, str], ...] = ()
    waited: tuple[str, ...] = ()


class Disabled(Line, frozen=True, kw_only=True, tag=True):
    """A job was to be disabled from `asked` on, was so from `at` to at least `until`, and is enabled since `over`."""

    job: str
    asked: float
    until: float
    over: float


AnyLine = (
    Sending
    | Acknowledged
    | Repeated
    | Canceled
    | CancelAsked
    | CancelAnswered
    | Began
    | Ended
    | Named
    | OfLastRelease
    | Died
    | Injected
    | Settled
    | RolledBack
    | Routed
    | Closed
    | Disabled
)


class FinalRun(msgspec.Struct, frozen=True):
    """A run as its record says it, at the end."""

    job: str
    status: str
    lost: int = 0


class FinalEvent(msgspec.Struct, frozen=True):
    """An event as its record says it, at the end."""

    id: str
    status: str
    runs: tuple[FinalRun, ...] = ()
    due_ms: int = 0
    delivered_ms: int = 0
    is_settled: bool = True


class Counted(msgspec.Struct, frozen=True):
    """What the metrics of all worker processes come to: runs settled by status, dead letters, dispatched events.

    Attributes:
        pids: the processes that have counted; workers of older releases do not.
        stale: outcomes that were another's by then, or recorded already.
        stale_dispatches: as `stale`, of events.
    """

    pids: tuple[int, ...]
    settled: dict[str, int]
    dead: int
    dispatched: int
    stale: int = 0
    stale_dispatches: int = 0


class Remains(msgspec.Struct, frozen=True):
    """What was on the server when everything had drained.

    Attributes:
        dead: the run of each dead letter.
        open: what is not at the baseline, by its name: entries, pending, consumers, workers, keys, bytes.
        counted: None where it can't be separated from what is not in the history.
    """

    events: dict[str, FinalEvent] = {}
    dead: tuple[str, ...] = ()
    open: dict[str, int] = {}
    counted: Counted | None = None


class History(msgspec.Struct, frozen=True):
    """All of it."""

    lines: tuple[AnyLine, ...]
    remains: Remains


class Moment(TypedDict):
    """When, by both clocks."""

    at: float
    ms: int


def now() -> Moment:
    """Return this moment; a worker whose `time.time` is shifted does not shift it."""
    return {"at": time.monotonic(), "ms": time.clock_gettime_ns(time.CLOCK_REALTIME) // 1_000_000}


class Diary:
    """A process writes down what it does; any number of its threads may."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def add(self, *lines: AnyLine) -> None:
        """The lines are on record."""
        os.write(self._file, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    def close(self) -> None:
        """Nothing is added any more."""
        os.close(self._file)


def read(folder: Path, process: str = "*") -> tuple[AnyLine, ...]:
    """Return all lines of all processes, or of one, by time."""
    decoder = msgspec.json.Decoder(AnyLine)
    lines: list[AnyLine] = []
    for path in sorted(folder.glob(f"{process}.jsonl")):
        lines += decoder.decode_lines(path.read_bytes())
    return in_order(lines)


def in_order(lines: Iterable[AnyLine]) -> tuple[AnyLine, ...]:
    """Return the lines by time."""
    return tuple(sorted(lines, key=lambda line: line.at))
