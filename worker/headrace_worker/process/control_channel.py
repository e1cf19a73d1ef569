"""The socket between a worker process and its parent, which has started it.

The child reports its worker's names, and that the worker has started. The parent sends "stop" and "hurry". A closed
channel means that the peer is gone: then a parent ends the leases of the reported names, and a child stops in order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable

from headrace import ConfigurationError
from headrace_worker.tasks.restarting import start_thread

FD_VARIABLE = "HEADRACE_WORKER_CONTROL_FD"
"""The environment variable that gives a child the descriptor of its end."""

STOP, HURRY = b"stop", b"hurry"
"""The commands of a parent: end in order, within the grace; and end without further grace."""

_NAME, _STARTED = "name ", "started"


class ControlChannel:
    """The child's end."""

    def __init__(self, fd: int) -> None:
        """Take over a descriptor; raise ConfigurationError if it does not belong to a socket."""
        try:
            self._socket = socket.socket(fileno=fd)
        except OSError as exc:
            raise ConfigurationError(f"file descriptor {fd} is no line to a supervisor: {exc.strerror}") from exc
        self._socket.set_inheritable(False)  # a process that a job starts must not keep the channel open
        self._stop: Callable[[], object] = _end_by_signal
        self._hurry: Callable[[], object] | None = None
        self._is_hurried = False

    @property
    def descriptor(self) -> int:
        """The socket's descriptor, which forks of this process must not keep."""
        return self._socket.fileno()

    def report_name(self, name: str) -> None:
        """Report a name of this process's worker."""
        self._send(_NAME + name)

    def report_started(self) -> None:
        """Report that this process's worker takes runs."""
        self._send(_STARTED)

    def listen(self) -> None:
        """Obey the parent from now on, in a thread. Until `obey_with`, "stop" ends the process by SIGTERM."""
        start_thread("headrace-control", self._listen)

    def obey_with(self, stop: Callable[[], object], hurry: Callable[[], object]) -> None:
        """Call these at the parent's commands, in the channel's thread; call `hurry` now if it was sent already."""
        self._stop, self._hurry = stop, hurry
        if self._is_hurried:
            hurry()

    def _send(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the parent is gone, which the thread notices
            self._socket.sendall(f"{line}\n".encode())

    def _listen(self) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while chunk := self._socket.recv(64):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._obey(line)
        self._stop()

    def _obey(self, line: bytes) -> None:
        if line == STOP:
            self._stop()
        elif line == HURRY:
            self._is_hurried = True
            if self._hurry is not None:
                self._hurry()


class ChildReport:
    """The reports of a child to its parent.

    Attributes:
        names: all names of the child's worker since its start.
        has_started: the child takes runs.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.has_started = False

    def add(self, line: str) -> None:
        """Add a line of the child; ignore a line of an unknown kind."""
        if line.startswith(_NAME) and (name := line.removeprefix(_NAME)) not in self.names:
            self.names.append(name)
        self.has_started = self.has_started or line == _STARTED


def _end_by_signal() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
