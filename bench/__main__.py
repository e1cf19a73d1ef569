"""`python -m bench …` with any Python >= 3.11: makes the runner's environment and goes on in it as `bench.cli`."""

from __future__ import annotations

import os
import sys

from bench.environments import ROOT, RUNNER, SetupFailed, python


def main() -> None:
    """Becomes the runner."""
    try:
        runner = python(RUNNER)
    except SetupFailed as exc:
        sys.exit(str(exc))
    os.environ["PYTHONPATH"] = str(ROOT)
    os.execv(runner, [str(runner), "-m", "bench.cli", *sys.argv[1:]])


main()
