"""How an act on many rests, by a clock that only its steps and rests move."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headrace_worker.operate.bulk import Chosen, carry_out
from headrace_worker.operate.pace import Pace, Rate


class Clock:
    """Its time passes in steps and in rests alone."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rests = list[float]()

    def rest(self, seconds: float) -> None:
        self.now += seconds
        self.rests.append(round(seconds, 6))

    def pace(self, rate: Rate | None) -> Pace:
        return Pace(rate, sleep=self.rest, clock=lambda: self.now)


def carried_out(clock: Clock, rate: Rate | None, count: int, took_s: Callable[[int], float]) -> list[int]:
    """Return how many each step was for; each takes its time."""
    sizes = list[int]()

    def act(portion: object) -> list[None]:
        sizes.append(len(portion))  # type: ignore[arg-type]
        clock.now += took_s(len(sizes))
        return [None] * sizes[-1]

    chosen = Chosen.of([str(n) for n in range(count)])
    results = list(carry_out(chosen, act, pace=clock.pace(rate)))
    assert [each.id for each in results] == chosen.ids
    return sizes


def test_it_rests_as_long_as_each_step_took_and_not_after_the_last() -> None:
    """A server that is slow gets longer rests."""
    clock = Clock()
    assert carried_out(clock, None, 25, lambda number: number / 1000) == [10, 10, 5]
    assert clock.rests == [0.001, 0.002]


def test_what_the_caller_takes_between_two_steps_is_rest() -> None:
    """Printing, for one."""
    clock = Clock()
    pace = clock.pace(None)
    for took_s, printed_s in ((1.0, 0.75), (1.0, 5.0), (1.0, 0.0)):
        with pace.step(10):
            clock.now += took_s
        clock.now += printed_s
    assert clock.rests == [0.25]


@pytest.mark.parametrize(
    ("rate", "sizes", "rests"),
    [(20, [10, 10, 5], [0.4, 0.4]), (10, [10, 10, 5], [0.9, 0.9]), (0.5, [1, 1, 1], [1.9, 1.9]), (1_000, [10, 5], [])],
)
def test_no_more_than_so_many_a_second(rate: float, sizes: list[int], rests: list[float]) -> None:
    """The portions are no larger than that, and a step that takes longer is not rested for."""
    clock = Clock()
    assert carried_out(clock, rate, sum(sizes), lambda _: 0.1) == sizes
    assert clock.rests == rests


def test_without_a_rest_the_portions_are_large() -> None:
    """`full`."""
    clock = Clock()
    assert carried_out(clock, "full", 450, lambda _: 0.1) == [200, 200, 50]
    assert clock.rests == []


@pytest.mark.parametrize(("rate", "rests"), [(None, [0.2]), (5.0, [0.2]), ("full", [])])
def test_reading_what_is_chosen_rests_too(rate: Rate | None, rests: list[float]) -> None:
    """It is not counted as done, so a rate does not make it slower."""
    clock = Clock()
    pace = clock.pace(rate)
    for _ in range(2):
        with pace.step():
            clock.now += 0.2
    assert clock.rests == rests
