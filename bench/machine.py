"""Says what machine this is, as far as a reader of figures wants to know."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import psutil

from bench.environments import ROOT
from bench.results import Machine


def this_machine(server: str) -> Machine:
    """Return the machine that we are on."""
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        server=server,
        load_before=round(os.getloadavg()[0], 2),
    )


def commit() -> str:
    """Return the commit that is checked out, with a plus if files differ from it; empty where there is no git."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        return name + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
