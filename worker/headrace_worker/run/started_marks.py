"""Collects runs whose records will say that they execute, if they still do when a batch is sent."""

from __future__ import annotations

from collections.abc import Callable

from headrace_worker.clock import monotonic
from headrace_worker.membership.in_flight import ENDED, InFlightRun
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.tasks.guard import Guard

_GO_ALONE_S = 0.25


class StartedMarks:
    """Runs that have started, until a batch has marked their records or they have ended."""

    def __init__(self, guard: Guard, wake: Callable[[], None]) -> None:
        """Begin without a run.

        Args:
            wake: is called a quarter of a second after the first run, in case no outcome has caused a batch by then.
        """
        self._guard = guard
        self._wake = wake
        self._runs: list[InFlightRun] = []

    def add(self, run: InFlightRun) -> None:
        """Mark the run with the next batch."""
        if not self._runs:
            self._guard.later(_GO_ALONE_S, self._wake)
        self._runs.append(run)

    def take(self) -> list[InFlightRun]:
        """Return the runs that still execute, and forget all."""
        runs, self._runs = self._runs, []
        return [run for run in runs if run.stage < ENDED]

    def restore(self, runs: list[InFlightRun]) -> None:
        """Mark these runs with the next batch, as their batch did not arrive."""
        self._runs = runs + self._runs


def elapsed(runs: list[InFlightRun]) -> list[tuple[Delivery, int]]:
    """Return the delivery of each run and for how many milliseconds it has executed."""
    now = monotonic()
    return [(run.delivery, run.elapsed_ms(now)) for run in runs]
