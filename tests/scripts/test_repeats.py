"""A call whose reply was lost can be made again: what it has done is not done twice."""

from __future__ import annotations

import pytest

from tests.scripts.cases import CASES, Case
from tests.scripts.limits import Limits

_BY_DESIGN = {"take", "renew", "register", "set_back", "forget", "report"}
"""What is delivered a first time is told once; a lease holds on from each renewal; of what is done in parts each call
does the next; what was counted is added."""


@pytest.mark.parametrize("case", [case for case in CASES if case.script not in _BY_DESIGN], ids=str)
def test_repeat(case: Case, limits: Limits) -> None:
    """The same call again changes nothing more, though it may ring a wake-up stream, and a time from now moves on."""
    step = limits.arrange(case)
    first = limits.keyspace.run(step.call).changes
    again = limits.keyspace.run(step.call).changes
    moved_on = {(line, fact) for line, fact in first.items() if "<now+" in str(fact)}
    assert {each for each in again.items() if not each[0].startswith("wake-up:")} <= moved_on


@pytest.mark.parametrize("case", [case for case in CASES if case.script == "register"], ids=str)
def test_a_repeated_registration(case: Case, limits: Limits) -> None:
    """A worker that registers again has its lease from now on, and the routes do not change again."""
    step = limits.arrange(case)
    first = limits.keyspace.run(step.call)
    again = limits.keyspace.run(step.call)
    assert again.gave == first.gave
    assert set(again.changes) <= {"workers w1"}
