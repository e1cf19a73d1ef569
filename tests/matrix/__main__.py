"""The command: `python -m tests.matrix [--servers "…"] [--pythons "…"] [pytest's options]`."""

from __future__ import annotations

import argparse
import sys

from tests.matrix.home import HOME
from tests.matrix.plan import plan
from tests.matrix.report import table
from tests.matrix.runs import run


def main() -> int:
    """Run the tests on all that is chosen, prints the table, and returns 0 if everything has passed everywhere."""
    parser = argparse.ArgumentParser(prog="make matrix", allow_abbrev=False)
    parser.add_argument("--servers", default="", help="names with spaces between; all if neither is given")
    parser.add_argument("--pythons", default="", help="versions with spaces between, as 3.12")
    chosen, options = parser.parse_known_args()
    try:
        meetings = plan(chosen.servers.split(), chosen.pythons.split())
    except ValueError as exc:
        parser.error(str(exc))
    (HOME / "reports").mkdir(parents=True, exist_ok=True)
    results = [run(meeting, options) for meeting in meetings]
    print(f"\n{table(results)}", flush=True)
    return 0 if all(result.is_good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
