"""Checks the code beside this module, and what the pages for readers show, with mypy and basedpyright."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.snippets import PAGES, ROOT, write_modules

SETTINGS = ROOT / "pyproject.toml"


def main() -> int:
    """Return 0 if neither checker has anything to report."""
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for page in PAGES:
            write_modules(page, folder)
        checks = [_start_mypy(folder), _start_basedpyright(folder)]
        codes = [each.wait() for each in checks]
    return int(any(codes))


def _start_mypy(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mypy", "--config-file", str(SETTINGS), "tests/typing", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "MYPYPATH": str(folder)})


def _start_basedpyright(folder: Path) -> subprocess.Popen[bytes]:
    settings = {
        "extends": str(SETTINGS),
        "include": [str(folder), str(ROOT / "tests/typing")],
        "executionEnvironments": [
            {"root": str(folder), "extraPaths": [str(ROOT / "examples/sealed")]},
            {"root": str(ROOT)},
        ],
    }
    path = folder / "pyrightconfig.json"
    path.write_text(json.dumps(settings), "utf-8")
    command = [sys.executable, "-m", "basedpyright", "--project", str(path), "--pythonpath", sys.executable]
    return subprocess.Popen(command, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
