"""What `leave` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.protocol import leases
from tests.scripts.cases.case import BODY, FUTURE, PAST, Lines, Step, case, seed_queue, seed_run
from tests.scripts.state import World


def _seed_worker(world: World, fingerprint: str = "f0", ends: int = FUTURE, *, fenced: bool = False) -> None:
    """The worker has read from every stream, and holds nothing."""
    world.seed("ZADD", "workers", ends, "w1")
    world.seed("HSET", "worker:w1", "app", "app", "fingerprint", fingerprint, "queues", "app/default")
    world.seed("HSET", "routes:app", f"n:{fingerprint}", 1, f"s:{fingerprint}", "subscriptions", "w:w1", fingerprint)
    world.seed("XGROUP CREATECONSUMER", "events", "dispatch", "w1")
    world.seed("XGROUP CREATECONSUMER", "queue:app/default", "workers", "w1")
    if fenced:
        world.seed("HSET", "worker:w1", "fenced", PAST)


_FORGOTTEN: Lines = {
    "workers w1": None,
    "worker:w1 app": None,
    "worker:w1 fingerprint": None,
    "worker:w1 queues": None,
    "routes:app w:w1": None,
    "events dispatch w1": None,
    "queue:app/default workers w1": None,
}
_FORGOTTEN_DEAD = _FORGOTTEN | {"worker:w1 fenced": None}


def _forgets(world: World, changes: Lines, *, dead: bool = False) -> Step:
    return Step(
        leases.leave(world.keys, "w1", "app", [world.keys.queue("app", "default")], dead=dead),
        gives=True,
        changes=changes,
    )


def _keeps(world: World, queues: Sequence[str] = ("default",), *, dead: bool = False) -> Step:
    names = [world.keys.queue("app", name) for name in queues]
    return Step(leases.leave(world.keys, "w1", "app", names, dead=dead), gives=False, changes={})


@case
def one_of_several(world: World) -> Step:
    """A worker is forgotten; while another has its subscriptions the routes stay, as do leader and dispatchers."""
    _seed_worker(world)
    return _forgets(world, _FORGOTTEN)


@case
def seat_and_leadership(world: World) -> Step:
    """Its dispatcher slot and its leadership are free at once."""
    _seed_worker(world)
    world.seed("ZADD", "dispatchers", FUTURE, "w1")
    world.seed("SET", "leader", f"w1 {FUTURE}")
    return _forgets(world, _FORGOTTEN | {"dispatchers w1": None, "leader": None})


@case
def the_last_with_its_subscriptions(world: World) -> Step:
    """Where others of the app live, but none with its subscriptions, the routes change."""
    _seed_worker(world, "f1")
    return _forgets(world, _FORGOTTEN | {"routes:version": "2"})


@case
def the_last_of_its_app(world: World) -> Step:
    """The subscriptions of an app's last worker stay in force: events go on to wait for its jobs."""
    _seed_worker(world, "f1")
    world.seed("HDEL", "routes:app", "w:w0")
    return _forgets(world, _FORGOTTEN | {"routes:app last": "f1"})


@case
def runs_in_hand(world: World) -> Step:
    """A worker that holds a run is not forgotten."""
    _seed_worker(world)
    seed_run(world, "5-0", "e1")
    return _keeps(world)


@case
def events_in_hand(world: World) -> Step:
    """A worker that holds an event is not forgotten."""
    _seed_worker(world)
    world.entry("events", "5-0", {"i": "e5", "z": 8, "b": BODY})
    world.hold("events", "dispatch", "w1", "5-0")
    return _keeps(world)


@case
def runs_in_hand_of_another_queue(world: World) -> Step:
    """A worker that holds a run in the last of its queues is not forgotten."""
    _seed_worker(world)
    seed_queue(world, "mail")
    seed_run(world, "5-0", "e1", name="mail")
    return _keeps(world, ("default", "mail"))


