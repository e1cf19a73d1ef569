"""What `leave` must give and change."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.protocol import leases
from tests.scripts.cases.case import BODY, FUTURE, PAST, Lines, Step, case, seed_queue, seed_run
from tests.scripts.state import Keyspace


def _seed_worker(keyspace: Keyspace, fingerprint: str = "f0", ends: int = FUTURE, *, fenced: bool = False) -> None:
    """The worker has read from every stream, and holds nothing."""
    keyspace.seed("ZADD", "workers", ends, "w1")
    keyspace.seed("HSET", "worker:w1", "app", "app", "fingerprint", fingerprint, "queues", "app/default")
    keyspace.seed("HSET", "routes:app", f"n:{fingerprint}", 1, f"s:{fingerprint}", "subscriptions", "w:w1", fingerprint)
    keyspace.seed("XGROUP CREATECONSUMER", "events", "dispatch", "w1")
    keyspace.seed("XGROUP CREATECONSUMER", "queue:app/default", "workers", "w1")
    if fenced:
        keyspace.seed("HSET", "worker:w1", "fenced", PAST)


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


def _forgets(keyspace: Keyspace, changes: Lines, *, dead: bool = False) -> Step:
    return Step(
        leases.leave(keyspace.keys, "w1", "app", [keyspace.keys.queue("app", "default")], dead=dead),
        gives=True,
        changes=changes,
    )


def _keeps(keyspace: Keyspace, queues: Sequence[str] = ("default",), *, dead: bool = False) -> Step:
    names = [keyspace.keys.queue("app", name) for name in queues]
    return Step(leases.leave(keyspace.keys, "w1", "app", names, dead=dead), gives=False, changes={})


@case
def one_of_several(keyspace: Keyspace) -> Step:
    """A worker is forgotten; while another has its subscriptions the routes stay, as do leader and dispatchers."""
    _seed_worker(keyspace)
    return _forgets(keyspace, _FORGOTTEN)


@case
def seat_and_leadership(keyspace: Keyspace) -> Step:
    """Its dispatcher slot and its leadership are free at once."""
    _seed_worker(keyspace)
    keyspace.seed("ZADD", "dispatchers", FUTURE, "w1")
    keyspace.seed("SET", "leader", f"w1 {FUTURE}")
    return _forgets(keyspace, _FORGOTTEN | {"dispatchers w1": None, "leader": None})


@case
def the_last_with_its_subscriptions(keyspace: Keyspace) -> Step:
    """Where others of the app live, but none with its subscriptions, the routes change."""
    _seed_worker(keyspace, "f1")
    return _forgets(keyspace, _FORGOTTEN | {"routes:version": "2"})


@case
def the_last_of_its_app(keyspace: Keyspace) -> Step:
    """The subscriptions of an app's last worker stay in force: events go on to wait for its jobs."""
    _seed_worker(keyspace, "f1")
    keyspace.seed("HDEL", "routes:app", "w:w0")
    return _forgets(keyspace, _FORGOTTEN | {"routes:app last": "f1"})


@case
def pending_runs(keyspace: Keyspace) -> Step:
    """A worker that holds a run is not forgotten."""
    _seed_worker(keyspace)
    seed_run(keyspace, "5-0", "e1")
    return _keeps(keyspace)


@case
def pending_events(keyspace: Keyspace) -> Step:
    """A worker that holds an event is not forgotten."""
    _seed_worker(keyspace)
    keyspace.entry("events", "5-0", {"i": "e5", "z": 8, "b": BODY})
    keyspace.hold("events", "dispatch", "w1", "5-0")
    return _keeps(keyspace)


@case
def pending_runs_of_another_queue(keyspace: Keyspace) -> Step:
    """A worker that holds a run in the last of its queues is not forgotten."""
    _seed_worker(keyspace)
    seed_queue(keyspace, "mail")
    seed_run(keyspace, "5-0", "e1", name="mail")
    return _keeps(keyspace, ("default", "mail"))


@case
def streams_that_are_gone(keyspace: Keyspace) -> Step:
    """A worker whose streams were flushed holds nothing and is forgotten."""
    _seed_worker(keyspace)
    keyspace.seed("DEL", "events", keyspace.keys.queue("app", "default"))
    changes = {line: fact for line, fact in _FORGOTTEN.items() if not line.startswith(("events", "queue:"))}
    return _forgets(keyspace, changes)


@case
def an_unknown_worker(keyspace: Keyspace) -> Step:
    """Of a worker that is not known there is nothing to forget."""
    return _forgets(keyspace, {})


@case
def consumers_of_an_unknown_worker(keyspace: Keyspace) -> Step:
    """Where groups alone know of a dead worker, and it holds nothing, they forget it too."""
    keyspace.seed("XGROUP CREATECONSUMER", "events", "dispatch", "w1")
    keyspace.seed("XGROUP CREATECONSUMER", "queue:app/default", "workers", "w1")
    return _forgets(keyspace, {"events dispatch w1": None, "queue:app/default workers w1": None}, dead=True)


