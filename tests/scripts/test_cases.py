"""Each script does in each case what its header says, and nothing else: the whole state is compared."""

from __future__ import annotations

import pytest

from tests.scripts.cases import CASES, Case
from tests.scripts.state import Keyspace, expected

pytestmark = pytest.mark.leaves_records


@pytest.mark.parametrize("case", CASES, ids=str)
def test_script(case: Case, keyspace: Keyspace) -> None:
    """The call gives what the case says, and every line of the state is as it says, or as it was."""
    step = case.arrange(keyspace)
    ran = keyspace.run(step.call)
    assert ran.gave == expected(step.gives)
    assert ran.changes == step.changes
