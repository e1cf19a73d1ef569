"""Real processes for tests: started, watched, stopped, killed, and always reaped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from headrace_worker.dev.parent_death import die_with_parent
from headrace_worker.tasks.signals import SAME_WISH_S
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
"""The checkout's top folder; processes start in it, so that `python -m` finds the modules of `tests`."""


class Process:
    """A process in a group of its own, whose output, both streams as one, goes to a file."""

    def __init__(self, name: str, args: Sequence[str], env: Mapping[str, str], log_path: Path) -> None:
        self.name = name
        self.args = list(args)
        self._log_path = log_path
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                die_with_parent(self.args),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What the process has written so far."""
        return self._log_path.read_text(errors="replace")

    @property
    def written(self) -> str:
        """The same with its carriage returns, which are line feeds in `output`."""
        return self._log_path.read_bytes().decode(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal's number if one ended it, or None while it lives."""
        return self._process.poll()

    def wait_for_line(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """Return the match of the first output that fits the pattern; fail at once if the process ends."""
        expression = re.compile(pattern, re.MULTILINE)

        def found() -> re.Match[str] | None:
            ended = not self.is_running
            match = expression.search(self.output)
            if match is None and ended:
                ended_with = f"{self.name} ended with {self.returncode} before it wrote {pattern!r}"
                raise AssertionError(f"{ended_with}; its output:\n{self.output}")
            return match

        match = wait_until(found, timeout, what=f"a line {pattern!r} of {self.name}")
        assert match is not None
        return match

    def wait(self, timeout: float = 20.0) -> int:
        """Return the exit code when the process has ended."""
        wait_until(lambda: not self.is_running, timeout, what=f"the end of {self.name}")
        return self._process.wait()

    def kill(self) -> None:
        """End the process with SIGKILL; its children, if it has any, go on."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """Ask the process to stop (SIGTERM); `wait` says when it has."""
        self._process.terminate()

    def terminate_again(self) -> None:
        """Ask for a second time; call it when the first stop was seen, as signals close together are one."""
        time.sleep(SAME_WISH_S)
        self.terminate()

    def interrupt(self) -> None:
        """Ask the process to stop as Ctrl-C does (SIGINT)."""
        self._process.send_signal(signal.SIGINT)

    def pause(self) -> None:
        """Stop the process (SIGSTOP) in the middle of whatever it does, until `resume`."""
        self._process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._process.returncode = os.waitstatus_to_exitcode(status)
            raise AssertionError(f"{self.name} ended before it could be paused; its output:\n{self.output}")

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def reap(self) -> None:
        """End what is left of the process, of its group, and of processes that it has started in groups of their own.

        A supervisor's would stop in order otherwise, and write to the server of the next test meanwhile.
        """
        below = list(_below(self.pid))
        # An empty group is not found; macOS says that it is not permitted.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(_lives, below)), 10, what=f"the end of what {self.name} has started")


def _below(pid: int) -> Iterator[int]:
    """Yield the processes below a process; none where the system does not say."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                yield child
                yield from _below(child)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Processes:
    """The processes of one test; those that still live are killed and reaped at its end."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        self._folder = folder
        self._url = url
        self._namespace = namespace
        self.started: list[Process] = []

    def spawn(self, args: Sequence[str], env: Mapping[str, str] | None = None, name: str = "process") -> Process:
        """Start a command; HEADRACE_URL and HEADRACE_NAMESPACE are the test's, unless `env` has others."""
        name = f"{name}-{len(self.started) + 1}"
        full_env = {"HEADRACE_URL": self._url, "HEADRACE_NAMESPACE": self._namespace, **(env or {})}
        process = Process(name, args, full_env, self._folder / f"{name}.log")
        self.started.append(process)
        return process

    def python(self, *args: str, env: Mapping[str, str] | None = None, name: str = "python") -> Process:
        """Start this interpreter: `python("-c", code)`, `python("-m", module)`."""
        return self.spawn([sys.executable, *args], env, name)

    def cli(self, *args: str, env: Mapping[str, str] | None = None) -> Process:
        """Start `headrace ARGS`."""
        return self.python("-m", "headrace_worker.cli", *args, env=env, name=args[0] if args else "headrace")

    def worker(self, app: str, *options: str, env: Mapping[str, str] | None = None) -> Process:
        """Start `headrace worker MODULE:APP OPTIONS`; `env` may hold another HEADRACE_URL, a proxy's say."""
        return self.cli("worker", app, *options, env=env)

    def reap(self) -> None:
        """End everything that was started and still lives."""
        for process in self.started:
            process.reap()
