"""Tells which server a binary is, so that a test knows whether it applies."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path


@functools.cache
def version_of(binary: Path) -> tuple[str, str]:
    """Return the server's name as the tests' marks have it, and its whole version: `redis-6.2`, `6.2.5`."""
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    found = re.match(r"(redis|valkey) server v=((\d+\.\d+)\.\S+)", answer, re.IGNORECASE)
    if found is None:
        raise ValueError(f"{binary} --version says {answer!r}, which is no Redis or Valkey server")
    return f"{found[1].lower()}-{found[3]}", found[2]
