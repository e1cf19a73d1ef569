"""Where the matrix keeps what it makes, and how it runs the tools that make it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".matrix"
"""Servers, environments and reports; ignored by git."""


class NotToBeHad(Exception):
    """A server or a Python can't be had on this machine; the text says why, and what would help."""


def run_tool(command: Sequence[str | Path], what: str, folder: Path = ROOT) -> str:
    """Return what a tool wrote, or raises NotToBeHad with the end of it."""
    try:
        done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise NotToBeHad(f"{what}: {command[0]} does not run here ({exc.strerror})") from exc
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise NotToBeHad(f"{what}: {' '.join(map(str, command[:4]))} … ended with {done.returncode}:\n{tail}")
    return done.stdout
