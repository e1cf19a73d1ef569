"""What `rescue` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.protocol import reading, rescuing
from headrace_worker.protocol.rescuing import HeldEntry
from tests.scripts.cases.case import (
    BODY,
    FUTURE,
    LONG_PAST,
    PAST,
    Lines,
    Step,
    case,
    queue,
    run_line,
    seed_entry,
    seed_record,
    seed_run,
)
from tests.scripts.state import NOW, Changes, World

_LOOK_MS = 20_000
_HOLDS, _QUIET = -1, -2
_FENCED: Lines = {"worker:w1 fenced": NOW, "workers w1": "<now+20s>"}


def _seed_worker(world: World, ends: int = PAST, *, fenced: bool = False) -> None:
    world.seed("ZADD", "workers", ends, "w1")
    world.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")
    if fenced:
        world.seed("HSET", "worker:w1", "fenced", LONG_PAST)


def _seed_held(world: World, state: str = "") -> HeldEntry:
    fields: dict[str, str | int] = {"r:app/job": run_line("x", "5-0", worker="w1", started=PAST)}
    seed_record(world, "e1", runs="1", fields=fields)
    seed_entry(world, "5-0", "e1", state=state)
    return HeldEntry("5-0", world.keys.event("e1"), "app/job")


def _back(state: str = "1 1 0 0 0") -> Lines:
    return {
        "queue:app/default 5-0": None,
        "queue:app/default workers w1": "",
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": state, "b": BODY},
        "event:e1 r:app/job": run_line("q", "new-1", state=state.rpartition(" ")[0]),
        "wake-up:app new-1": {"r": ""},
    }


def _rescue(world: World, held: Sequence[HeldEntry], gives: int, changes: Changes) -> Step:
    call = rescuing.rescue(world.keys, "w1", queue(world), held, dead=True, look_again_ms=_LOOK_MS, app="app")
    return Step(call, gives, changes)


@case
def a_dead_worker(world: World) -> Step:
    """A worker whose lease has run out is fenced, and its run is queued again with one more lost worker."""
    _seed_worker(world)
    return _rescue(world, [_seed_held(world)], 1, _FENCED | _back())


@case
def a_dead_worker_that_holds_nothing(world: World) -> Step:
    """A dead worker is fenced even if nothing is in its hands: something may still be handed to it."""
    _seed_worker(world)
    return _rescue(world, [], 0, _FENCED)


@case
def a_run_of_a_later_attempt(world: World) -> Step:
    """Attempt, replay and the wait for its job stay as they were, and so do workers lost before."""
    _seed_worker(world)
    return _rescue(world, [_seed_held(world, "3 1 7 1 9000")], 1, _FENCED | _back("3 2 7 1 9000"))


@case
def several(world: World) -> Step:
    """Entries are back in their order; those that are in nobody's hands any more are left alone."""
    _seed_worker(world)
    first = _seed_held(world)
    seed_record(world, "e2", runs="1", fields={"r:app/job": run_line("q", "6-0")})
    seed_run(world, "6-0", "e2", state="1 0 0 0 0")
    settled = HeldEntry("4-0", world.keys.event("e3"), "app/job")
    changes = (
        _FENCED
        | _back()
        | {
            "queue:app/default 6-0": None,
            "queue:app/default new-2": {"e": "e2", "j": "job", "s": "1 1 0 0 0", "b": BODY},
            "event:e2 r:app/job": run_line("q", "new-2", state="1 1 0 0"),
        }
    )
    return _rescue(world, [first, settled, HeldEntry("6-0", world.keys.event("e2"), "app/job")], 2, changes)


@case
def a_lease_that_holds(world: World) -> Step:
    """A worker whose lease holds keeps its name and its runs."""
    _seed_worker(world, FUTURE)
    return _rescue(world, [_seed_held(world)], _HOLDS, {})


@case
def a_quiet_time(world: World) -> Step:
    """In the quiet time after a gap nobody is rescued, so that the living renew first."""
    _seed_worker(world)
    world.seed("HSET", "meta", "quiet", FUTURE)
    return _rescue(world, [_seed_held(world)], _QUIET, {})


@case
def after_a_quiet_time(world: World) -> Step:
    """Once the quiet time is over a dead worker is rescued."""
    _seed_worker(world)
    world.seed("HSET", "meta", "quiet", PAST)
    return _rescue(world, [_seed_held(world)], 1, _FENCED | _back())


@case
def a_second_look(world: World) -> Step:
    """What was handed to a fenced worker after its rescue is found, and it will be looked at once more."""
    _seed_worker(world, FUTURE, fenced=True)
    return _rescue(world, [_seed_held(world)], 1, _FENCED | _back())


@case
def a_second_look_in_a_quiet_time(world: World) -> Step:
    """A quiet time does not protect a name that is fenced already."""
    _seed_worker(world, PAST, fenced=True)
    world.seed("HSET", "meta", "quiet", FUTURE)
    return _rescue(world, [_seed_held(world)], 1, _FENCED | _back())


@case
def a_second_look_at_nothing(world: World) -> Step:
    """A second look that finds nothing puts the last one off no further."""
    _seed_worker(world, PAST, fenced=True)
    return _rescue(world, [], 0, {})


@case
def a_second_look_at_what_is_settled(world: World) -> Step:
    """Entries that are in nobody's hands any more put the last look off no further."""
    _seed_worker(world, PAST, fenced=True)
    return _rescue(world, [HeldEntry("4-0", world.keys.event("e1"), "app/job")], 0, {})


@case
def an_unknown_worker(world: World) -> Step:
    """A name without a lease and without a hash is fenced as well, and its run rescued."""
    return _rescue(world, [_seed_held(world)], 1, _FENCED | _back())


