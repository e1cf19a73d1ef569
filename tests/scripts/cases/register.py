"""What `register` must give and change."""

from __future__ import annotations

from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Registration
from tests.scripts.cases.case import PAST, Lines, Step, case
from tests.scripts.state import Keyspace

_LEASE_MS = 60_000


def _register(
    keyspace: Keyspace,
    version: str,
    changes: Lines,
    *,
    app: str = "app",
    fingerprint: str = "f0",
    queues: tuple[str, ...] = ("default",),
    name: str = "w1",
) -> Step:
    registration = Registration(app, fingerprint, b"new subscriptions", queues)
    leased: Lines = {
        f"workers {name}": "<now+60s>",
        f"worker:{name} app": app,
        f"worker:{name} fingerprint": fingerprint,
        f"worker:{name} queues": " ".join(f"{app}/{queue}" for queue in queues),
        f"routes:{app} w:{name}": fingerprint,
    }
    return Step(leases.register(keyspace.keys, name, _LEASE_MS, registration), version, leased | changes)


@case
def a_second_worker(keyspace: Keyspace) -> Step:
    """A worker with subscriptions that another live one has gets a lease, and the routes' version stays."""
    return _register(keyspace, "1", {})


@case
def the_first_worker(keyspace: Keyspace) -> Step:
    """The first worker of all makes every group at the beginning of its stream, and the routes have a version."""
    keyspace.seed_nothing()
    changes: Lines = {
        "routes:version": "1",
        "routes:app n:f0": "1",
        "routes:app s:f0": "new subscriptions",
        "queues app/default": "",
        "events": "stream",
        "events dispatch": "0-0",
        "wake-up:app": "stream",
        "wake-up:app wake-up": "0-0",
        "queue:app/default": "stream",
        "queue:app/default workers": "0-0",
    }
    return _register(keyspace, "1", changes)


@case
def another_app(keyspace: Keyspace) -> Step:
    """Another app's subscriptions and queues stand beside those that are there."""
    changes: Lines = {
        "routes:version": "2",
        "routes:shop n:f0": "2",
        "routes:shop s:f0": "new subscriptions",
        "queues shop/default": "",
        "queues shop/mail": "",
        "wake-up:shop": "stream",
        "wake-up:shop wake-up": "0-0",
        "queue:shop/default": "stream",
        "queue:shop/default workers": "0-0",
        "queue:shop/mail": "stream",
        "queue:shop/mail workers": "0-0",
    }
    return _register(keyspace, "2", changes, app="shop", queues=("default", "mail"))


@case
def new_subscriptions(keyspace: Keyspace) -> Step:
    """New subscriptions stand beside the old ones as the newest, and the version is bumped."""
    changes: Lines = {"routes:version": "2", "routes:app n:f1": "2", "routes:app s:f1": "new subscriptions"}
    return _register(keyspace, "2", changes, fingerprint="f1")


@case
def an_old_worker_restarts(keyspace: Keyspace) -> Step:
    """Known subscriptions that no live worker had stay as old as they were; the version is bumped."""
    keyspace.seed("HSET", "routes:app", "n:f9", 9, "s:f9", "newest", "w:w9", "f9")
    keyspace.seed("HDEL", "routes:app", "w:w0")
    keyspace.seed("SET", "routes:version", 9)
    return _register(keyspace, "10", {"routes:version": "10"})


@case
def the_last_one_comes_back(keyspace: Keyspace) -> Step:
    """Where no worker of the app lived its subscriptions have their first one again; what was last stays noted."""
    keyspace.seed("HDEL", "routes:app", "w:w0")
    keyspace.seed("HSET", "routes:app", "last", "f0")
    return _register(keyspace, "2", {"routes:version": "2"})


@case
def the_same_name_again(keyspace: Keyspace) -> Step:
    """A worker that registers again, its queues having been flushed, gets its groups and changes no routes."""
    keyspace.seed("ZADD", "workers", PAST, "w1")
    keyspace.seed("HSET", "routes:app", "w:w1", "f0")
    keyspace.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")
    keyspace.seed("DEL", "events")
    step = _register(keyspace, "1", {"events": "stream", "events dispatch": "0-0"})
    lines = {"workers w1", "events", "events dispatch"}
    return Step(step.call, step.gives, {line: fact for line, fact in step.changes.items() if line in lines})


@case
def more_queues(keyspace: Keyspace) -> Step:
    """A group that is missing is made at the beginning, so that what waits already is found; others are left alone."""
    keyspace.seed("XADD", "queue:app/mail", "5-0", "e", "e1")
    changes: Lines = {"queues app/mail": "", "queue:app/mail workers": "0-0"}
    return _register(keyspace, "1", changes, queues=("default", "mail"))


