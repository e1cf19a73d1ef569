"""How an act on many rests, by a clock that only its steps and rests move."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from headrace_worker.operate.bulk import Chosen, carry_out
from headrace_worker.operate.pace import Pace, Rate


class Clock:
    """Its time passes in steps and in rests alone."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rests = list[float]()
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds

    def pace(self, rate: Rate | None) -> Pace:
        return Pace(rate, sleep=self.sleep, clock=lambda: self.now)

    def note_rest(self) -> None:
        """Note how long was slept since the last time, if at all."""
        if self.slept:
            self.rests.append(round(self.slept, 6))
        self.slept = 0.0


def carried_out(clock: Clock, rate: Rate | None, count: int, took_s: Callable[[int], float]) -> list[int]:
    """Return how many each step was for; each takes its time."""
    sizes = list[int]()

    def act(portion: Sequence[str]) -> list[None]:
        clock.note_rest()
        sizes.append(len(portion))
        clock.now += took_s(len(sizes))
        return [None] * len(portion)

    chosen = Chosen.of([str(n) for n in range(count)])
    results = list(carry_out(chosen, act, pace=clock.pace(rate)))
    clock.note_rest()
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
        pace.rest()
        clock.note_rest()
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
        pace.rest()
        clock.note_rest()
        with pace.step():
            clock.now += 0.2
    assert clock.rests == rests


def test_a_step_that_waited_for_the_server_is_not_rested_for_that_long() -> None:
    """As after an outage."""
    clock = Clock()
    assert carried_out(clock, None, 20, lambda _: 30.0) == [10, 10]
    assert clock.rests == [1.0]


def test_an_interrupt_ends_a_rest_and_nothing_more_is_done() -> None:
    """Even where one is done in ten seconds."""
    clock = Clock()
    chosen = Chosen.of(["first", "second"])
    began = clock.now
    done = carry_out(
        chosen,
        lambda portion: [None] * len(portion),
        pace=clock.pace(0.1),
        is_interrupted=lambda: clock.now > began + 2,
    )
    assert [each.id for each in done] == ["first"]
    assert 2 < clock.slept < 2.5
