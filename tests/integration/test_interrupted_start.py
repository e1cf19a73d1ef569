"""An interrupt of `headrace` that has just begun: it ends quietly, and is Python's own once the commands are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_INTERRUPT = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('it goes on')\n"
_IGNORE = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "


def headrace(folder: Path, *args: str, first: str = "") -> subprocess.CompletedProcess[str]:
    """Run what the installed command does; modules of the folder stand in for others."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", f"{first}from headrace_command import main; main()", *args],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["msgspec", "structlog", "click"])
def test_an_interrupt_while_modules_load(tmp_path: Path, module: str) -> None:
    """The exit code that shells expect, and not a word: it comes as a module is imported, early or late."""
    (tmp_path / f"{module}.py").write_text(_INTERRUPT)
    done = headrace(tmp_path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("first", "handler"), [("", "default_int_handler"), (_IGNORE, "SIG_IGN")], ids=["own", "ignored"]
)
def test_commands_find_the_handler_as_it_was(tmp_path: Path, first: str, handler: str) -> None:
    """What they do about an interrupt is theirs, and one that was started to ignore it goes on to."""
    (tmp_path / "jobs.py").write_text(
        f"import signal\nassert signal.getsignal(signal.SIGINT) == signal.{handler}\n"
        "from headrace_worker import App\napp = App('a', dispatch_only=True)\n"
    )
    done = headrace(tmp_path, "app", "check", "jobs:app", first=first)
    assert done.returncode == 0, done.stderr
