"""What `unsubscribe` must give and change."""

from __future__ import annotations

from headrace_worker.protocol.subscribing import Unsubscribed, unsubscribe
from tests.scripts.cases.case import Step, case
from tests.scripts.state import Keyspace


@case
def without_workers(keyspace: Keyspace) -> Step:
    """All of the app's routes are gone, its disabled jobs too, and the version is bumped; queues and runs stay."""
    keyspace.seed("HDEL", "routes:app", "w:w0")
    keyspace.seed("HSET", "routes:app", "last", "f0", "registered", "f0", "d:w1", "f0")
    changes = dict.fromkeys(
        f"routes:app {field}" for field in ("n:f0", "s:f0", "last", "registered", "d:w1", "x:other")
    )
    return Step(unsubscribe(keyspace.keys, "app"), Unsubscribed(ended=True), {**changes, "routes:version": "2"})


@case
def a_live_worker(keyspace: Keyspace) -> Step:
    """Nothing happens, and the answer names it."""
    return Step(unsubscribe(keyspace.keys, "app"), Unsubscribed(ended=False, live=["w0"]), {})


@case
def no_subscriptions(keyspace: Keyspace) -> Step:
    """Nothing happens to the routes of other apps, nor to their version."""
    return Step(unsubscribe(keyspace.keys, "shop"), Unsubscribed(ended=False), {})