@case
def an_unknown_worker_with_pending_runs(keyspace: Keyspace) -> Step:
    """A dead worker of which groups alone know is not forgotten while it holds a run."""
    seed_run(keyspace, "5-0", "e1")
    return _keeps(keyspace, dead=True)


@case
def a_dead_worker(keyspace: Keyspace) -> Step:
    """A fenced worker is forgotten when the time of its last look has come."""
    _seed_worker(keyspace, ends=PAST, fenced=True)
    return _forgets(keyspace, _FORGOTTEN_DEAD, dead=True)


@case
def a_dead_worker_too_early(keyspace: Keyspace) -> Step:
    """Before the last look a fenced worker is not forgotten: the server may still deliver entries to it."""
    _seed_worker(keyspace, ends=FUTURE, fenced=True)
    return _keeps(keyspace, dead=True)


@case
def a_dead_worker_that_is_not_fenced(keyspace: Keyspace) -> Step:
    """A worker that is not fenced is not forgotten as dead."""
    _seed_worker(keyspace, ends=PAST)
    return _keeps(keyspace, dead=True)


@case
def a_dead_worker_with_pending_runs(keyspace: Keyspace) -> Step:
    """A fenced worker to which a run was delivered since is not forgotten."""
    _seed_worker(keyspace, ends=PAST, fenced=True)
    seed_run(keyspace, "5-0", "e1")
    return _keeps(keyspace, dead=True)


def _dies(keyspace: Keyspace, fingerprint: str) -> Lines:
    """The worker is fenced, and its part in the routes is that of a dead one; returns what goes with it."""
    _seed_worker(keyspace, fingerprint, ends=PAST, fenced=True)
    keyspace.seed("HDEL", "routes:app", "w:w1")
    keyspace.seed("HSET", "routes:app", "d:w1", fingerprint)
    gone = {line: fact for line, fact in _FORGOTTEN_DEAD.items() if line != "routes:app w:w1"}
    return gone | {"routes:app d:w1": None}


@case
def a_dead_worker_whose_subscriptions_count_no_more(keyspace: Keyspace) -> Step:
    """Where others of the app live the routes have changed when it was fenced, and do not again."""
    return _forgets(keyspace, _dies(keyspace, "f1"), dead=True)


@case
def the_last_of_the_dead(keyspace: Keyspace) -> Step:
    """Without a live worker of the app the subscriptions of the last forgotten worker stay in force."""
    gone = _dies(keyspace, "f1")
    keyspace.seed("HDEL", "routes:app", "w:w0")
    return _forgets(keyspace, gone | {"routes:app last": "f1"}, dead=True)


@case
def one_of_the_dead(keyspace: Keyspace) -> Step:
    """Without a live worker of the app the subscriptions of the other dead workers count on."""
    gone = _dies(keyspace, "f1")
    keyspace.seed("HDEL", "routes:app", "w:w0")
    keyspace.seed("HSET", "routes:app", "d:w2", "f2")
    return _forgets(keyspace, gone | {"routes:version": "2"}, dead=True)


@case
def the_last_that_lives(keyspace: Keyspace) -> Step:
    """One that leaves in order as the last of its app leaves its own subscriptions in force, not those of the dead."""
    _seed_worker(keyspace, "f1")
    keyspace.seed("HDEL", "routes:app", "w:w0")
    keyspace.seed("HSET", "routes:app", "d:w2", "f2")
    return _forgets(keyspace, _FORGOTTEN | {"routes:app last": "f1", "routes:app d:w2": None})


def _seed_registered(keyspace: Keyspace) -> None:
    keyspace.seed("HSET", "routes:app", "n:f2", 2, "s:f2", "subscriptions", "registered", "f2")


@case
def the_last_of_its_app_before_what_is_registered(keyspace: Keyspace) -> Step:
    """Registered subscriptions count once no worker of the app lives, so the version is bumped."""
    _seed_worker(keyspace)
    _seed_registered(keyspace)
    keyspace.seed("HDEL", "routes:app", "w:w0")
    return _forgets(keyspace, _FORGOTTEN | {"routes:app last": "f0", "routes:version": "2"})


@case
def one_of_several_before_what_is_registered(keyspace: Keyspace) -> Step:
    """Registered subscriptions wait while another worker of the app lives."""
    _seed_worker(keyspace)
    _seed_registered(keyspace)
    return _forgets(keyspace, _FORGOTTEN)


@case
def the_last_of_the_dead_beside_what_is_registered(keyspace: Keyspace) -> Step:
    """What dead workers had does not count beside registered subscriptions, so nothing changes for dispatchers."""
    gone = _dies(keyspace, "f1")
    _seed_registered(keyspace)
    keyspace.seed("HDEL", "routes:app", "w:w0")
    return _forgets(keyspace, gone | {"routes:app last": "f1"}, dead=True)
