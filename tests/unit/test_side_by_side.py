"""Plans that run side by side ask together, so many at once, and each has its own result."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.calls.call import Call
from headrace.errors import HeadraceError
from headrace.plans.plan import Plan
from headrace.plans.side_by_side import AT_ONCE, side_by_side


def asking(name: str, steps: int) -> Plan[str]:
    """Return a plan that asks so many times for one thing."""
    for _ in range(steps):
        yield [Call((name,), lambda reply: reply)]
    if name == "fails":
        raise HeadraceError(name)
    return name


def run(plan: Plan[Any]) -> tuple[list[list[Any]], Any]:
    """Return what a plan asks for in each round trip, and its result."""
    trips: list[list[Any]] = []
    answers: Any = None
    while True:
        try:
            asked = plan.send(answers)
        except StopIteration as done:
            return trips, done.value
        trips.append([call.args[0] for call in asked])
        answers = [None] * len(asked)


def test_no_round_trip_has_more_than_so_many_plans() -> None:
    """The next begin when those before have ended; results are in the order of the plans."""
    names = [f"p{number}" for number in range(2 * AT_ONCE + 1)]
    trips, results = run(side_by_side(asking(name, 2) for name in names))
    assert results == names
    assert [len(trip) for trip in trips] == [AT_ONCE] * 4 + [1] * 2


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_plan_that_fails_holds_up_no_other(at_once: int) -> None:
    """Its error stands in its place; one with more steps goes on alone."""
    _, results = run(side_by_side([asking("a", 1), asking("fails", 0), asking("b", 3)], at_once))
    assert [str(each) for each in results] == ["a", "fails", "b"]
    assert isinstance(results[1], HeadraceError)


def test_without_plans_nothing_is_asked() -> None:
    """The result is empty."""
    assert run(side_by_side([])) == ([], [])
