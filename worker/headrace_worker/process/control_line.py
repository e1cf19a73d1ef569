"""The line between a worker process and the process that started it.

The child tells its worker's names and that it has started; the parent says "stop" and "hurry". When the line ends, the
other side is gone: a parent ends the leases of those names, a child stops in order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable

from headrace import ConfigurationError
from headrace_worker.tasks.restarting import start_thread

FD_VARIABLE = "HEADRACE_WORKER_LIFELINE_FD"
"""The environment variable in which a child is told the descriptor of its end."""

STOP, HURRY = b"stop", b"hurry"
"""What a parent says: end in order, within the grace; and end without further grace."""

_NAME, _STARTED = "name ", "started"


class Lifeline:
    """The child's end."""

    def __init__(self, fd: int) -> None:
        """Hold the line; raises ConfigurationError if the descriptor is none of a socket."""
        try:
            self._socket = socket.socket(fileno=fd)
        except OSError as exc:
            raise ConfigurationError(f"file descriptor {fd} is no line to a supervisor: {exc.strerror}") from exc
        self._socket.set_inheritable(False)  # what a job starts must not hold the line
        self._stop: Callable[[], object] = _end_by_signal
        self._hurry: Callable[[], object] | None = None
        self._is_hurried = False

    @property
    def descriptor(self) -> int:
        """The descriptor of the line, which forks of this process must not hold."""
        return self._socket.fileno()

    def tell_name(self, name: str) -> None:
        """Tell the parent a name of this process's worker."""
        self._tell(_NAME + name)

    def tell_started(self) -> None:
        """Tell the parent that this process's worker takes runs."""
        self._tell(_STARTED)

    def listen(self) -> None:
        """From now on obey the parent, in a thread: "stop" and the end of the line end a process that still starts."""
        start_thread("headrace-lifeline", self._listen)

    def obey_with(self, stop: Callable[[], object], hurry: Callable[[], object]) -> None:
        """From now on call these, from the line's thread, when the parent says so; `hurry` also if it already has."""
        self._stop, self._hurry = stop, hurry
        if self._is_hurried:
            hurry()

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the parent is gone, and the thread sees to it
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


class Heard:
    """What a parent has heard from a child.

    Attributes:
        names: of the child's worker, all since its start.
        has_started: the child takes runs.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.has_started = False

    def hear(self, line: str) -> None:
        """Take one line in; ignore one of an unknown kind."""
        if line.startswith(_NAME) and (name := line.removeprefix(_NAME)) not in self.names:
            self.names.append(name)
        self.has_started = self.has_started or line == _STARTED


def _end_by_signal() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
