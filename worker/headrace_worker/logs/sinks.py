"""Opens a descriptor for log lines to which a write does not wait for the reader, wherever the system allows that.

O_NONBLOCK is never set on a description that other processes share: their writes would fail where they expect to wait.
Instead a pipe or a terminal is opened once more, and each write to a socket sets a flag not to wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import stat
import weakref

_FIRST_FD = 3
"""Descriptors below belong to standard input, output and error."""
_OPEN_AGAIN = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SEND_NOW = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)


class FileSink:
    """Write to a file, a pipe or a terminal.

    Attributes:
        waits: a write may wait for the reader, so only a thread of its own may write.
    """

    def __init__(self, fd: int, *, waits: bool, is_owned: bool = True) -> None:
        self.waits = waits
        self._fd = fd
        if is_owned:
            # Without atexit: lines may still be written while Python ends.
            weakref.finalize(self, os.close, fd).atexit = False

    def write(self, data: bytes) -> int:
        """Return how many bytes were taken.

        Raises:
            BlockingIOError: the reader has left no room.
            OSError: nothing can be written.
        """
        return os.write(self._fd, data)

    def wait_for_room(self, timeout_s: float) -> None:
        """Return when a write may succeed, or would fail, or the time is up."""
        _wait_for_room(self._fd, timeout_s)


class SocketSink:
    """Write to a socket, such as that of systemd's journal."""

    waits = False

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        weakref.finalize(self, self._socket.close).atexit = False

    def write(self, data: bytes) -> int:
        """See `FileSink.write`."""
        return self._socket.send(data, _SEND_NOW)

    def wait_for_room(self, timeout_s: float) -> None:
        """See `FileSink.wait_for_room`."""
        _wait_for_room(self._socket.fileno(), timeout_s)


Sink = FileSink | SocketSink


def open_sink(fd: int) -> Sink:
    """Return a sink for the target of `fd`; the sink stays open when `fd` is closed or gets another target.

    Raises:
        OSError: `fd` is closed, or it is a socket and there are no more descriptors.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        return SocketSink(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD))
    has_reader = stat.S_ISFIFO(mode) or os.isatty(fd)
    again = _open_again(fd) if has_reader else None
    if again is not None:
        return FileSink(again, waits=False)
    try:
        return FileSink(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD), waits=has_reader)
    except OSError:  # no more descriptors
        return FileSink(fd, waits=has_reader, is_owned=False)


def descriptor_without_waits(fd: int) -> int:
    """Return a descriptor of the same target, for C code that writes by itself; `fd` if none can be opened."""
    again = _open_again(fd)
    return fd if again is None else again


def _open_again(fd: int) -> int | None:
    """Return a descriptor with a description of its own; None if the system has no path to the target, or no right."""
    paths = [f"/proc/self/fd/{fd}"]
    with contextlib.suppress(OSError):  # a pipe, or a terminal that has no name here
        paths.append(os.ttyname(fd))
    for path in paths:
        try:
            again = os.open(path, _OPEN_AGAIN)
        except OSError:
            continue
        if os.path.sameopenfile(again, fd):
            return again
        os.close(again)
    return None


def _wait_for_room(fd: int, timeout_s: float) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll(timeout_s * 1000)
