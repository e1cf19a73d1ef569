"""The command `headrace` in the test's own process, and what it prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from click.testing import Result

Headrace = Callable[..., Result]
Shell = Callable[..., "subprocess.CompletedProcess[str]"]
COMMAND = f"{sys.executable} -m headrace_worker.cli"


def document(result: Result) -> Any:
    """Return what a command printed as one line of JSON."""
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def fails(result: Result, exit_code: int, *parts: str) -> None:
    """Check that a command printed one line of error, with these parts, and nothing else."""
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert re.fullmatch(r"Error: .+\n", result.stderr), result.stderr
    for part in parts:
        assert part in result.stderr
