"""A worker process, as the process that started it sees it. It must not know why it was started, nor start it again."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from headrace.connect import open_async_transport
from headrace.formats.partitions import Partitions
from headrace_worker import protocol
from headrace_worker.process.control_line import FD_VARIABLE, HURRY, STOP, Heard

STOOD_STILL = 70
"""Exit code of a child that has ended itself because a part of it stood still: a software error."""

_LAST_WORDS_S = 1.0
"""How long after a child's end its line is read: something that it started may hold it open."""


def cli_command(*args: str) -> list[str]:
    """Return the command that runs `headrace ARGS` with this interpreter, whatever lies in the current folder."""
    return [sys.executable, "-P", "-m", "headrace_worker.cli", *args]


class Child:
    """One process of a worker, in a session of its own: what a terminal sends goes to its parent alone.

    Attributes:
        heard: what it has told of itself.
        started_or_ended: set when it takes runs, or its end of the line is closed.
        born_at: by the event loop's clock.
    """

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self.heard = Heard()
        self.started_or_ended = asyncio.Event()
        self.born_at = asyncio.get_running_loop().time()
        self._process = process
        self._line = line
        self._rest = b""
        self._line_ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(line, self._read)

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        log: IO[bytes] | None = None,
    ) -> Self:
        """Return the process, which is about to start.

        Args:
            command: see `cli_command`.
            env: what its environment has beside this process's.
            folder: where it starts; here if None.
            log: where its output goes; to ours if None.

        Raises:
            OSError: the program is not there, or there is no room for a process, a thread or a descriptor.
        """
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=folder,
                    env={**os.environ, **(env or {}), FD_VARIABLE: str(theirs.fileno())},
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            return cls(process, ours)
        except BaseException as exc:
            ours.close()  # a process that was started and can't be watched ends by it
            if isinstance(exc, RuntimeError):  # no thread to watch the process with
                raise OSError(errno.EAGAIN, f"{os.strerror(errno.EAGAIN)}: {exc}") from exc
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal's number if one ended it; None while it lives."""
        return self._process.returncode

    def ask_to_stop(self) -> None:
        """Let the process end in order: over the line, and by SIGTERM for one that still starts and does not listen."""
        self._say(STOP)
        self._send_signal(signal.SIGTERM)

    def hurry(self) -> None:
        """Let the process end without further grace."""
        self._say(HURRY)

    def kill(self) -> None:
        """End the process, unless it has ended."""
        self._send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit code when the process has ended and all that it told is heard."""
        code = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._line_ended.wait(), _LAST_WORDS_S)
        self._end_line()
        self._line.close()
        return code

    async def stop(self, timeout_s: float) -> int:
        """Ask the process to stop, kill it if it has not after `timeout_s`, and return its exit code."""
        self.ask_to_stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), timeout_s)
        self.kill()
        return await self.wait()

    async def end_leases(self, url: str, partitions: Partitions) -> None:
        """End the leases of the worker of this process, which has ended: its runs need not wait for them.

        Raises:
            ServerError: they run out by themselves.
        """
        transport = open_async_transport(url, attempts=2)
        try:
            await transport.run(
                [protocol.end_lease(keys, each) for each in self.heard.names for keys in partitions.all]
            )
        finally:
            await transport.close()

    def _send_signal(self, number: int) -> None:
        # Not by subprocess: it looks whether the process has ended and takes its exit code from under asyncio, which
        # then makes one up, 255.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _say(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # the process has ended
            self._line.send(line + b"\n")

    def _read(self) -> None:
        try:
            chunk = self._line.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self.heard.hear(line.decode(errors="replace"))
        if self.heard.has_started:
            self.started_or_ended.set()
        if not chunk:
            self._end_line()

    def _end_line(self) -> None:
        if not self._line_ended.is_set():
            asyncio.get_running_loop().remove_reader(self._line)
            self._line_ended.set()
            self.started_or_ended.set()


def describe_end(code: int | None) -> str:
    """Return in words how a process ended: `exit code 1`, `SIGKILL`."""
    if code == STOOD_STILL:
        return f"exit code {code}: a part of it stood still, see its log"
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
