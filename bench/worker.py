"""One worker process under measurement: started, listened to while it works, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from bench.environments import HOME, ROOT

_STOP_S = 8.0
_STEP_S = 0.25


class WorkerFailed(Exception):
    """The worker ended, or did not do in time what it had to; the text has the end of its log."""


class Progress(msgspec.Struct, frozen=True):
    """What a job reports to the runner: how many jobs were done, when, and in which process."""

    ns: int
    done: int
    pid: int


class WorkerProcess:
    """A worker's command in a session of its own, with its log and a socket for its jobs' progress."""

    def __init__(self, command: Sequence[str], url: str, jobs: int, env: Mapping[str, str] | None = None) -> None:
        """Nothing is started yet.

        Args:
            jobs: how many jobs it will do; their tally reports each tenth of them.
        """
        self._command = list(command)
        self._jobs = jobs
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        port = self._socket.getsockname()[1]
        self._env = {**os.environ, "BENCH_URL": url, "BENCH_JOBS": str(jobs), "BENCH_PORT": str(port), **(env or {})}
        self._log_path = HOME / "logs" / f"worker-{port}.log"
        self.progress: list[Progress] = []

    def __enter__(self) -> Self:
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._socket.close()
        if error is None:
            self._log_path.unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """The process id of the command; jobs may run in a child of it."""
        return self._process.pid

    def process(self) -> Any:
        """Return the process of the command, as psutil sees it."""
        return _as_seen(self.pid)

    def wait_done(self, done: int, timeout_s: float) -> Progress:
        """Return the report that so many jobs are done."""
        deadline = time.monotonic() + timeout_s
        while not (self.progress and self.progress[-1].done >= done):
            if self._process.poll() is not None:
                raise WorkerFailed(f"the worker ended with {self._process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                reached = self.progress[-1].done if self.progress else 0
                raise WorkerFailed(f"{reached} of {done} jobs were done in {timeout_s:g} s:\n{self.log_tail()}")
            self._socket.settimeout(_STEP_S)
            with contextlib.suppress(TimeoutError):
                self.progress.append(msgspec.json.decode(self._socket.recv(1024), type=Progress))
        return self.progress[-1]

    def job_process(self) -> Any:
        """Return the process that the jobs run in, as psutil sees it."""
        return _as_seen(self.progress[-1].pid)

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of what the worker wrote."""
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-lines:]) or "(it wrote nothing)"

    def kill(self) -> None:
        """End the worker and its children with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End the worker as a deploy does, by force if it takes too long."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        self.kill()


def _as_seen(pid: int) -> Any:
    import psutil  # noqa: PLC0415 - tests run scenarios that need none

    return psutil.Process(pid)


def ask(command: Sequence[str | Path], url: str, timeout_s: float = 600, env: Mapping[str, str] | None = None) -> Any:
    """Run a command of a peer's side and returns its answer; raises WorkerFailed with what it wrote."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env={**os.environ, "BENCH_URL": url, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise WorkerFailed(f"{' '.join(str(part) for part in command)} took longer than {timeout_s:g} s") from exc
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise WorkerFailed(f"{' '.join(str(part) for part in command)} ended with {done.returncode}:\n{said}")
    return json.loads(done.stdout.splitlines()[-1])
