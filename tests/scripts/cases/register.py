"""What `register` must give and change."""

from __future__ import annotations

from headrace_worker.protocol import leases
from headrace_worker.protocol.leases import Registration
from tests.scripts.cases.case import PAST, Lines, Step, case
from tests.scripts.state import World

_LEASE_MS = 60_000


def _register(
    world: World,
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
    return Step(leases.register(world.keys, name, _LEASE_MS, registration), version, leased | changes)


@case
def a_second_worker(world: World) -> Step:
    """A worker with subscriptions that another live one has gets a lease, and the routes' version stays."""
    return _register(world, "1", {})


@case
def the_first_worker(world: World) -> Step:
    """The first worker of all makes every group at the beginning of its stream, and the routes have a version."""
    world.seed_nothing()
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
    return _register(world, "1", changes)


@case
def another_app(world: World) -> Step:
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
    return _register(world, "2", changes, app="shop", queues=("default", "mail"))


@case
def new_subscriptions(world: World) -> Step:
    """New subscriptions stand beside the old ones as the newest, and the version is bumped."""
    changes: Lines = {"routes:version": "2", "routes:app n:f1": "2", "routes:app s:f1": "new subscriptions"}
    return _register(world, "2", changes, fingerprint="f1")


@case
def an_old_worker_restarts(world: World) -> Step:
    """Known subscriptions that no live worker had stay as old as they were; the version is bumped."""
    world.seed("HSET", "routes:app", "n:f9", 9, "s:f9", "newest", "w:w9", "f9")
    world.seed("HDEL", "routes:app", "w:w0")
    world.seed("SET", "routes:version", 9)
    return _register(world, "10", {"routes:version": "10"})


@case
def the_last_one_comes_back(world: World) -> Step:
    """Where no worker of the app lived its subscriptions have their first one again; what was last stays noted."""
    world.seed("HDEL", "routes:app", "w:w0")
    world.seed("HSET", "routes:app", "last", "f0")
    return _register(world, "2", {"routes:version": "2"})


@case
def the_same_name_again(world: World) -> Step:
    """A worker that registers again, its queues having been flushed, gets its groups and changes no routes."""
    world.seed("ZADD", "workers", PAST, "w1")
    world.seed("HSET", "routes:app", "w:w1", "f0")
    world.seed("HSET", "worker:w1", "app", "app", "fingerprint", "f0", "queues", "app/default")
    world.seed("DEL", "events")
    step = _register(world, "1", {"events": "stream", "events dispatch": "0-0"})
    lines = {"workers w1", "events", "events dispatch"}
    return Step(step.call, step.gives, {line: fact for line, fact in step.changes.items() if line in lines})


@case
def more_queues(world: World) -> Step:
    """A group that is missing is made at the beginning, so that what waits already is found; others are left alone."""
    world.seed("XADD", "queue:app/mail", "5-0", "e", "e1")
    changes: Lines = {"queues app/mail": "", "queue:app/mail workers": "0-0"}
    return _register(world, "1", changes, queues=("default", "mail"))


def _seed_dead_subscriptions(world: World, count: int) -> None:
    for place in range(count):
        world.seed("HSET", "routes:app", f"n:d{place}", 100 + place, f"s:d{place}", "dead")


@case
def twenty_dead_subscriptions(world: World) -> Step:
    """The newest twenty subscriptions that no live worker has are kept, for a way back."""
    _seed_dead_subscriptions(world, 20)
    return _register(world, "1", {})


@case
def twenty_one_dead_subscriptions(world: World) -> Step:
    """The oldest of more than twenty subscriptions that no live worker has is forgotten."""
    _seed_dead_subscriptions(world, 21)
    return _register(world, "1", {"routes:app n:d0": None, "routes:app s:d0": None})


@case
def a_dead_one_comes_back(world: World) -> Step:
    """Of dead subscriptions that get a live worker again nothing is forgotten, however old they are."""
    _seed_dead_subscriptions(world, 21)
    return _register(world, "2", {"routes:version": "2"}, fingerprint="d0")


@case
def a_damaged_age(world: World) -> Step:
    """Subscriptions whose age can't be read count as the oldest."""
    _seed_dead_subscriptions(world, 20)
    world.seed("HSET", "routes:app", "n:damaged", "x", "s:damaged", "dead")
    return _register(world, "1", {"routes:app n:damaged": None, "routes:app s:damaged": None})
