"""Has each Python that the tests run on, in an environment with what they need.

`lowest` is the Python of `.venv` with the lowest versions of what the packages ask for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.matrix.home import HOME, ROOT, NotToBeHad, run_tool

LOWEST = "lowest"
PYTHONS = ("3.11", "3.12", "3.13", LOWEST)
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The one of `.venv`, which runs this."""


def provide(version: str) -> Path:
    """Return the Python of an environment with the requirements and both packages in it.

    Raises:
        NotToBeHad: there is no such Python here, or it could not be set up.
    """
    if version == OWN:
        return Path(sys.executable)
    environment = HOME.relative_to(ROOT) / f"python-{version}"
    base, stamp = (sys.executable, ".lowest") if version == LOWEST else (_find(version), ".dev")
    # The Makefile knows how an environment is made, and when one is out of date.
    setup = ("make", "--no-print-directory", f"VENV={environment}", f"PYTHON={base}", f"{environment}/{stamp}")
    run_tool(setup, f"Python {version}")
    return ROOT / environment / "bin" / "python"


def _find(version: str) -> str:
    for candidate in _candidates(version):
        if _is_version(candidate, version):
            return candidate
    raise NotToBeHad(
        f"Python {version}: none runs as python{version} or under pyenv; install it with its venv module, "
        f"or leave it out: make matrix PYTHONS={OWN}"
    )


def _candidates(version: str) -> Iterator[str]:
    yield f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from (str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True))


def _is_version(candidate: str, version: str) -> bool:
    # A name can be on the PATH and still not run (a version manager's stub), so each is tried.
    probe = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([candidate, "-c", probe], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.stdout.strip() == version