@case
def an_unknown_worker_that_holds_nothing(world: World) -> Step:
    """A name that was forgotten since it was found to be dead does not come back."""
    return _rescue(world, [], 0, {})


@case
def a_worker_without_a_lease_that_holds_nothing(world: World) -> Step:
    """A name that has a hash only is fenced, so that it is forgotten after its last look."""
    _seed_worker(world)
    world.seed("ZREM", "workers", "w1")
    return _rescue(world, [], 0, _FENCED)


@case
def a_damaged_state(world: World) -> Step:
    """An entry whose state the script can't read is back as it is, for a fetcher to set aside."""
    _seed_worker(world)
    held = _seed_held(world, "1 -1 0 0 8")
    changes = (
        _FENCED
        | _back()
        | {
            "queue:app/default new-1": {"e": "e1", "j": "job", "s": "1 -1 0 0 8", "b": BODY},
        }
    )
    del changes["event:e1 r:app/job"]
    return _rescue(world, [held], 1, changes)


@case
def a_lost_record(world: World) -> Step:
    """A run whose record is gone is queued again all the same, and says so."""
    _seed_worker(world)
    seed_run(world, "5-0", "e1")
    return _rescue(world, [HeldEntry("5-0", world.keys.event("e1"), "app/job")], 1, _FENCED | _back())


@case
def events_of_a_dead_worker(world: World) -> Step:
    """Events that a dead worker was dispatching are back in `events`, with nothing counted."""
    _seed_worker(world)
    held, changes = _seed_events(world)
    call = rescuing.rescue(
        world.keys, "w1", reading.events_stream(world.keys), held, dead=True, look_again_ms=_LOOK_MS, app="app"
    )
    return Step(call, 2, _FENCED | changes)


def _seed_events(world: World) -> tuple[list[HeldEntry], Lines]:
    for entry in ("5-0", "6-0"):
        world.entry("events", entry, {"i": f"e{entry[0]}", "z": 8, "b": BODY})
    world.hold("events", "dispatch", "w1", "5-0", "6-0")
    changes: Lines = {
        "events 5-0": None,
        "events 6-0": None,
        "events dispatch w1": "",
        "events new-1": {"i": "e5", "z": "8", "b": BODY},
        "events new-2": {"i": "e6", "z": "8", "b": BODY},
    }
    return [HeldEntry("5-0"), HeldEntry("6-0")], changes


def _mind_seat(world: World, held: Sequence[HeldEntry], gives: int, changes: Changes) -> Step:
    stream = reading.events_stream(world.keys)
    return Step(
        rescuing.rescue(world.keys, "w1", stream, held, dead=False, look_again_ms=_LOOK_MS, app="app"), gives, changes
    )


@case
def a_seat_that_has_run_out(world: World) -> Step:
    """The events of a worker whose slot has expired are back; the slot stays, and its name is not fenced."""
    _seed_worker(world, FUTURE)
    world.seed("ZADD", "dispatchers", PAST, "w1")
    held, changes = _seed_events(world)
    return _mind_seat(world, held, 2, changes)


@case
def a_seat_that_is_gone(world: World) -> Step:
    """The events of a worker without a dispatcher slot are back as well."""
    _seed_worker(world, FUTURE)
    held, changes = _seed_events(world)
    return _mind_seat(world, held, 2, changes)


@case
def a_seat_that_holds(world: World) -> Step:
    """A worker whose dispatcher slot holds keeps its events."""
    _seed_worker(world, FUTURE)
    world.seed("ZADD", "dispatchers", FUTURE, "w1")
    return _mind_seat(world, _seed_events(world)[0], _HOLDS, {})


@case
def a_seat_in_a_quiet_time(world: World) -> Step:
    """In the quiet time after a gap no dispatcher slot is minded, not even that of a fenced worker."""
    _seed_worker(world, FUTURE, fenced=True)
    world.seed("ZADD", "dispatchers", PAST, "w1")
    world.seed("HSET", "meta", "quiet", FUTURE)
    return _mind_seat(world, _seed_events(world)[0], _QUIET, {})


@case
def a_seat_without_events(world: World) -> Step:
    """A seat that has run out with nothing in its worker's hands changes nothing."""
    _seed_worker(world, FUTURE)
    world.seed("ZADD", "dispatchers", PAST, "w1")
    return _mind_seat(world, [], 0, {})


def _seed_routes(world: World, fingerprint: str, *, is_alone: bool) -> None:
    world.seed("HSET", "routes:app", f"n:{fingerprint}", 2, f"s:{fingerprint}", "subscriptions", "w:w1", fingerprint)
    if is_alone:
        world.seed("HDEL", "routes:app", "w:w0")


@case
def one_of_several_with_its_subscriptions(world: World) -> Step:
    """While another worker has them, the routes do not change."""
    _seed_worker(world)
    _seed_routes(world, "f0", is_alone=False)
    return _rescue(world, [], 0, _FENCED | {"routes:app w:w1": None, "routes:app d:w1": "f0"})


@case
def the_last_with_its_subscriptions(world: World) -> Step:
    """Where others of the app live, its subscriptions count no more from now on."""
    _seed_worker(world)
    _seed_routes(world, "f1", is_alone=False)
    gone: Lines = {"routes:app w:w1": None, "routes:app d:w1": "f1", "routes:version": "2"}
    return _rescue(world, [], 0, _FENCED | gone)


@case
def the_last_of_its_app(world: World) -> Step:
    """Where nobody of the app lives, what the dead had counts on: events go on to wait for its jobs."""
    _seed_worker(world)
    _seed_routes(world, "f1", is_alone=True)
    gone: Lines = {"routes:app w:w1": None, "routes:app d:w1": "f1", "routes:app last": "f1", "routes:version": "2"}
    return _rescue(world, [], 0, _FENCED | gone)
