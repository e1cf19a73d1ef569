"""`python -m examples.demo`, in the top folder of a checkout: shows what Headrace does, in less than half a minute.

Starts a Valkey server and one worker with the jobs of examples/github, sends sample webhooks of GitHub, and shows what
happens: filters on their fields, several jobs for an event, retries, a delayed event, a canceled one, and one that a
job sends. At the end every outcome is compared with the expected one.

Exit codes: 0, all is as expected; 1, something is not; 130, Ctrl-C.
"""

from __future__ import annotations

import sys

from examples.demo.play import EXAMPLE, play
from examples.demo.view import open_viewer, print_summary
from headrace import HeadraceError

_FAILED, _INTERRUPTED = 1, 130


def main() -> int:
    """Run the demo and return the exit code."""
    try:
        with open_viewer() as viewer:
            report = play(EXAMPLE, viewer)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except HeadraceError as exc:
        print(f"Error: {exc}", file=sys.stderr)
        return _FAILED
    print_summary(report)
    return _FAILED if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
