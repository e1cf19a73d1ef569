"""A key of another type, which some other program wrote, makes a script fail before its first write or not at all."""

from __future__ import annotations

import pytest

from headrace import ServerError
from tests.scripts.cases import CASES, Case
from tests.scripts.limits import Limits, keys_of
from tests.scripts.state import expected

_OPTIONAL = ("wake-up:", "wake")
"""What rings a wake-up stream may fail: everyone looks after a while anyway."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_foreign_type(case: Case, limits: Limits) -> None:
    """Under each key in turn: an error and nothing written or, where the case writes nothing there, all as ever."""
    step = limits.arrange(case)
    for key in keys_of(step.call):
        step = limits.arrange(case)
        name = key.removeprefix(limits.keyspace.keys.prefix)
        limits.keyspace.plant(name)
        ran = limits.keyspace.run(step.call)
        elsewhere = {line: fact for line, fact in step.changes.items() if line.partition(" ")[0] != name}
        if isinstance(ran.gave, tuple) and ran.gave[0] is ServerError:
            assert ran.changes == {}, name
        elif case.script == "take":  # the answer must have what is delivered
            assert ran.changes.items() <= elsewhere.items(), name
        elif case.script == "dead_letter" and name.startswith("event:"):  # it may be what is wrong with the entry
            assert ran.gave == expected(step.gives)
            letter = ran.changes.get("dead new-1")
            assert letter is None or "run" not in letter
        elif case.script == "forget" and name.startswith("event:"):  # what is no hash is passed over
            assert ran.gave == expected(step.gives)
            assert ran.changes == elsewhere, name
        else:
            assert len(elsewhere) == len(step.changes) or name.startswith(_OPTIONAL), f"{name} was not written"
            assert ran.gave == expected(step.gives), name
            assert ran.changes == elsewhere, name
