"""Writes log lines without raising and without waiting; a line that can't be written is lost, and counted.

Lines wait in a bounded queue if the reader leaves no room; a thread writes them when there is room. One write is one
line, so that lines of several processes don't mix.
"""

from __future__ import annotations

import _thread
import collections
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from headrace_worker.clock import monotonic
from headrace_worker.logs.sinks import Sink, open_sink

_ROOM = 64 * 1024
"""Bytes that may wait for the reader; a line is accepted as long as fewer wait."""
_GAP = b""
"""Marks in the queue where lines were lost for lack of room."""
_LOOK_AGAIN_S = 1.0
_PAUSE_S = 0.01
_LAST_WORDS = 4000
"""Characters: with their frame they fit into one write to a pipe, which happens as a whole or not at all."""
_LAST_WRITE_S = 0.2

Format = Callable[[str, str, dict[str, Any]], str]
"""Makes a line, with its end, of level, text and fields."""


class Losses:
    """The log lines of this process that were lost.

    Attributes:
        lines: how many were lost.
        reported: how many of them a written line has reported.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.reported = 0

    @property
    def unreported(self) -> int:
        """How many lost lines no written line has reported."""
        return self.lines - self.reported


LOSSES = Losses()
LOST = "log lines were lost"


class Writer(Protocol):
    """Writes log lines."""

    def write(self, line: str) -> None:
        """Write the line, which ends with a line break, now or when there is room. Never raises, never waits."""

    def write_directly(self, text: str) -> None:
        """Write an error of this text before the lines that wait, or lose it. Never raises, never waits for long."""

    def flush(self, timeout_s: float) -> bool:
        """Return whether all lines were written within the time, or are lost."""


class LineWriter:
    """Write lines to a sink. Safe in threads, in signal handlers and after a fork.

    No thread waits for the lock: a line is queued first, and a thread that holds the lock writes it.
    """

    def __init__(self, sink: Sink, form: Format, losses: Losses = LOSSES) -> None:
        self._sink = sink
        self._form = form
        self._losses = losses
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget waiting lines: in a forked process the parent writes them, and the parent's threads are missing."""
        self._lock = _thread.allocate_lock()
        self._lines: collections.deque[bytes] = collections.deque()
        self._queued = 0
        self._has_gap = False
        self._rest = b""  # of the line that is being written
        self._is_begun = False
        self._reports = 0  # how many lost lines that line reports
        self._is_failing = False
        self._has_thread = False

    def write(self, line: str) -> None:
        """See `Writer.write`."""
        try:
            data = line.encode("utf-8", "backslashreplace")
            if self._queued < _ROOM:
                self._queued += len(data)
                self._lines.append(data)
            else:
                self._lose_behind()
            if not self._sink.waits:
                self._advance()
            if self._has_waiting():
                self._start_thread()
        except BaseException:  # noqa: BLE001 - no memory, no stack
            self._losses.lines += 1

    def write_directly(self, text: str) -> None:
        """See `Writer.write_directly`."""
        try:
            data = self._form("error", text, {}).encode("utf-8", "backslashreplace")
            if self._is_begun:
                data = b"\n" + data
            if self._sink.waits:
                self._write_beside(data)
            else:
                self._sink.write(data)
        except BaseException:  # noqa: BLE001 - no memory, no stack
            self._losses.lines += 1

    def flush(self, timeout_s: float) -> bool:
        """See `Writer.flush`."""
        deadline = monotonic() + timeout_s
        while self._has_waiting():
            if not self._sink.waits:
                self._advance()
            if self._has_waiting():
                if monotonic() >= deadline:
                    return False
                self._start_thread()
                time.sleep(_PAUSE_S)
        return True

    def _has_waiting(self) -> bool:
        return bool(self._lines) or (bool(self._rest) and not self._is_failing)

    def _lose_behind(self) -> None:
        self._losses.lines += 1
        if not self._has_gap:
            self._has_gap = True
            self._lines.append(_GAP)

    def _advance(self) -> None:
        """Write waiting lines, as far as there is room and no other thread writes."""
        has_room = True
        while has_room and self._has_waiting() and self._lock.acquire(blocking=False):
            try:
                has_room = self._write_waiting()
            finally:
                self._lock.release()

    def _write_waiting(self) -> bool:
        """Return whether all waiting lines are written or lost; False if the reader left no room. Needs the lock."""
        while self._rest or self._lines:
            if not self._rest:
                self._take_next()
                continue
            try:
                written = self._sink.write(self._rest)
            except BlockingIOError:
                return False
            except OSError:
                self._lose_all()
                return True
            if not written:
                return False
            self._is_failing = False
            self._rest = self._rest[written:]
            self._is_begun = bool(self._rest)
            self._losses.reported += self._reports
            self._reports = 0
        return True

    def _take_next(self) -> None:
        """Begin with the next line, or with a report of lost lines: before the next line, or at a gap."""
        is_gap = self._lines[0] is _GAP
        if is_gap:
            self._lines.popleft()
            self._has_gap = False
        unreported = self._losses.unreported
        if unreported and not self._has_gap:
            self._reports = unreported
            self._rest = self._form("warning", LOST, {"lines": unreported}).encode()
        elif self._lines:
            self._rest = self._lines.popleft()
            self._queued -= len(self._rest)

    def _lose_all(self) -> None:
        """Lose all waiting lines, as nothing can be written; keep the rest of a line whose begin the reader has."""
        self._is_failing = True
        if not self._is_begun:
            self._losses.lines += bool(self._rest) and not self._reports
            self._rest, self._reports = b"", 0
        while self._lines:
            line = self._lines.popleft()
            self._queued -= len(line)
            self._losses.lines += line is not _GAP
        self._has_gap = False

    def _start_thread(self) -> None:
        """Let a thread write waiting lines. If no thread can be started, the next line tries again."""
        if not self._has_thread:
            self._has_thread = True
            try:
                # Not `threading`, which waits for the thread to begin, for ever if there is no memory left.
                _thread.start_new_thread(self._write_later, ())
            except RuntimeError:
                self._has_thread = False

    def _write_later(self) -> None:
        try:
            while self._has_waiting():
                if not self._sink.waits:
                    self._sink.wait_for_room(_LOOK_AGAIN_S)
                self._advance()
                if self._has_waiting():  # there was less room than it seemed, or another thread writes
                    time.sleep(_PAUSE_S)
        except BaseException:  # noqa: BLE001 - no memory, no stack: the next line starts another thread
            self._has_thread = False
            return
        self._has_thread = False
        if self._has_waiting():
            self._start_thread()

    def _write_beside(self, data: bytes) -> None:
        """Write in a thread, and leave the thread behind if the reader stands still."""
        written: list[int] = []
        _thread.start_new_thread(lambda: written.append(self._sink.write(data)), ())
        deadline = monotonic() + _LAST_WRITE_S
        while not written and monotonic() < deadline:
            time.sleep(_PAUSE_S)


