"""`make chaos`: runs chaos once, shows its table, and writes it into .chaos/."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
from pathlib import Path

from tests.faults.chaos.page import fill_page
from tests.faults.chaos.run import run_chaos
from tests.support.processes import ROOT

FOLDER = ROOT / ".chaos"


def main() -> int:
    """Return 0 when no rule is broken; the diaries and logs of a run are kept when one is."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="the same seed injects the same faults")
    parser.add_argument("--duration", type=float, default=300.0, help="seconds of load and faults")
    parser.add_argument("--rate", type=float, default=60.0, help="events a second, about")
    parser.add_argument("--docs", action="store_true", help="tell in docs/reliability.md what came out")
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"chaos: seed {seed}, {options.duration:g} s", flush=True)
    named = os.environ.get("HEADRACE_TEST_SERVER")
    folder = FOLDER / f"{seed}-{options.duration:g}s"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    result = run_chaos(folder, seed, options.duration, rate=options.rate, binary=Path(named) if named else None)
    result.write(FOLDER / f"{folder.name}.json")
    print(result.table())
    if options.docs:
        fill_page(result)
    if result.is_sound:
        shutil.rmtree(folder)
    else:
        print(f"\nthe diaries of all processes and their logs are in {folder}")
    return 0 if result.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
