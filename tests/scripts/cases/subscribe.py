"""What `subscribe` must give and change."""

from __future__ import annotations

from headrace_worker.protocol.leases import Registration
from headrace_worker.protocol.subscribing import Subscribed, subscribe
from tests.scripts.cases.case import Lines, Step, case
from tests.scripts.state import Keyspace


def _subscribe(
    keyspace: Keyspace,
    gives: Subscribed,
    changes: Lines,
    *,
    app: str = "app",
    fingerprint: str = "f1",
    queues: tuple[str, ...] = ("default",),
) -> Step:
    registration = Registration(app, fingerprint, b"new subscriptions", queues)
    return Step(subscribe(keyspace.keys, registration), gives, changes, full="refused")


def _seed_last(keyspace: Keyspace) -> None:
    """No worker of the app lives; the last one had the subscriptions `f0`."""
    keyspace.seed("HDEL", "routes:app", "w:w0")
    keyspace.seed("HSET", "routes:app", "last", "f0")


_NEW: Lines = {
    "routes:version": "2",
    "routes:app n:f1": "2",
    "routes:app s:f1": "new subscriptions",
    "routes:app registered": "f1",
}


@case
def the_first_app(keyspace: Keyspace) -> Step:
    """Every group of an app without workers is made at the beginning of its stream, and its subscriptions count."""
    keyspace.seed_nothing()
    changes: Lines = {
        "routes:version": "1",
        "routes:app n:f1": "1",
        "routes:app s:f1": "new subscriptions",
        "routes:app registered": "f1",
        "queues app/default": "",
        "queues app/mail": "",
        "wake-up:app": "stream",
        "wake-up:app wake-up": "0-0",
        "queue:app/default": "stream",
        "queue:app/default workers": "0-0",
        "queue:app/mail": "stream",
        "queue:app/mail workers": "0-0",
    }
    return _subscribe(keyspace, "registered", changes, queues=("default", "mail"))


@case
def another_app(keyspace: Keyspace) -> Step:
    """Another app's subscriptions and queues stand beside those that are there."""
    changes: Lines = {
        "routes:version": "2",
        "routes:shop n:f1": "2",
        "routes:shop s:f1": "new subscriptions",
        "routes:shop registered": "f1",
        "queues shop/default": "",
        "wake-up:shop": "stream",
        "wake-up:shop wake-up": "0-0",
        "queue:shop/default": "stream",
        "queue:shop/default workers": "0-0",
    }
    return _subscribe(keyspace, "registered", changes, app="shop")


@case
def new_ones_after_the_last_worker(keyspace: Keyspace) -> Step:
    """New subscriptions count in the place of those of the last worker, so the version is bumped."""
    _seed_last(keyspace)
    return _subscribe(keyspace, "registered", _NEW)


@case
def known_ones_after_the_last_worker(keyspace: Keyspace) -> Step:
    """Subscriptions that are stored stay as old as they were, and count from now on: the version is bumped."""
    _seed_last(keyspace)
    keyspace.seed("HSET", "routes:app", "n:f1", 1, "s:f1", "subscriptions")
    return _subscribe(keyspace, "registered", {"routes:version": "2", "routes:app registered": "f1"})


@case
def others_are_registered(keyspace: Keyspace) -> Step:
    """What was registered last counts, so the version is bumped."""
    _seed_last(keyspace)
    keyspace.seed("HSET", "routes:app", "n:f1", 1, "s:f1", "subscriptions", "registered", "f0")
    return _subscribe(keyspace, "registered", {"routes:version": "2", "routes:app registered": "f1"})


@case
def the_same_are_registered(keyspace: Keyspace) -> Step:
    """Nothing changes."""
    _seed_last(keyspace)
    keyspace.seed("HSET", "routes:app", "n:f1", 1, "s:f1", "subscriptions", "registered", "f1")
    return _subscribe(keyspace, "known", {})


@case
def new_ones_beside_live_workers(keyspace: Keyspace) -> Step:
    """While a worker lives with others, new subscriptions are stored as the newest, and wait."""
    return _subscribe(keyspace, "waiting", _NEW)


@case
def known_ones_beside_live_workers(keyspace: Keyspace) -> Step:
    """Stored subscriptions wait while a worker lives with others; nothing that counts changes, nor does the version."""
    keyspace.seed("HSET", "routes:app", "n:f1", 1, "s:f1", "subscriptions")
    return _subscribe(keyspace, "waiting", {"routes:app registered": "f1"})


@case
def the_same_wait_already(keyspace: Keyspace) -> Step:
    """Nothing changes, and they still wait."""
    keyspace.seed("HSET", "routes:app", "n:f1", 1, "s:f1", "subscriptions", "registered", "f1")
    return _subscribe(keyspace, "waiting", {})


@case
def a_live_worker_has_them(keyspace: Keyspace) -> Step:
    """Nothing is to be registered."""
    return _subscribe(keyspace, "live", {}, fingerprint="f0")


@case
def a_live_worker_has_them_and_others_wait(keyspace: Keyspace) -> Step:
    """The others are not registered any more: the last command counts."""
    keyspace.seed("HSET", "routes:app", "n:f1", 1, "s:f1", "subscriptions", "registered", "f1")
    return _subscribe(keyspace, "live", {"routes:app registered": None}, fingerprint="f0")


@case
def some_of_the_live_workers_have_them(keyspace: Keyspace) -> Step:
    """In the middle of a deploy they count already; what the rest have does not matter, whichever comes first."""
    keyspace.seed("HSET", "routes:app", "n:f1", 1, "s:f1", "subscriptions", "w:w1", "f1", "w:w2", "f0")
    return _subscribe(keyspace, "live", {})


@case
def more_queues(keyspace: Keyspace) -> Step:
    """A group that is missing is made at the beginning, so that what waits already is found."""
    keyspace.seed("XADD", "queue:app/mail", "5-0", "e", "e1")
    changes: Lines = {"queues app/mail": "", "queue:app/mail workers": "0-0"}
    return _subscribe(keyspace, "live", changes, fingerprint="f0", queues=("default", "mail"))
