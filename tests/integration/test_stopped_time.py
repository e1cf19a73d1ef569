"""A test may stop Python's clocks for its jobs, as freezegun does, and run a worker all the same."""

from __future__ import annotations

from tests.apps.stopped_time import MOMENT
from tests.support.processes import Processes


def test_a_worker_settles_what_was_sent_while_time_stands(processes: Processes) -> None:
    """Retries and delays included; a job sees the time that stands."""
    process = processes.python("-m", "tests.apps.stopped_time", "settles")
    assert process.wait(60) == 0
    assert process.output.splitlines()[-1] == str([(MOMENT, MOMENT)] * 2)


def test_the_settle_timeout_holds_while_time_is_stopped(processes: Processes) -> None:
    """By the clock of the system."""
    process = processes.python("-m", "tests.apps.stopped_time", "does_not_settle")
    assert process.wait(60) == 0
    assert "not settled after 0.5 s" in process.output
