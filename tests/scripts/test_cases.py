"""Each script does in each case what its header says, and nothing else: the whole state is compared."""

from __future__ import annotations

import pytest

from tests.scripts.cases import CASES, Case
from tests.scripts.source import arguments_of as described_of
from tests.scripts.state import Keyspace, expected
from tests.support.calls import arguments_of

pytestmark = pytest.mark.leaves_records


@pytest.mark.parametrize("case", CASES, ids=str)
def test_script(case: Case, keyspace: Keyspace) -> None:
    """The call gives what the case says, and every line of the state is as it says, or as it was."""
    step = case.arrange(keyspace)
    ran = keyspace.run(step.call)
    assert ran.gave == expected(step.gives)
    assert ran.changes == step.changes


@pytest.mark.parametrize("case", [case for case in CASES if described_of(case.script)], ids=str)
def test_arguments_are_those_of_the_header(case: Case, keyspace: Keyspace) -> None:
    """The call names the arguments that the script's header describes, in the header's order."""
    assert list(arguments_of(case.arrange(keyspace).call)) == described_of(case.script)
