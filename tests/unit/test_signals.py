"""Signals become an operator's wishes: one wish, however many signals it comes as."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from headrace_worker.tasks.signals import Wishes


def test_signals_that_come_close_together_are_one_wish() -> None:
    """Each wish takes in what comes within half a second of its first signal."""
    wishes = Wishes()
    assert [wishes.count(now) for now in (10.0, 10.0, 10.2, 10.49)] == [1, None, None, None]
    assert [wishes.count(now) for now in (10.5, 10.6, 10.99)] == [2, None, None]
    assert [wishes.count(now) for now in (20.0, 20.1, 21.0)] == [3, None, 4]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_containers_first_process_can_be_stopped_at_start(number: signal.Signals) -> None:
    """The kernel would ignore the signal: a handler ends the process, as the default does to any other process."""
    code = f"""
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.getpid = lambda: 1
from headrace_worker.tasks.signals import end_on_stop_signals
end_on_stop_signals()
signal.raise_signal({int(number)})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 128 + number


def test_last_words_that_nobody_reads_keep_no_process_alive() -> None:
    """Neither a closed error stream nor a full one is waited for."""
    full = """
import fcntl, os
reads, writes = os.pipe()
fcntl.fcntl(writes, fcntl.F_SETFL, os.O_NONBLOCK)
try:
    while True:
        os.write(writes, bytes(65536))
except BlockingIOError:
    fcntl.fcntl(writes, fcntl.F_SETFL, 0)
os.dup2(writes, 2)
"""
    for prepare in (full, "import os; os.close(2)"):
        code = f"{prepare}\nfrom headrace_worker.tasks.signals import end_process\nend_process('words')"
        assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 1
