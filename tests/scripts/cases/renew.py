"""What `renew` must give and change."""

from __future__ import annotations

import msgspec

from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Fenced, Movement, Renewed
from tests.scripts.cases.case import FUTURE, PAST, Step, case
from tests.scripts.state import NOW, Changes, World

_LEASE_MS = 60_000
_KEEP_DEAD_MS = 100 * 366 * 86_400_000
_HELD = "<now+60s>"
_RENEWED: Changes = {"workers w1": _HELD, "meta renewed": NOW}


def _seed_worker(world: World, ends: int = FUTURE) -> None:
    world.seed("ZADD", "workers", ends, "w1")
    world.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")


def _renew(
    world: World, gives: Renewed | Fenced, changes: Changes, movement: Movement = "moves", dispatchers: int = 8
) -> Step:
    call = leases.renew(world.keys, "w1", _LEASE_MS, movement, dispatchers=dispatchers, keep_dead_ms=_KEEP_DEAD_MS)
    return Step(call, gives, changes)


def _held(
    *, leads: bool = False, sits: bool = True, dead: list[str] | None = None, expired: list[str] | None = None
) -> Renewed:
    return Renewed(leads, sits, "1", _LEASE_MS, expired or [], dead or [], NOW)


@case
def a_lease(world: World) -> Step:
    """The lease holds on, and while there is a dispatcher slot the worker has one; another leads."""
    _seed_worker(world)
    return _renew(world, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def a_lease_that_has_run_out(world: World) -> Step:
    """A worker that nobody has fenced yet goes on, however late it is."""
    _seed_worker(world, PAST)
    return _renew(world, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def a_fenced_worker(world: World) -> Step:
    """A fenced worker gets nothing, not even the leadership that is free; the time is marked all the same."""
    _seed_worker(world)
    world.seed("HSET", "worker:w1", "fenced", PAST)
    world.seed("DEL", "leader")
    return _renew(world, Fenced(), {"meta renewed": NOW})


@case
def an_unknown_worker(world: World) -> Step:
    """A worker of which nothing is stored gets nothing: nobody would know what it holds."""
    world.seed("ZADD", "workers", FUTURE, "w1")
    return _renew(world, Fenced(), {"meta renewed": NOW})


@case
def the_first_leader(world: World) -> Step:
    """Where nobody leads the worker does."""
    _seed_worker(world)
    world.seed("DEL", "leader")
    return _renew(world, _held(leads=True), {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


@case
def a_leader_that_is_gone(world: World) -> Step:
    """A leadership that has run out goes to the next that renews."""
    _seed_worker(world)
    world.seed("SET", "leader", f"w0 {PAST}")
    return _renew(world, _held(leads=True), {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


@case
def a_damaged_leader(world: World) -> Step:
    """A leader that can't be read is none."""
    _seed_worker(world)
    world.seed("SET", "leader", "damaged")
    return _renew(world, _held(leads=True), {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


@case
def a_leader(world: World) -> Step:
    """The leader goes on to lead, and is told whose leases and dispatcher slots have ended."""
    _seed_leader(world)
    for ends, name in ((PAST, "w8"), (PAST + 1, "w9")):
        world.seed("ZADD", "workers", ends, name)
        world.seed("ZADD", "dispatchers", ends, name)
    gives = _held(leads=True, dead=["w8", "w9"], expired=["w8", "w9"])
    return _renew(world, gives, {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


def _seed_leader(world: World) -> None:
    _seed_worker(world)
    world.seed("SET", "leader", f"w1 {FUTURE}")
    world.seed("ZADD", "dispatchers", FUTURE, "w1")


@case
def what_others_are_told(world: World) -> Step:
    """Who does not lead is told of nobody's end."""
    _seed_worker(world)
    world.seed("ZADD", "workers", PAST, "w9")
    return _renew(world, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def stuck(world: World) -> Step:
    """A worker that does not move keeps its lease, and dispatcher slot and leadership only until they run out."""
    _seed_leader(world)
    return _renew(world, _held(leads=True), _RENEWED, "stuck")


@case
def stuck_for_long(world: World) -> Step:
    """Dispatcher slot and leadership of a worker that does not move have run out; they stay free for others."""
    _seed_worker(world)
    world.seed("SET", "leader", f"w1 {PAST}")
    world.seed("ZADD", "dispatchers", PAST, "w1")
    return _renew(world, _held(sits=False), _RENEWED, "stuck")


@case
def stuck_from_the_start(world: World) -> Step:
    """A worker that does not move gets neither a dispatcher slot nor the leadership, even if both are free."""
    _seed_worker(world)
    world.seed("DEL", "leader", world.keys.dispatchers)
    return _renew(world, _held(sits=False), _RENEWED, "stuck")


@case
def resigning(world: World) -> Step:
    """A worker that stops gives up dispatcher slot and leadership at once, and keeps its lease."""
    _seed_leader(world)
    changes: Changes = {**_RENEWED, "leader": None, "dispatchers w1": None}
    return _renew(world, _held(sits=False), changes, "resigns", 0)


@case
def resigning_without_rights(world: World) -> Step:
    """A worker that stops takes nobody else's leadership away."""
    _seed_worker(world)
    return _renew(world, _held(sits=False), _RENEWED, "resigns", 0)


@case
def all_seats_taken(world: World) -> Step:
    """There are no more dispatcher slots than there may be."""
    _seed_worker(world)
    _seed_seats(world, 7)
    return _renew(world, _held(sits=False), _RENEWED)


def _seed_seats(world: World, others: int) -> None:
    for place in range(others):
        world.seed("ZADD", "dispatchers", FUTURE, f"v{place}")


@case
def the_last_seat(world: World) -> Step:
    """A seat that nobody has is given out, and one that has run out counts as that."""
    _seed_worker(world)
    _seed_seats(world, 6)
    world.seed("ZADD", "dispatchers", PAST, "w9")
    return _renew(world, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def ones_own_seat(world: World) -> Step:
    """Who has a dispatcher slot keeps it when all are taken."""
    _seed_worker(world)
    _seed_seats(world, 7)
    world.seed("ZADD", "dispatchers", FUTURE, "w1")
    return _renew(world, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def ones_own_seat_too_late(world: World) -> Step:
    """Whose dispatcher slot has run out does not get it back when all others are taken."""
    _seed_worker(world)
    _seed_seats(world, 7)
    world.seed("ZADD", "dispatchers", PAST, "w1")
    return _renew(world, _held(sits=False), _RENEWED)


@case
def no_seat_wanted(world: World) -> Step:
    """A worker that wants no dispatcher slot any more gives up the one that it has."""
    _seed_worker(world)
    world.seed("ZADD", "dispatchers", FUTURE, "w1")
    return _renew(world, _held(sits=False), {**_RENEWED, "dispatchers w1": None}, dispatchers=0)


@case
def without_routes(world: World) -> Step:
    """Routes without a version have version 0."""
    _seed_worker(world)
    world.seed("DEL", "routes:version")
    gives = Renewed(False, True, "0", _LEASE_MS, [], [], NOW)  # noqa: FBT003 - in the struct's order
    return _renew(world, gives, {**_RENEWED, "dispatchers w1": _HELD})


@case
def a_renewal_in_time(world: World) -> Step:
    """A gap of less than half a lease makes no quiet time."""
    _seed_leader(world)
    world.seed("ZADD", "workers", PAST, "w9")
    world.seed("HSET", "meta", "renewed", world.now_ms() - 15_000)
    changes: Changes = {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return _renew(world, _held(leads=True, dead=["w9"]), changes)


@case
def a_gap(world: World) -> Step:
    """After a gap of more than half a lease the time is quiet for one, in which nobody is told of as dead."""
    _seed_leader(world)
    for key in ("workers", "dispatchers"):
        world.seed("ZADD", key, PAST, "w9")
    world.seed("HSET", "meta", "renewed", world.now_ms() - 45_000)
    changes: Changes = {**_RENEWED, "meta quiet": _HELD, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return _renew(world, _held(leads=True), changes)


@case
def a_gap_before_a_fenced_worker(world: World) -> Step:
    """The first to renew after a gap makes the time quiet, be it fenced or not."""
    _seed_worker(world)
    world.seed("HSET", "worker:w1", "fenced", PAST)
    world.seed("HSET", "meta", "renewed", PAST)
    return _renew(world, Fenced(), {"meta renewed": NOW, "meta quiet": _HELD})


@case
def a_quiet_time(world: World) -> Step:
    """While the time is quiet the leader is told of nobody's end."""
    _seed_leader(world)
    world.seed("ZADD", "workers", PAST, "w9")
    world.seed("HSET", "meta", "renewed", world.now_ms() - 2_000, "quiet", FUTURE)
    changes: Changes = {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return _renew(world, _held(leads=True), changes)


@case
def after_a_quiet_time(world: World) -> Step:
    """Once the quiet time is over the leader is told of those that have not renewed."""
    _seed_leader(world)
    world.seed("ZADD", "workers", PAST, "w9")
    world.seed("HSET", "meta", "renewed", world.now_ms() - 2_000, "quiet", PAST)
    changes: Changes = {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return _renew(world, _held(leads=True, dead=["w9"]), changes)


@case
def contents_kept_long_enough(world: World) -> Step:
    """The leader is told when contents have to go."""
    _seed_leader(world)
    world.seed("ZADD", "fading", PAST, "e1")
    gives = msgspec.structs.replace(_held(leads=True), fades=True)
    return _renew(world, gives, {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


@case
def dead_letters_kept_long_enough(world: World) -> Step:
    """So the leader is of dead letters."""
    _seed_leader(world)
    step = _renew(world, msgspec.structs.replace(_held(leads=True), fades=True), {})
    call = leases.renew(world.keys, "w1", _LEASE_MS, "moves", dispatchers=8, keep_dead_ms=1_000)
    changes: Changes = {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return msgspec.structs.replace(step, call=call, changes=changes)


@case
def runs_that_are_to_be_set_back(world: World) -> Step:
    """As long as a clock's going back is not done with, each answer says so."""
    _seed_leader(world)
    world.seed("HSET", "meta", "back", f"3600000 {PAST}")
    gives = msgspec.structs.replace(_held(leads=True), went_back=True)
    return _renew(world, gives, {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})