@case
def streams_that_are_gone(world: World) -> Step:
    """A worker whose streams were flushed holds nothing and is forgotten."""
    _seed_worker(world)
    world.seed("DEL", "events", world.keys.queue("app", "default"))
    changes = {line: fact for line, fact in _FORGOTTEN.items() if not line.startswith(("events", "queue:"))}
    return _forgets(world, changes)


@case
def an_unknown_worker(world: World) -> Step:
    """Of a worker that is not known there is nothing to forget."""
    return _forgets(world, {})


@case
def consumers_of_an_unknown_worker(world: World) -> Step:
    """Where groups alone know of a dead worker, and it holds nothing, they forget it too."""
    world.seed("XGROUP CREATECONSUMER", "events", "dispatch", "w1")
    world.seed("XGROUP CREATECONSUMER", "queue:app/default", "workers", "w1")
    return _forgets(world, {"events dispatch w1": None, "queue:app/default workers w1": None}, dead=True)


@case
def an_unknown_worker_with_runs_in_hand(world: World) -> Step:
    """A dead worker of which groups alone know is not forgotten while it holds a run."""
    seed_run(world, "5-0", "e1")
    return _keeps(world, dead=True)


@case
def a_dead_worker(world: World) -> Step:
    """A fenced worker is forgotten when the time of its last look has come."""
    _seed_worker(world, ends=PAST, fenced=True)
    return _forgets(world, _FORGOTTEN_DEAD, dead=True)


@case
def a_dead_worker_too_early(world: World) -> Step:
    """Before its last look a fenced worker is not forgotten: something may still be handed to it."""
    _seed_worker(world, ends=FUTURE, fenced=True)
    return _keeps(world, dead=True)


@case
def a_dead_worker_that_is_not_fenced(world: World) -> Step:
    """A worker that nobody has fenced is not forgotten as dead."""
    _seed_worker(world, ends=PAST)
    return _keeps(world, dead=True)


@case
def a_dead_worker_with_runs_in_hand(world: World) -> Step:
    """A fenced worker to which a run was handed since is not forgotten."""
    _seed_worker(world, ends=PAST, fenced=True)
    seed_run(world, "5-0", "e1")
    return _keeps(world, dead=True)


def _dies(world: World, fingerprint: str) -> Lines:
    """The worker is fenced, and its part in the routes is that of a dead one; returns what goes with it."""
    _seed_worker(world, fingerprint, ends=PAST, fenced=True)
    world.seed("HDEL", "routes:app", "w:w1")
    world.seed("HSET", "routes:app", "d:w1", fingerprint)
    gone = {line: fact for line, fact in _FORGOTTEN_DEAD.items() if line != "routes:app w:w1"}
    return gone | {"routes:app d:w1": None}


@case
def a_dead_worker_whose_subscriptions_count_no_more(world: World) -> Step:
    """Where others of the app live the routes have changed when it was fenced, and do not again."""
    return _forgets(world, _dies(world, "f1"), dead=True)


@case
def the_last_of_the_dead(world: World) -> Step:
    """Where nobody of the app lives, the subscriptions of the dead worker that is forgotten last stay in force."""
    gone = _dies(world, "f1")
    world.seed("HDEL", "routes:app", "w:w0")
    return _forgets(world, gone | {"routes:app last": "f1"}, dead=True)


@case
def one_of_the_dead(world: World) -> Step:
    """Where nobody of the app lives, what the other dead had counts on without it."""
    gone = _dies(world, "f1")
    world.seed("HDEL", "routes:app", "w:w0")
    world.seed("HSET", "routes:app", "d:w2", "f2")
    return _forgets(world, gone | {"routes:version": "2"}, dead=True)


@case
def the_last_that_lives(world: World) -> Step:
    """One that leaves in order as the last of its app leaves its own subscriptions in force, not those of the dead."""
    _seed_worker(world, "f1")
    world.seed("HDEL", "routes:app", "w:w0")
    world.seed("HSET", "routes:app", "d:w2", "f2")
    return _forgets(world, _FORGOTTEN | {"routes:app last": "f1", "routes:app d:w2": None})
