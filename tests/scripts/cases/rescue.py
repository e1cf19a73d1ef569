"""What `rescue` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.protocol import reading, rescuing
from headrace_worker.protocol.rescuing import PendingEntry
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
from tests.scripts.state import NOW, Changes, Keyspace

_LOOK_MS = 20_000
_HOLDS, _QUIET = -1, -2
_FENCED: Lines = {"worker:w1 fenced": NOW, "workers w1": "<now+20s>"}


def _seed_worker(keyspace: Keyspace, ends: int = PAST, *, fenced: bool = False) -> None:
    keyspace.seed("ZADD", "workers", ends, "w1")
    keyspace.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")
    if fenced:
        keyspace.seed("HSET", "worker:w1", "fenced", LONG_PAST)


def _seed_held(keyspace: Keyspace, state: str = "") -> PendingEntry:
    fields: dict[str, str | int] = {"r:app/job": run_line("x", "5-0", worker="w1", started=PAST)}
    seed_record(keyspace, "e1", runs="1", fields=fields)
    seed_entry(keyspace, "5-0", "e1", state=state)
    return PendingEntry("5-0", keyspace.keys.event("e1"), "app/job")


def _back(state: str = "1 1 0 0 0") -> Lines:
    attempts = f"{state[0]} lost w1 {PAST} <now> -"
    return _unlisted(state) | {"event:e1 a:app/job": attempts}


def _unlisted(state: str = "1 1 0 0 0") -> Lines:
    return {
        "queue:app/default 5-0": None,
        "queue:app/default workers w1": "",
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": state, "b": BODY},
        "event:e1 r:app/job": run_line("q", "new-1", state=state.rpartition(" ")[0]),
        "wake-up:app new-1": {"r": ""},
    }


def _rescue(keyspace: Keyspace, held: Sequence[PendingEntry], gives: int, changes: Changes) -> Step:
    call = rescuing.rescue(keyspace.keys, "w1", queue(keyspace), held, dead=True, look_again_ms=_LOOK_MS, app="app")
    return Step(call, gives, changes)


@case
def a_dead_worker(keyspace: Keyspace) -> Step:
    """A worker whose lease has run out is fenced, and its run is queued again with one more lost worker."""
    _seed_worker(keyspace)
    return _rescue(keyspace, [_seed_held(keyspace)], 1, _FENCED | _back())


@case
def a_dead_worker_that_holds_nothing(keyspace: Keyspace) -> Step:
    """A dead worker is fenced even without pending entries: the server may still deliver some to it."""
    _seed_worker(keyspace)
    return _rescue(keyspace, [], 0, _FENCED)


@case
def a_run_of_a_later_attempt(keyspace: Keyspace) -> Step:
    """Attempt, replay and the wait for its job stay as they were, and so do workers lost before."""
    _seed_worker(keyspace)
    return _rescue(keyspace, [_seed_held(keyspace, "3 1 7 1 9000")], 1, _FENCED | _back("3 2 7 1 9000"))


@case
def several(keyspace: Keyspace) -> Step:
    """Entries are back in their order; entries that are not pending any more are left alone."""
    _seed_worker(keyspace)
    first = _seed_held(keyspace)
    seed_record(keyspace, "e2", runs="1", fields={"r:app/job": run_line("q", "6-0")})
    seed_run(keyspace, "6-0", "e2", state="1 0 0 0 0")
    settled = PendingEntry("4-0", keyspace.keys.event("e3"), "app/job")
    changes = (
        _FENCED
        | _back()
        | {
            "queue:app/default 6-0": None,
            "queue:app/default new-2": {"e": "e2", "j": "job", "s": "1 1 0 0 0", "b": BODY},
            "event:e2 r:app/job": run_line("q", "new-2", state="1 1 0 0"),
            "event:e2 a:app/job": "1 lost w1 0 <now> -",
        }
    )
    return _rescue(keyspace, [first, settled, PendingEntry("6-0", keyspace.keys.event("e2"), "app/job")], 2, changes)


@case
def a_lease_that_holds(keyspace: Keyspace) -> Step:
    """A worker whose lease holds keeps its name and its runs."""
    _seed_worker(keyspace, FUTURE)
    return _rescue(keyspace, [_seed_held(keyspace)], _HOLDS, {})


@case
def a_quiet_time(keyspace: Keyspace) -> Step:
    """In the quiet time after a gap no worker is rescued, so that live workers renew first."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "meta", "quiet", FUTURE)
    return _rescue(keyspace, [_seed_held(keyspace)], _QUIET, {})


