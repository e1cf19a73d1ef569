"""A worker process, as the process that started it sees it. It must not know why it was started, nor start it again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from headrace.connect import open_async_transport
from headrace.partitions import Partitions
from headrace_worker import protocol
from headrace_worker.lifeline import FD_VARIABLE, Heard

_LAST_WORDS_S = 1.0
"""How long after a child's end its line is read: something that it started may hold it open."""


def cli_command(*args: str) -> list[str]:
    """Returns the command that runs `headrace ARGS` with this interpreter, whatever lies in the current folder."""
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
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        log: IO[bytes] | None = None,
    ) -> Self:
        """Returns the process, which is about to start.

        Args:
            command: see `cli_command`.
            env: what its environment has beside this process's.
            folder: where it starts; here if None.
            log: where its output goes; to ours if None.
        """
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
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

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal's number if one ended it; None while it lives."""
        return self._process.returncode

    def send_signal(self, number: int) -> None:
        """The process has the signal, unless it has ended."""
        # Not by subprocess: it looks whether the process has ended and takes its exit code from under asyncio, which
        # then makes one up, 255.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def wait(self) -> int:
        """Returns the exit code when the process has ended and all that it told is heard."""
        code = await self._process.wait()
        await asyncio.wait([self._listening], timeout=_LAST_WORDS_S)
        self._listening.cancel()
        self._line.close()
        return code

    async def stop(self, timeout_s: float) -> int:
        """Asks the process to stop, kills it if it has not after `timeout_s`, and returns its exit code."""
        self.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(self.wait())), timeout_s)
        self.send_signal(signal.SIGKILL)
        return await self.wait()

    async def end_leases(self, url: str, partitions: Partitions) -> None:
        """The leases of the worker of this process, which has ended, are over: its runs need not wait for them.

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

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        with contextlib.suppress(OSError):
            while chunk := await loop.sock_recv(self._line, 4096):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self.heard.hear(line.decode())
                if self.heard.has_started:
                    self.started_or_ended.set()
        self.started_or_ended.set()


def describe_end(code: int | None) -> str:
    """Returns in words how a process ended: `exit code 1`, `SIGKILL`."""
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