@case
def fewer_queues_than_the_app_has(keyspace: Keyspace) -> Step:
    """Every queue of the app has its group; the worker counts for those alone from which it takes."""
    registration = Registration("app", "f0", b"new subscriptions", ("default", "mail"), served=("mail",))
    changes: Lines = {
        "workers w1": "<now+60s>",
        "worker:w1 app": "app",
        "worker:w1 fingerprint": "f0",
        "worker:w1 queues": "app/mail",
        "routes:app w:w1": "f0",
        "queues app/mail": "",
        "queue:app/mail": "stream",
        "queue:app/mail workers": "0-0",
    }
    return Step(leases.register(keyspace.keys, "w1", _LEASE_MS, registration), "1", changes)


def _seed_dead_subscriptions(keyspace: Keyspace, count: int) -> None:
    for place in range(count):
        keyspace.seed("HSET", "routes:app", f"n:d{place}", 100 + place, f"s:d{place}", "dead")


@case
def twenty_dead_subscriptions(keyspace: Keyspace) -> Step:
    """The newest twenty subscriptions that no live worker has are kept, for a way back."""
    _seed_dead_subscriptions(keyspace, 20)
    return _register(keyspace, "1", {})


@case
def twenty_one_dead_subscriptions(keyspace: Keyspace) -> Step:
    """The oldest of more than twenty subscriptions that no live worker has is forgotten."""
    _seed_dead_subscriptions(keyspace, 21)
    return _register(keyspace, "1", {"routes:app n:d0": None, "routes:app s:d0": None})


@case
def a_dead_one_comes_back(keyspace: Keyspace) -> Step:
    """Of dead subscriptions that get a live worker again nothing is forgotten, however old they are."""
    _seed_dead_subscriptions(keyspace, 21)
    return _register(keyspace, "2", {"routes:version": "2"}, fingerprint="d0")


@case
def a_damaged_age(keyspace: Keyspace) -> Step:
    """Subscriptions whose age can't be read count as the oldest."""
    _seed_dead_subscriptions(keyspace, 20)
    keyspace.seed("HSET", "routes:app", "n:damaged", "x", "s:damaged", "dead")
    return _register(keyspace, "1", {"routes:app n:damaged": None, "routes:app s:damaged": None})


def _seed_registered(keyspace: Keyspace, fingerprint: str = "f1") -> None:
    keyspace.seed(
        "HSET", "routes:app", f"n:{fingerprint}", 2, f"s:{fingerprint}", "subscriptions", "registered", fingerprint
    )


@case
def the_first_one_with_what_was_registered(keyspace: Keyspace) -> Step:
    """Once a worker has the registered subscriptions, its life says whether they count."""
    _seed_registered(keyspace)
    changes: Lines = {"routes:version": "2", "routes:app registered": None}
    return _register(keyspace, "2", changes, fingerprint="f1")


@case
def an_old_one_restarts_before_what_was_registered(keyspace: Keyspace) -> Step:
    """A worker with older subscriptions that are known leaves the registered ones registered."""
    _seed_registered(keyspace)
    return _register(keyspace, "1", {})


@case
def a_newer_one_than_was_registered(keyspace: Keyspace) -> Step:
    """A worker with subscriptions that nobody has had is of a later release than the registered ones."""
    _seed_registered(keyspace)
    changes: Lines = {
        "routes:version": "2",
        "routes:app n:f2": "2",
        "routes:app s:f2": "new subscriptions",
        "routes:app registered": None,
    }
    return _register(keyspace, "2", changes, fingerprint="f2")


@case
def registered_ones_are_the_oldest(keyspace: Keyspace) -> Step:
    """Registered subscriptions are not forgotten, however many newer ones no worker has."""
    _seed_dead_subscriptions(keyspace, 20)
    _seed_registered(keyspace)
    return _register(keyspace, "1", {})


@case
def a_paused_queue_without_its_group(keyspace: Keyspace) -> Step:
    """A group that has to be made again is closed, as the controls say."""
    keyspace.seed("HSET", "controls", "p:app/new", PAST, "l:app/newer", 3, "l:app/newest", "none", "version", 7)
    changes: Lines = {"queues app/new": "", "queues app/newer": "", "queues app/newest": ""}
    closed = "18446744073709551615-0"
    for name, last in (("new", closed), ("newer", closed), ("newest", "0-0")):
        changes |= {f"queue:app/{name}": "stream", f"queue:app/{name} workers": last}
    return _register(keyspace, "1", changes, queues=("new", "newer", "newest"))
