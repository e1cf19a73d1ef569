"""On a server at its maxmemory a script either passes whole or is refused whole, as its header says."""

from __future__ import annotations

import pytest

from headrace import ServerFull
from tests.scripts.cases import CASES, Case
from tests.scripts.limits import Limits
from tests.scripts.source import header_of
from tests.scripts.state import expected


@pytest.mark.parametrize("case", CASES, ids=str)
def test_full_server(case: Case, limits: Limits) -> None:
    """What ends work passes with every one of its changes; what begins work is refused with nothing written."""
    step = limits.arrange(case)
    header = " ".join(header_of(case.script))
    ran = limits.keyspace.run(step.call, under=limits.full())
    if step.full == "passes":
        assert ran.gave == expected(step.gives)
        assert ran.changes == step.changes
        assert "frees first" in header or case.script == "take" or not step.changes
    else:
        assert ran.gave[0] is ServerFull
        assert ran.changes == {}
        assert "adds first" in header
