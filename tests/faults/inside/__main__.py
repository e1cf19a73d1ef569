"""`make inject`: lets each place inside a worker fail, in turn, and shows where the promise does not hold."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests.faults.inside import places
from tests.faults.inside.fault import BY_NAME, KINDS
from tests.faults.inside.promise import ALLOWED
from tests.faults.inside.report import line, table
from tests.faults.inside.scenario import Case
from tests.faults.inside.series import all_cases, lives_by_place, play_all
from tests.support.processes import ROOT

FOLDER = ROOT / ".inject"


def main() -> int:
    """Return 0 if the promise holds; what all processes wrote is kept where it does not."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.inside", description=__doc__)
    parser.add_argument("--place", default="*", help="a pattern: 'lease:*', '*_finish*'")
    parser.add_argument("--kind", default="", help=f"some of: {' '.join(BY_NAME)}")
    parser.add_argument("--at-once", type=int, default=6, help="so many scenarios run at once")
    options = parser.parse_args()
    named = os.environ.get("HEADRACE_TEST_SERVER")
    binary = Path(named) if named else None
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    cases, unreached = _cases(options.place, options.kind, binary)
    print(f"inject: {len(cases)} faults, {options.at_once} at once", flush=True)
    results = play_all(cases, FOLDER, options.at_once, binary, lambda result: print(line(result), flush=True))
    broken = [result for result in results if result.broken]
    print(f"\n{table(results)}")
    for room in sorted({places.room_of(place) for place in unreached}):
        names = [place.partition(":")[2] for place in unreached if places.room_of(place) == room]
        print(f"not reached in {room}: {', '.join(names)}")
    for place, reason in {**places.ROOMS_LEFT_OUT, **places.PLACES_LEFT_OUT}.items():
        print(f"left out: {place}: {reason}")
    for pattern, (finding, reason) in ALLOWED.items():
        print(f"allowed: {pattern}: {finding.strip(', ')!r}: {reason}")
    for result in broken:
        print(line(result))
    if broken:
        print(f"\nwhat all processes of these wrote is in {FOLDER}")
    return 1 if broken else 0


def _cases(pattern: str, kinds: str, binary: Path | None) -> tuple[list[Case], list[str]]:
    """Return the faults to inject, and the places of the pattern that the load does not reach."""
    lives = lives_by_place(FOLDER, binary)
    chosen = {place: life for place, life in lives.items() if fnmatch(place, pattern)}
    unreached = [place for place in places.places() if fnmatch(place, pattern) and place not in lives]
    return all_cases(chosen, [BY_NAME[name] for name in kinds.split()] or KINDS), unreached


if __name__ == "__main__":
    sys.exit(main())
