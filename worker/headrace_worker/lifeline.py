"""The line between a worker process and the process that started it.

The child tells its worker's names and that it has started. When the line ends, the other side is gone: a parent ends
the leases of those names, a child stops in order, as if it had been sent SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading

from headrace import ConfigurationError

FD_VARIABLE = "HEADRACE_WORKER_LIFELINE_FD"
"""The environment variable in which a child is told the descriptor of its end."""

_NAME, _STARTED = "name ", "started"


class Lifeline:
    """The child's end."""

    def __init__(self, fd: int) -> None:
        """The line is held; raises ConfigurationError if the descriptor is none of a socket."""
        try:
            self._socket = socket.socket(fileno=fd)
        except OSError as exc:
            raise ConfigurationError(f"file descriptor {fd} is no line to a supervisor: {exc.strerror}") from exc
        self._socket.set_inheritable(False)  # what a job starts must not hold the line

    def tell_name(self, name: str) -> None:
        """The parent knows a name of this process's worker."""
        self._tell(_NAME + name)

    def tell_started(self) -> None:
        """The parent knows that this process's worker takes runs."""
        self._tell(_STARTED)

    def stop_with_parent(self) -> None:
        """This process is sent SIGTERM when the parent is gone, from a thread that waits for it."""
        threading.Thread(target=self._wait_for_end, name="headrace-lifeline", daemon=True).start()

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the parent is gone, and the thread sees to it
            self._socket.sendall(f"{line}\n".encode())

    def _wait_for_end(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)


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
        """Takes one line in; one of a kind that is not known is passed over."""
        if line.startswith(_NAME) and (name := line.removeprefix(_NAME)) not in self.names:
            self.names.append(name)
        self.has_started = self.has_started or line == _STARTED
