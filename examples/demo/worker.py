"""The worker process of the demo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from headrace import HeadraceError
from headrace_worker.dev.parent_death import die_with_parent

_START_LIMIT_S = 30.0
_STOP_LIMIT_S = 5.0
_POLL_S = 0.02


class DemoFailed(HeadraceError):
    """The demo can't go on. The message says why, with the end of the worker's log."""


class WorkerProcess:
    """One `headrace worker` in a process of its own, which ends with this process."""

    def __init__(self, folder: Path, env: dict[str, str], log_path: Path) -> None:
        """Start the process, from the main thread.

        Args:
            folder: where `jobs.py` is.
            env: the worker's settings; those of this process's environment do not reach the worker.
            log_path: the file for the worker's output.
        """
        self._log_path = log_path
        command = (sys.executable, "-P", "-m", "headrace_worker.cli", "worker", "jobs:app", "--grace", "1")
        unset = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                die_with_parent(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**unset, **env},
                start_new_session=True,  # Ctrl-C reaches this process only, which then stops the worker
            )

    async def wait_until_started(self) -> None:
        """Return when the worker takes runs.

        Raises:
            DemoFailed: it has ended, or takes too long.
        """
        deadline = time.monotonic() + _START_LIMIT_S
        while "worker started" not in self._log_path.read_text(errors="replace"):
            self.check_alive()
            if time.monotonic() > deadline:
                raise DemoFailed(f"the worker has not started in {_START_LIMIT_S:g} s: {self._log_end()}")
            await asyncio.sleep(_POLL_S)

    def check_alive(self) -> None:
        """Raise DemoFailed if the worker has ended."""
        if (code := self._process.poll()) is not None:
            end = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            raise DemoFailed(f"the worker has ended with {end}: {self._log_end()}")

    def stop(self) -> None:
        """Stop the worker in order, or kill it if that takes too long."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_LIMIT_S)
        self._process.kill()
        self._process.wait()

    def _log_end(self) -> str:
        return " | ".join(self._log_path.read_text(errors="replace").strip().splitlines()[-5:])
