"""What `renew` must give and change."""

from __future__ import annotations

import msgspec

from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Fenced, Movement, Renewed
from tests.scripts.cases.case import FUTURE, PAST, Step, case
from tests.scripts.state import NOW, Changes, Keyspace

_LEASE_MS = 60_000
_KEEP_DEAD_MS = 100 * 366 * 86_400_000
_HELD = "<now+60s>"
_RENEWED: Changes = {"workers w1": _HELD, "meta renewed": NOW}


def _seed_worker(keyspace: Keyspace, ends: int = FUTURE) -> None:
    keyspace.seed("ZADD", "workers", ends, "w1")
    keyspace.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")


def _renew(
    keyspace: Keyspace, gives: Renewed | Fenced, changes: Changes, movement: Movement = "moves", dispatchers: int = 8
) -> Step:
    call = leases.renew(keyspace.keys, "w1", _LEASE_MS, movement, dispatchers=dispatchers, keep_dead_ms=_KEEP_DEAD_MS)
    return Step(call, gives, changes)


def _held(
    *, leads: bool = False, sits: bool = True, dead: list[str] | None = None, expired: list[str] | None = None
) -> Renewed:
    return Renewed(leads, sits, "1", _LEASE_MS, expired or [], dead or [], NOW)


@case
def a_lease(keyspace: Keyspace) -> Step:
    """The lease holds on, and while there is a dispatcher slot the worker has one; another leads."""
    _seed_worker(keyspace)
    return _renew(keyspace, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def a_worker_of_which_something_is_wanted(keyspace: Keyspace) -> Step:
    """The answer says what."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "worker:w1", "wanted", "quiet")
    return _renew(keyspace, msgspec.structs.replace(_held(), wanted="quiet"), {**_RENEWED, "dispatchers w1": _HELD})


@case
def a_lease_that_has_run_out(keyspace: Keyspace) -> Step:
    """A worker that is not fenced yet goes on, however late it is."""
    _seed_worker(keyspace, PAST)
    return _renew(keyspace, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def a_fenced_worker(keyspace: Keyspace) -> Step:
    """A fenced worker gets nothing, not even the leadership that is free; the time is marked all the same."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "worker:w1", "fenced", PAST)
    keyspace.seed("DEL", "leader")
    return _renew(keyspace, Fenced(), {"meta renewed": NOW})


@case
def an_unknown_worker(keyspace: Keyspace) -> Step:
    """An unknown worker gets no lease: no leader would know its queues."""
    keyspace.seed("ZADD", "workers", FUTURE, "w1")
    return _renew(keyspace, Fenced(), {"meta renewed": NOW})


@case
def the_first_leader(keyspace: Keyspace) -> Step:
    """Without a leader the worker leads."""
    _seed_worker(keyspace)
    keyspace.seed("DEL", "leader")
    return _renew(keyspace, _held(leads=True), {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


@case
def a_leader_that_is_gone(keyspace: Keyspace) -> Step:
    """A leadership that has run out goes to the next that renews."""
    _seed_worker(keyspace)
    keyspace.seed("SET", "leader", f"w0 {PAST}")
    return _renew(keyspace, _held(leads=True), {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


@case
def a_damaged_leader(keyspace: Keyspace) -> Step:
    """A leader that can't be read is none."""
    _seed_worker(keyspace)
    keyspace.seed("SET", "leader", "damaged")
    return _renew(keyspace, _held(leads=True), {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


@case
def a_leader(keyspace: Keyspace) -> Step:
    """The leader leads on; its answer names the workers with an expired lease or dispatcher slot."""
    _seed_leader(keyspace)
    for ends, name in ((PAST, "w8"), (PAST + 1, "w9")):
        keyspace.seed("ZADD", "workers", ends, name)
        keyspace.seed("ZADD", "dispatchers", ends, name)
    gives = _held(leads=True, dead=["w8", "w9"], expired=["w8", "w9"])
    return _renew(keyspace, gives, {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


def _seed_leader(keyspace: Keyspace) -> None:
    _seed_worker(keyspace)
    keyspace.seed("SET", "leader", f"w1 {FUTURE}")
    keyspace.seed("ZADD", "dispatchers", FUTURE, "w1")


@case
def what_others_are_told(keyspace: Keyspace) -> Step:
    """The answer to a worker that does not lead names no expired worker."""
    _seed_worker(keyspace)
    keyspace.seed("ZADD", "workers", PAST, "w9")
    return _renew(keyspace, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def stuck(keyspace: Keyspace) -> Step:
    """A worker that does not move keeps its lease, and dispatcher slot and leadership only until they run out."""
    _seed_leader(keyspace)
    return _renew(keyspace, _held(leads=True), _RENEWED, "stuck")


@case
def stuck_for_long(keyspace: Keyspace) -> Step:
    """Dispatcher slot and leadership of a worker that does not move have run out; they stay free for others."""
    _seed_worker(keyspace)
    keyspace.seed("SET", "leader", f"w1 {PAST}")
    keyspace.seed("ZADD", "dispatchers", PAST, "w1")
    return _renew(keyspace, _held(sits=False), _RENEWED, "stuck")


@case
def stuck_from_the_start(keyspace: Keyspace) -> Step:
    """A worker that does not move gets neither a dispatcher slot nor the leadership, even if both are free."""
    _seed_worker(keyspace)
    keyspace.seed("DEL", "leader", keyspace.keys.dispatchers)
    return _renew(keyspace, _held(sits=False), _RENEWED, "stuck")


@case
def resigning(keyspace: Keyspace) -> Step:
    """A worker that stops gives up dispatcher slot and leadership at once, and keeps its lease."""
    _seed_leader(keyspace)
    changes: Changes = {**_RENEWED, "leader": None, "dispatchers w1": None}
    return _renew(keyspace, _held(sits=False), changes, "resigns", 0)


@case
def resigning_without_rights(keyspace: Keyspace) -> Step:
    """A worker that stops takes no other worker's leadership away."""
    _seed_worker(keyspace)
    return _renew(keyspace, _held(sits=False), _RENEWED, "resigns", 0)


@case
def all_seats_taken(keyspace: Keyspace) -> Step:
    """There are no more dispatcher slots than there may be."""
    _seed_worker(keyspace)
    _seed_seats(keyspace, 7)
    return _renew(keyspace, _held(sits=False), _RENEWED)


def _seed_seats(keyspace: Keyspace, others: int) -> None:
    for place in range(others):
        keyspace.seed("ZADD", "dispatchers", FUTURE, f"v{place}")


@case
def the_last_seat(keyspace: Keyspace) -> Step:
    """A free dispatcher slot is given out; an expired slot counts as free."""
    _seed_worker(keyspace)
    _seed_seats(keyspace, 6)
    keyspace.seed("ZADD", "dispatchers", PAST, "w9")
    return _renew(keyspace, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def ones_own_seat(keyspace: Keyspace) -> Step:
    """Who has a dispatcher slot keeps it when all are taken."""
    _seed_worker(keyspace)
    _seed_seats(keyspace, 7)
    keyspace.seed("ZADD", "dispatchers", FUTURE, "w1")
    return _renew(keyspace, _held(), {**_RENEWED, "dispatchers w1": _HELD})


@case
def ones_own_seat_too_late(keyspace: Keyspace) -> Step:
    """Whose dispatcher slot has run out does not get it back when all others are taken."""
    _seed_worker(keyspace)
    _seed_seats(keyspace, 7)
    keyspace.seed("ZADD", "dispatchers", PAST, "w1")
    return _renew(keyspace, _held(sits=False), _RENEWED)


@case
def no_seat_wanted(keyspace: Keyspace) -> Step:
    """A worker that wants no dispatcher slot any more gives up the one that it has."""
    _seed_worker(keyspace)
    keyspace.seed("ZADD", "dispatchers", FUTURE, "w1")
    return _renew(keyspace, _held(sits=False), {**_RENEWED, "dispatchers w1": None}, dispatchers=0)


@case
def without_routes(keyspace: Keyspace) -> Step:
    """Routes without a version have version 0."""
    _seed_worker(keyspace)
    keyspace.seed("DEL", "routes:version")
    gives = Renewed(False, True, "0", _LEASE_MS, [], [], NOW)  # noqa: FBT003 - in the struct's order
    return _renew(keyspace, gives, {**_RENEWED, "dispatchers w1": _HELD})


@case
def a_renewal_in_time(keyspace: Keyspace) -> Step:
    """A gap of less than half a lease makes no quiet time."""
    _seed_leader(keyspace)
    keyspace.seed("ZADD", "workers", PAST, "w9")
    keyspace.seed("HSET", "meta", "renewed", keyspace.now_ms() - 15_000)
    changes: Changes = {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return _renew(keyspace, _held(leads=True, dead=["w9"]), changes)


@case
def a_gap(keyspace: Keyspace) -> Step:
    """A gap of more than half a lease begins a quiet time of one lease, in which no worker is named as dead."""
    _seed_leader(keyspace)
    for key in ("workers", "dispatchers"):
        keyspace.seed("ZADD", key, PAST, "w9")
    keyspace.seed("HSET", "meta", "renewed", keyspace.now_ms() - 45_000)
    changes: Changes = {**_RENEWED, "meta quiet": _HELD, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return _renew(keyspace, _held(leads=True), changes)


@case
def a_gap_before_a_fenced_worker(keyspace: Keyspace) -> Step:
    """The first to renew after a gap makes the time quiet, be it fenced or not."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "worker:w1", "fenced", PAST)
    keyspace.seed("HSET", "meta", "renewed", PAST)
    return _renew(keyspace, Fenced(), {"meta renewed": NOW, "meta quiet": _HELD})


@case
def a_quiet_time(keyspace: Keyspace) -> Step:
    """In the quiet time the answer to the leader names no expired worker."""
    _seed_leader(keyspace)
    keyspace.seed("ZADD", "workers", PAST, "w9")
    keyspace.seed("HSET", "meta", "renewed", keyspace.now_ms() - 2_000, "quiet", FUTURE)
    changes: Changes = {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return _renew(keyspace, _held(leads=True), changes)


@case
def after_a_quiet_time(keyspace: Keyspace) -> Step:
    """After the quiet time the answer to the leader names the workers that have not renewed."""
    _seed_leader(keyspace)
    keyspace.seed("ZADD", "workers", PAST, "w9")
    keyspace.seed("HSET", "meta", "renewed", keyspace.now_ms() - 2_000, "quiet", PAST)
    changes: Changes = {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return _renew(keyspace, _held(leads=True, dead=["w9"]), changes)


@case
def contents_kept_long_enough(keyspace: Keyspace) -> Step:
    """The answer to the leader says when contents have to be deleted."""
    _seed_leader(keyspace)
    keyspace.seed("ZADD", "fading", PAST, "e1")
    gives = msgspec.structs.replace(_held(leads=True), fades=True)
    return _renew(keyspace, gives, {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


@case
def dead_letters_kept_long_enough(keyspace: Keyspace) -> Step:
    """So the leader is of dead letters."""
    _seed_leader(keyspace)
    step = _renew(keyspace, msgspec.structs.replace(_held(leads=True), fades=True), {})
    call = leases.renew(keyspace.keys, "w1", _LEASE_MS, "moves", dispatchers=8, keep_dead_ms=1_000)
    changes: Changes = {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"}
    return msgspec.structs.replace(step, call=call, changes=changes)


@case
def runs_that_are_to_be_set_back(keyspace: Keyspace) -> Step:
    """As long as a clock's going back is not done with, each answer says so."""
    _seed_leader(keyspace)
    keyspace.seed("HSET", "meta", "back", f"3600000 {PAST}")
    gives = msgspec.structs.replace(_held(leads=True), went_back=True)
    return _renew(keyspace, gives, {**_RENEWED, "dispatchers w1": _HELD, "leader": f"w1 {_HELD}"})


@case
def what_is_set_for_queues(keyspace: Keyspace) -> Step:
    """The answer has the version of the controls, from which a worker sees a change that it has not heard of."""
    _seed_worker(keyspace)
    keyspace.seed("HSET", "controls", "version", 7)
    renewed = msgspec.structs.replace(_held(), controls="7")
    return _renew(keyspace, renewed, {**_RENEWED, "dispatchers w1": _HELD})
