"""Processes of tests are started, watched, stopped, killed and reaped."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.processes import Processes
from tests.support.waiting import wait_until


def test_a_process_finds_the_server_in_its_environment(processes: Processes, url: str, namespace: str) -> None:
    """HEADRACE_URL and HEADRACE_NAMESPACE are the test's, unless others are given."""
    code = "import os; print(os.environ['HEADRACE_URL'], os.environ['HEADRACE_NAMESPACE'])"
    process = processes.python("-c", code)
    assert process.wait() == 0
    assert process.output == f"{url} {namespace}\n"
    other = processes.python("-c", code, env={"HEADRACE_URL": "redis://elsewhere"})
    assert other.wait() == 0
    assert other.output.startswith("redis://elsewhere ")


def test_a_line_that_never_comes_shows_the_output(processes: Processes) -> None:
    """When the process ends without the line, the wait fails at once and with what was written."""
    process = processes.python("-c", "print('something else'); exit(3)")
    with pytest.raises(AssertionError, match=r"ended with 3 before it wrote 'ready'[^$]*something else"):
        process.wait_for_line("ready")


def test_a_paused_process_stands_still_until_it_is_resumed(processes: Processes) -> None:
    """Nothing is written between pause and resume."""
    process = processes.python("-c", "import sys\nfor line in iter(int, 1): print('x')", name="writer")
    process.wait_for_line("x")
    process.pause()
    before = process.output
    with pytest.raises(AssertionError):
        wait_until(lambda: process.output != before, 0.1)
    process.resume()
    wait_until(lambda: process.output != before)
    process.kill()
    assert process.returncode == -signal.SIGKILL


def test_a_process_can_be_asked_to_stop(processes: Processes) -> None:
    """SIGTERM and SIGINT reach the process, and wait returns its exit code."""
    code = "import signal\nprint('ready')\nsignal.pause()"
    for ask, expected in (("terminate", -signal.SIGTERM), ("interrupt", -signal.SIGINT)):
        process = processes.python("-c", code)
        process.wait_for_line("ready")
        getattr(process, ask)()
        assert process.wait() == expected


def test_children_of_a_process_are_reaped_with_it(tmp_path: Path, url: str, namespace: str) -> None:
    """At the end of a test nothing of what it started is left, grandchildren included."""
    processes = Processes(tmp_path, url, namespace)
    code = (
        "import subprocess, sys, signal\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "print('child', child.pid)\n"
        "signal.pause()\n"
    )
    parent = processes.python("-c", code)
    status = Path(f"/proc/{parent.wait_for_line(r'child (.*)')[1]}/stat")
    processes.reap()
    assert not parent.is_running
    wait_until(lambda: not status.exists() or status.read_text().split()[2] == "Z", what="the child's end")
