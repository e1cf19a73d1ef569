"""What `set_back` must give and change."""

from __future__ import annotations

from headrace_worker.protocol import due
from tests.scripts.cases.case import FUTURE, PAST, Step, case, turn
from tests.scripts.state import Changes, Keyspace

_BY, _STOOD = 3_600_000, 2_000_000_000_000
"""An hour, and where the clock stood before; in ms."""


def _set_back(
    keyspace: Keyspace, gives: int, changes: Changes, *, from_ms: int | None = _STOOD, count: int = 10
) -> Step:
    keyspace.seed("ZREM", "due", "e:later", "r:default:waiting:app/job")
    if from_ms is not None:
        keyspace.seed("HSET", "meta", "back", f"{_BY} {from_ms}")
    return Step(due.set_back(keyspace.keys, count), gives, changes)


@case
def no_clock_that_went_back(keyspace: Keyspace) -> Step:
    """Nothing is looked at."""
    keyspace.seed("ZADD", "due", _STOOD + 1, "r:default:e1:app/job")
    return _set_back(keyspace, 0, {}, from_ms=None)


@case
def runs(keyspace: Keyspace) -> Step:
    """Run that wait are due as much earlier; events, and what was due before, stay."""
    keyspace.seed("ZADD", "due", PAST, "r:default:e0:app/job", _STOOD + 1, "r:default:e1:app/job")
    keyspace.seed("ZADD", "due", _STOOD + 2, "e:e2", _STOOD + 3, turn("e3"))
    changes = {
        "due r:default:e1:app/job": str(_STOOD + 1 - _BY),
        f"due {turn('e3')}": str(_STOOD + 3 - _BY),
        "meta back": f"{_BY} {_STOOD + 3}",
    }
    return _set_back(keyspace, 3, changes)


@case
def a_part(keyspace: Keyspace) -> Step:
    """No more are looked at than asked for, and those of one millisecond stay together."""
    keyspace.seed("ZADD", "due", _STOOD + 1, "r:default:e1:app/job")
    keyspace.seed("ZADD", "due", _STOOD + 2, "r:default:e2:app/job", _STOOD + 2, "r:default:e3:app/job")
    changes = {"due r:default:e1:app/job": str(_STOOD + 1 - _BY), "meta back": f"{_BY} {_STOOD + 1}"}
    return _set_back(keyspace, 1, changes, count=2)


@case
def many_of_one_millisecond(keyspace: Keyspace) -> Step:
    """They are all set back in one call."""
    for number in range(3):
        keyspace.seed("ZADD", "due", _STOOD + 1, f"r:default:e{number}:app/job")
    changes = {f"due r:default:e{number}:app/job": str(_STOOD + 1 - _BY) for number in range(3)}
    return _set_back(keyspace, 3, {**changes, "meta back": f"{_BY} {_STOOD + 1}"}, count=2)


@case
def the_last_part(keyspace: Keyspace) -> Step:
    """When none is left it is over."""
    return _set_back(keyspace, 0, {"meta back": None}, from_ms=FUTURE)