class StreamWriter:
    """Write lines to a stream that is no descriptor of the process, as in tests; None loses all lines."""

    def __init__(self, stream: Any, form: Format, losses: Losses = LOSSES) -> None:
        self._stream = stream
        self._form = form
        self._losses = losses

    def write(self, line: str) -> None:
        """See `Writer.write`; the stream itself may wait."""
        try:
            unreported = self._losses.unreported
            if unreported and self._stream is not None:
                self._put(self._form("warning", LOST, {"lines": unreported}))
                self._losses.reported += unreported
            self._put(line)
        except BaseException:  # noqa: BLE001 - a stream may raise anything
            self._losses.lines += 1

    def write_directly(self, text: str) -> None:
        """See `Writer.write_directly`."""
        self.write(self._form("error", text, {}))

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002 - nothing waits here
        """See `Writer.flush`."""
        return True

    def _put(self, line: str) -> None:
        try:
            self._stream.write(line)
        except UnicodeEncodeError:
            self._stream.write(line.encode("ascii", "backslashreplace").decode())
        self._stream.flush()


def _plain(_level: str, text: str, fields: dict[str, Any]) -> str:
    return " ".join([text, *(f"{name}={value}" for name, value in fields.items())]) + "\n"


def open_writer(stream: Any, form: Format = _plain) -> Writer:
    """Return the writer of a stream: this process's standard error, any other stream, or None."""
    try:
        if stream is sys.__stderr__ and stream is not None:
            return LineWriter(open_sink(stream.fileno()), form)
    except (OSError, ValueError):  # closed
        return StreamWriter(None, form)
    return StreamWriter(stream, form)


_writer: Writer | None = None


def use_writer(writer: Writer) -> None:
    """Make `writer` the process's writer, which `write_directly` and `flush` use."""
    global _writer  # noqa: PLW0603 - a process has one standard error
    _writer = writer


def write_directly(text: str) -> None:
    """Write the last words of a process that is about to end, at most 4,000 characters, before all waiting lines.

    Takes no lock, never raises, and returns within a fifth of a second even if the reader stands still; then the words
    are lost.
    """
    try:
        (_writer or open_writer(sys.stderr)).write_directly(text[:_LAST_WORDS])
    except BaseException:  # noqa: BLE001 - no memory, no stack, no descriptors
        LOSSES.lines += 1


def write_last_line(line: str, timeout_s: float) -> None:
    """Write a command's last line to standard error, behind all waiting lines; lose it once the time is up."""
    deadline = monotonic() + timeout_s
    flush(timeout_s)
    writer = open_writer(sys.stderr)
    writer.write(line)
    writer.flush(deadline - monotonic())


def flush(timeout_s: float) -> bool:
    """Return whether all lines were written within the time, or are lost. Never raises."""
    return _writer is None or _writer.flush(timeout_s)


def _start_afresh_in_child() -> None:
    if isinstance(_writer, LineWriter):
        _writer.start_afresh()


os.register_at_fork(after_in_child=_start_afresh_in_child)