@case
def after_a_quiet_time(keyspace: Keyspace) -> Step:
    """Once the quiet time is over a dead worker is rescued."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "meta", "quiet", PAST)
    return _rescue(keyspace, [_seed_held(keyspace)], 1, _FENCED | _back())


@case
def a_second_look(keyspace: Keyspace) -> Step:
    """Entries that were delivered to a fenced worker after its rescue are found, and the leader will look again."""
    _seed_worker(keyspace, FUTURE, fenced=True)
    return _rescue(keyspace, [_seed_held(keyspace)], 1, _FENCED | _back())


@case
def a_second_look_in_a_quiet_time(keyspace: Keyspace) -> Step:
    """A quiet time does not protect a name that is fenced already."""
    _seed_worker(keyspace, PAST, fenced=True)
    keyspace.seed("HSET", "meta", "quiet", FUTURE)
    return _rescue(keyspace, [_seed_held(keyspace)], 1, _FENCED | _back())


@case
def a_second_look_at_nothing(keyspace: Keyspace) -> Step:
    """A second look that finds nothing puts the last one off no further."""
    _seed_worker(keyspace, PAST, fenced=True)
    return _rescue(keyspace, [], 0, {})


@case
def a_second_look_at_what_is_settled(keyspace: Keyspace) -> Step:
    """Entries that are not pending any more delay the last look no further."""
    _seed_worker(keyspace, PAST, fenced=True)
    return _rescue(keyspace, [PendingEntry("4-0", keyspace.keys.event("e1"), "app/job")], 0, {})


@case
def an_unknown_worker(keyspace: Keyspace) -> Step:
    """A name without a lease and without a hash is fenced as well, and its run rescued."""
    return _rescue(keyspace, [_seed_held(keyspace)], 1, _FENCED | _back())


@case
def an_unknown_worker_that_holds_nothing(keyspace: Keyspace) -> Step:
    """A name that was forgotten since it was found to be dead does not come back."""
    return _rescue(keyspace, [], 0, {})


@case
def a_worker_without_a_lease_that_holds_nothing(keyspace: Keyspace) -> Step:
    """A name that has a hash only is fenced, so that it is forgotten after its last look."""
    _seed_worker(keyspace)
    keyspace.seed("ZREM", "workers", "w1")
    return _rescue(keyspace, [], 0, _FENCED)


@case
def a_damaged_state(keyspace: Keyspace) -> Step:
    """An entry whose state the script can't read is back as it is, for a fetcher to dead-letter."""
    _seed_worker(keyspace)
    held = _seed_held(keyspace, "1 -1 0 0 8")
    changes = (
        _FENCED
        | _unlisted()
        | {
            "queue:app/default new-1": {"e": "e1", "j": "job", "s": "1 -1 0 0 8", "b": BODY},
        }
    )
    del changes["event:e1 r:app/job"]
    return _rescue(keyspace, [held], 1, changes)


@case
def a_lost_record(keyspace: Keyspace) -> Step:
    """A run whose record is gone is queued again all the same, and says so."""
    _seed_worker(keyspace)
    seed_run(keyspace, "5-0", "e1")
    return _rescue(keyspace, [PendingEntry("5-0", keyspace.keys.event("e1"), "app/job")], 1, _FENCED | _unlisted())


@case
def events_of_a_dead_worker(keyspace: Keyspace) -> Step:
    """Events that a dead worker was dispatching are back in `events`, with nothing counted."""
    _seed_worker(keyspace)
    held, changes = _seed_events(keyspace)
    call = rescuing.rescue(
        keyspace.keys, "w1", reading.events_stream(keyspace.keys), held, dead=True, look_again_ms=_LOOK_MS, app="app"
    )
    return Step(call, 2, _FENCED | changes)


