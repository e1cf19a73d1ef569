"""Starts a worker process, receives its reports and stops it. The caller decides why and when to start one."""

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
from headrace_worker.process.control_channel import FD_VARIABLE, HURRY, STOP, ChildReport
from headrace_worker.protocol import leases

STOOD_STILL = 70
"""Exit code of a child that has ended itself because a part stood still: a software error."""

_LAST_WORDS_S = 1.0
"""How long after a child's end its channel is read: a process that the child has started may keep it open."""


def cli_command(*args: str) -> list[str]:
    """Return the command that runs `headrace ARGS` with this interpreter, whatever is in the current folder."""
    return [sys.executable, "-P", "-m", "headrace_worker.cli", *args]


class Child:
    """A worker process in a session of its own: signals of a terminal go to its parent alone.

    Attributes:
        report: what the process has reported.
        started_or_ended: set when the process takes runs, or its end of the channel is closed.
        born_at: when it was started, by the event loop's clock.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.report = ChildReport()
        self.started_or_ended = asyncio.Event()
        self.born_at = asyncio.get_running_loop().time()
        self._process = process
        self._channel = channel
        self._rest = b""
        self._channel_ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(channel, self._read)

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        log: IO[bytes] | None = None,
    ) -> Self:
        """Start the process and return it.

        Args:
            command: see `cli_command`.
            env: variables to add to this process's environment.
            folder: the child's current folder; this process's if None.
            log: the file for the child's output; this process's streams if None.

        Raises:
            OSError: the program is missing, or the system has no process, thread or descriptor left.
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
            ours.close()  # ends a process that was started but can't be watched
            if isinstance(exc, RuntimeError):  # no thread to watch the process with
                raise OSError(errno.EAGAIN, f"{os.strerror(errno.EAGAIN)}: {exc}") from exc
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; minus the signal's number if a signal ended the process; None while it lives."""
        return self._process.returncode

    def request_stop(self) -> None:
        """Let the process end in order: send "stop" over the channel, and SIGTERM, as it may not listen yet."""
        self._say(STOP)
        self._send_signal(signal.SIGTERM)

    def hurry(self) -> None:
        """Let the process end without further grace."""
        self._say(HURRY)

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self._send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit code when the process has ended and its last reports are received."""
        code = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._channel_ended.wait(), _LAST_WORDS_S)
        self._end_channel()
        self._channel.close()
        return code

    async def stop(self, timeout_s: float) -> int:
        """Stop the process, kill it if it still lives after `timeout_s`, and return its exit code."""
        self.request_stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), timeout_s)
        self.kill()
        return await self.wait()

    async def end_leases(self, url: str, partitions: Partitions) -> None:
        """End the leases of this process, which has ended, so that other workers take its runs now.

        Raises:
            ServerError: the leases could not be ended; they expire by themselves.
        """
        transport = open_async_transport(url, attempts=2)
        try:
            await transport.run([leases.end_lease(keys, each) for each in self.report.names for keys in partitions.all])
        finally:
            await transport.close()

    def _send_signal(self, number: int) -> None:
        # Not by subprocess, which would take the exit code of an ended process: asyncio would then report 255.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _say(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # the process has ended
            self._channel.send(line + b"\n")

    def _read(self) -> None:
        try:
            chunk = self._channel.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self.report.add(line.decode(errors="replace"))
        if self.report.has_started:
            self.started_or_ended.set()
        if not chunk:
            self._end_channel()

    def _end_channel(self) -> None:
        if not self._channel_ended.is_set():
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel_ended.set()
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
