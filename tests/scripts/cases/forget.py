"""What `forget` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.protocol import forgetting
from headrace_worker.protocol.forgetting import Forgotten
from tests.scripts.cases.case import FUTURE, PAST, RETENTION, Lines, Step, case, header, run_line, seed_record
from tests.scripts.state import Changes, World


def _forget(
    world: World,
    ids: Sequence[str],
    changes: Changes,
    *,
    letters: int = 1,
    following: Sequence[str] = (),
    count: int = 2,
) -> Step:
    """The dead letter of the bystanders, of 1970, was kept long enough."""
    call = forgetting.forget(world.keys, ids, RETENTION, count)
    gone: Lines = {"dead 1-0": None} if letters else {}
    return Step(call, Forgotten(letters, list(following)), {**gone, **changes})


def _seed_faded(world: World, event_id: str, faded: int = PAST, *, ends: bool = True) -> None:
    fields: dict[str, str | int] = {"r:app/job": run_line("s", "-", finished=PAST, outcome="an output"), "w": 1}
    seed_record(world, event_id, runs="1", fields=fields)
    world.seed("ZADD", "fading", faded, event_id)
    if ends:
        world.seed("PEXPIRE", f"event:{event_id}", 500_000)


def _bare(event_id: str) -> Lines:
    gone: Lines = {f"event:{event_id} {field}": None for field in ("e", "r:app/job", "w")}
    return gone | {f"fading {event_id}": None}


@case
def contents_kept_long_enough(world: World) -> Step:
    """The header alone is left, as long as the record would have been."""
    _seed_faded(world, "e1")
    return _forget(world, ["e1"], _bare("e1"))


@case
def several(world: World) -> Step:
    """Each is looked at, and the next are told, so many at most."""
    for number in range(1, 6):
        _seed_faded(world, f"e{number}", PAST + number)
    return _forget(world, ["e1", "e2"], _bare("e1") | _bare("e2"), following=["e3", "e4"])


@case
def the_first_look(world: World) -> Step:
    """Without names nothing is taken from a record, and those are told whose time has come."""
    _seed_faded(world, "e1")
    _seed_faded(world, "e2", FUTURE)
    return _forget(world, [], {}, following=["e1"])


@case
def contents_that_are_kept(world: World) -> Step:
    """What has been settled again since is kept from then on."""
    _seed_faded(world, "e1", FUTURE)
    return _forget(world, ["e1"], {})


@case
def an_event_with_runs_again(world: World) -> Step:
    """A run that was started again by hand needs the payload: the record has no end, and stays."""
    _seed_faded(world, "e1", ends=False)
    return _forget(world, ["e1"], {"fading e1": None})


@case
def a_record_that_is_gone(world: World) -> Step:
    """Nothing is made of it."""
    world.seed("ZADD", "fading", PAST, "e1")
    return _forget(world, ["e1"], {"fading e1": None})


@case
def a_header_alone(world: World) -> Step:
    """What is bare already stays as it is."""
    world.seed("HSET", "event:e1", "m", header(runs="1"))
    world.seed("PEXPIRE", "event:e1", 500_000)
    world.seed("ZADD", "fading", PAST, "e1")
    return _forget(world, ["e1"], {"fading e1": None})


@case
def an_event_that_does_not_fade(world: World) -> Step:
    """A name that is not noted loses nothing."""
    seed_record(world, "e1", runs="1")
    return _forget(world, ["e1"], {})


@case
def dead_letters(world: World) -> Step:
    """Old ones go, so many at most in each call, and fresh ones stay."""
    for number in (2, 3):
        world.entry("dead", f"{number}-0", {"run": "e:app/job", "reason": "failed", "error": ""})
    world.entry("dead", f"{FUTURE}-0", {"run": "e:app/job", "reason": "failed", "error": ""})
    return _forget(world, [], {"dead 2-0": None}, letters=2)