def _seed_events(keyspace: Keyspace) -> tuple[list[PendingEntry], Lines]:
    for entry in ("5-0", "6-0"):
        keyspace.entry("events", entry, {"i": f"e{entry[0]}", "z": 8, "b": BODY})
    keyspace.hold("events", "dispatch", "w1", "5-0", "6-0")
    changes: Lines = {
        "events 5-0": None,
        "events 6-0": None,
        "events dispatch w1": "",
        "events new-1": {"i": "e5", "z": "8", "b": BODY},
        "events new-2": {"i": "e6", "z": "8", "b": BODY},
    }
    return [PendingEntry("5-0"), PendingEntry("6-0")], changes


def _mind_seat(keyspace: Keyspace, held: Sequence[PendingEntry], gives: int, changes: Changes) -> Step:
    stream = reading.events_stream(keyspace.keys)
    return Step(
        rescuing.rescue(keyspace.keys, "w1", stream, held, dead=False, look_again_ms=_LOOK_MS, app="app"),
        gives,
        changes,
    )


@case
def a_seat_that_has_run_out(keyspace: Keyspace) -> Step:
    """The events of a worker whose slot has expired are back; the slot stays, and its name is not fenced."""
    _seed_worker(keyspace, FUTURE)
    keyspace.seed("ZADD", "dispatchers", PAST, "w1")
    held, changes = _seed_events(keyspace)
    return _mind_seat(keyspace, held, 2, changes)


@case
def a_seat_that_is_gone(keyspace: Keyspace) -> Step:
    """The events of a worker without a dispatcher slot are back as well."""
    _seed_worker(keyspace, FUTURE)
    held, changes = _seed_events(keyspace)
    return _mind_seat(keyspace, held, 2, changes)


@case
def a_seat_that_holds(keyspace: Keyspace) -> Step:
    """A worker whose dispatcher slot holds keeps its events."""
    _seed_worker(keyspace, FUTURE)
    keyspace.seed("ZADD", "dispatchers", FUTURE, "w1")
    return _mind_seat(keyspace, _seed_events(keyspace)[0], _HOLDS, {})


@case
def a_seat_in_a_quiet_time(keyspace: Keyspace) -> Step:
    """In the quiet time after a gap no dispatcher slot is minded, not even that of a fenced worker."""
    _seed_worker(keyspace, FUTURE, fenced=True)
    keyspace.seed("ZADD", "dispatchers", PAST, "w1")
    keyspace.seed("HSET", "meta", "quiet", FUTURE)
    return _mind_seat(keyspace, _seed_events(keyspace)[0], _QUIET, {})


@case
def a_seat_without_events(keyspace: Keyspace) -> Step:
    """An expired dispatcher slot of a worker without pending events changes nothing."""
    _seed_worker(keyspace, FUTURE)
    keyspace.seed("ZADD", "dispatchers", PAST, "w1")
    return _mind_seat(keyspace, [], 0, {})


def _seed_routes(keyspace: Keyspace, fingerprint: str, *, is_alone: bool) -> None:
    keyspace.seed("HSET", "routes:app", f"n:{fingerprint}", 2, f"s:{fingerprint}", "subscriptions", "w:w1", fingerprint)
    if is_alone:
        keyspace.seed("HDEL", "routes:app", "w:w0")


@case
def one_of_several_with_its_subscriptions(keyspace: Keyspace) -> Step:
    """While another worker has them, the routes do not change."""
    _seed_worker(keyspace)
    _seed_routes(keyspace, "f0", is_alone=False)
    return _rescue(keyspace, [], 0, _FENCED | {"routes:app w:w1": None, "routes:app d:w1": "f0"})


@case
def the_last_with_its_subscriptions(keyspace: Keyspace) -> Step:
    """Where others of the app live, its subscriptions count no more from now on."""
    _seed_worker(keyspace)
    _seed_routes(keyspace, "f1", is_alone=False)
    gone: Lines = {"routes:app w:w1": None, "routes:app d:w1": "f1", "routes:version": "2"}
    return _rescue(keyspace, [], 0, _FENCED | gone)


@case
def the_last_of_its_app(keyspace: Keyspace) -> Step:
    """Without a live worker of the app the dead worker's subscriptions count on: events still wait for its jobs."""
    _seed_worker(keyspace)
    _seed_routes(keyspace, "f1", is_alone=True)
    gone: Lines = {"routes:app w:w1": None, "routes:app d:w1": "f1", "routes:app last": "f1", "routes:version": "2"}
    return _rescue(keyspace, [], 0, _FENCED | gone)
