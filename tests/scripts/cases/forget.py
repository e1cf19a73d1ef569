"""What `forget` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.protocol import forgetting
from headrace_worker.protocol.forgetting import Forgotten
from tests.scripts.cases.case import FUTURE, PAST, RETENTION, Lines, Step, case, header, run_line, seed_record
from tests.scripts.state import Changes, Keyspace


def _forget(
    keyspace: Keyspace,
    ids: Sequence[str],
    changes: Changes,
    *,
    letters: int = 1,
    following: Sequence[str] = (),
    count: int = 2,
) -> Step:
    """The dead letter of the bystanders, of 1970, was kept long enough."""
    call = forgetting.forget(keyspace.keys, ids, RETENTION, count)
    gone: Lines = {"dead 1-0": None} if letters else {}
    return Step(call, Forgotten(letters, 0, list(following)), {**gone, **changes})


def _seed_faded(keyspace: Keyspace, event_id: str, faded: int = PAST, *, ends: bool = True) -> None:
    fields: dict[str, str | int] = {"r:app/job": run_line("s", "-", finished=PAST, outcome="an output"), "w": 1}
    seed_record(keyspace, event_id, runs="1", fields=fields)
    keyspace.seed("ZADD", "fading", faded, event_id)
    if ends:
        keyspace.seed("PEXPIRE", f"event:{event_id}", 500_000)


def _bare(event_id: str) -> Lines:
    gone: Lines = {f"event:{event_id} {field}": None for field in ("e", "r:app/job", "w")}
    return gone | {f"fading {event_id}": None}


@case
def contents_kept_long_enough(keyspace: Keyspace) -> Step:
    """The header alone is left, as long as the record would have been."""
    _seed_faded(keyspace, "e1")
    return _forget(keyspace, ["e1"], _bare("e1"))


@case
def several(keyspace: Keyspace) -> Step:
    """Each record is looked at, and the answer has the next ids, so many at most."""
    for number in range(1, 6):
        _seed_faded(keyspace, f"e{number}", PAST + number)
    return _forget(keyspace, ["e1", "e2"], _bare("e1") | _bare("e2"), following=["e3", "e4"])


@case
def the_first_look(keyspace: Keyspace) -> Step:
    """Without ids no record changes, and the answer has the ids whose time has come."""
    _seed_faded(keyspace, "e1")
    _seed_faded(keyspace, "e2", FUTURE)
    return _forget(keyspace, [], {}, following=["e1"])


@case
def contents_that_are_kept(keyspace: Keyspace) -> Step:
    """What has been settled again since is kept from then on."""
    _seed_faded(keyspace, "e1", FUTURE)
    return _forget(keyspace, ["e1"], {})


@case
def an_event_with_runs_again(keyspace: Keyspace) -> Step:
    """A run that was started again by hand needs the payload: the record has no end, and stays."""
    _seed_faded(keyspace, "e1", ends=False)
    return _forget(keyspace, ["e1"], {"fading e1": None})


@case
def a_record_that_is_gone(keyspace: Keyspace) -> Step:
    """Nothing is made of it."""
    keyspace.seed("ZADD", "fading", PAST, "e1")
    return _forget(keyspace, ["e1"], {"fading e1": None})


@case
def a_header_alone(keyspace: Keyspace) -> Step:
    """What is bare already stays as it is."""
    keyspace.seed("HSET", "event:e1", "m", header(runs="1"))
    keyspace.seed("PEXPIRE", "event:e1", 500_000)
    keyspace.seed("ZADD", "fading", PAST, "e1")
    return _forget(keyspace, ["e1"], {"fading e1": None})


@case
def an_event_that_does_not_fade(keyspace: Keyspace) -> Step:
    """A name that is not noted loses nothing."""
    seed_record(keyspace, "e1", runs="1")
    return _forget(keyspace, ["e1"], {})


@case
def dead_letters(keyspace: Keyspace) -> Step:
    """Old ones go, so many at most in each call, and fresh ones stay."""
    for number in (2, 3):
        keyspace.entry("dead", f"{number}-0", {"run": "e:app/job", "reason": "failed", "error": ""})
    keyspace.entry("dead", f"{FUTURE}-0", {"run": "e:app/job", "reason": "failed", "error": ""})
    return _forget(keyspace, [], {"dead 2-0": None}, letters=2)
