"""A stream in which something else has written the last entry id that there is takes none for ever; nothing is lost."""

from __future__ import annotations

import re

import pytest

from headrace import StreamExhausted
from tests.scripts.cases import CASES, Case, seed_bystanders
from tests.scripts.limits import keys_of
from tests.scripts.state import Changes, Keyspace, expected

pytestmark = pytest.mark.leaves_records

_LAST = "18446744073709551615-18446744073709551615"
_STREAM = re.compile(r"events|recent|runs|dead|queue:.*|wake-up:.*")
_LISTS = re.compile(r"(recent|runs|dead|wake-up:\S+)( .*)?|wake 0")
"""What tells of something and is no part of it."""


def _exhaust(keyspace: Keyspace, stream: str) -> None:
    """The entry itself is gone, as after it was read and dead-lettered."""
    keyspace.seed("XADD", stream, _LAST, "r", "")
    keyspace.seed("XDEL", stream, _LAST)


def _is_told(line: str, fact: object) -> bool:
    """A listing or a wake-up stream, or the field of a run that failed and whose dead letter could not be written."""
    return bool(_LISTS.fullmatch(line)) or " 0-0 " in str(fact)


def _is_possible(case: Case) -> bool:
    """No client sends events for now and for later in one call."""
    return case.script not in ("take", "divide") and case.name != "the_earliest_of_several_rings"


@pytest.mark.parametrize("case", [case for case in CASES if _is_possible(case)], ids=str)
def test_a_script_goes_on_or_changes_nothing(case: Case, keyspace: Keyspace) -> None:
    """Only what tells of something may be missing; else the call is refused whole."""
    prefix = keyspace.keys.prefix
    keyspace.seed_nothing()
    streams = {key.removeprefix(prefix) for key in keys_of(case.arrange(keyspace).call)}
    for stream in sorted(each for each in streams if _STREAM.fullmatch(each)):
        keyspace.empty()
        seed_bystanders(keyspace)
        step = case.arrange(keyspace)
        _exhaust(keyspace, stream)
        ran = keyspace.run(step.call)
        if isinstance(ran.gave, tuple) and ran.gave[0] is StreamExhausted:
            assert ran.changes == {}, stream
            continue
        if case.script == "promote":
            _assert_none_is_lost(ran.gave[1]["dropped"], ran.changes)
            continue
        assert ran.gave == expected(step.gives), stream
        lines = {*step.changes, *ran.changes}
        differ = {line for line in lines if ran.changes.get(line, "") != step.changes.get(line, "")}
        assert all(line == stream or _is_told(line, ran.changes.get(line)) for line in differ), (stream, differ)


def _assert_none_is_lost(dropped: int, changes: Changes) -> None:
    """What is not in its stream is due again."""
    gone = [line for line, fact in changes.items() if line.startswith("due ") and fact is None]
    moved = [line for line in changes if re.match(r"(events|queue:\S+) new-", line)]
    assert len(gone) == len(moved) + dropped
