"""A run of chaos can be repeated: its faults come from its seed alone."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.chaos.schedule import Kind, Step, schedule

KINDS = {f"kind {number}": Kind(0.5, 2.0) for number in range(20)} | {"rare": Kind(at_most=2)}


def kinds_of(steps: tuple[Step, ...]) -> Counter[str]:
    return Counter(step.kind for step in steps)


def test_the_same_seed_gives_the_same_faults() -> None:
    """The same kinds at the same times with the same draws; another seed gives others."""
    assert schedule(7, 300, KINDS) == schedule(7, 300, KINDS)
    assert schedule(7, 300, KINDS) != schedule(8, 300, KINDS)


@pytest.mark.parametrize("seed", range(50))
def test_a_minute_has_every_kind(seed: int) -> None:
    """None of them later than the end, and in the order of their times."""
    steps = schedule(seed, 60, KINDS)
    assert kinds_of(steps).keys() == KINDS.keys()
    assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
    assert steps[-1].at_s < 60


@pytest.mark.parametrize("seed", range(50))
def test_a_kind_that_another_makes_worthless_comes_apart_from_it(seed: int) -> None:
    """Half a round before or after, so a minute has both far from each other."""
    kinds = KINDS | {"apart": Kind(1.0, 2.0, apart_from="kind 5"), "apart, too": Kind(apart_from="kind 5")}
    at_s = {step.kind: step.at_s for step in reversed(schedule(seed, 60, kinds))}
    assert at_s.keys() == kinds.keys()
    assert abs(at_s["apart"] - at_s["kind 5"]) > 15
    assert abs(at_s["apart, too"] - at_s["kind 5"]) > 15


def test_the_last_faults_are_those_that_are_named() -> None:
    """In their order, after all others."""
    steps = schedule(5, 60, KINDS, ("rare", "kind 3"))
    assert [step.kind for step in steps[-2:]] == ["rare", "kind 3"]
    assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
    assert steps[-1].at_s < 60


def test_each_kind_of_fault_keeps_its_bounds() -> None:
    """However long the run is."""
    steps = schedule(3, 2_000, KINDS)
    assert kinds_of(steps)["rare"] == 2
    assert min(kinds_of(steps)[kind] for kind in KINDS if kind != "rare") > 10
    for step in steps:
        assert KINDS[step.kind].shortest_s <= step.lasts_s <= KINDS[step.kind].longest_s
