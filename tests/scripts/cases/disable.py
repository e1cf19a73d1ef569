"""What `disable` must give and change."""

from __future__ import annotations

from headrace.formats.codec import from_millis
from headrace_worker.protocol.switching import Disabled, Switched, disable
from tests.scripts.cases.case import LONG_PAST, Lines, Step, case
from tests.scripts.state import NOW, Keyspace


def _disable(keyspace: Keyspace, reason: str, gives: Switched, changes: Lines, app: str = "app") -> Step:
    return Step(disable(keyspace.keys, app, "job", reason), gives, changes)


@case
def a_job(keyspace: Keyspace) -> Step:
    """It is disabled since now, and the version is bumped; the subscriptions stay."""
    changes: Lines = {"routes:app x:job": "<now> too many mails", "routes:version": "2"}
    return _disable(keyspace, "too many mails", Switched(Disabled(NOW, "too many mails"), is_new=True), changes)


@case
def without_a_reason(keyspace: Keyspace) -> Step:
    """None is stored."""
    changes: Lines = {"routes:app x:job": "<now> ", "routes:version": "2"}
    return _disable(keyspace, "", Switched(Disabled(NOW, None), is_new=True), changes)


@case
def a_disabled_job(keyspace: Keyspace) -> Step:
    """Nothing happens without another reason."""
    keyspace.seed("HSET", "routes:app", "x:job", f"{LONG_PAST} why")
    return _disable(keyspace, "", Switched(Disabled(from_millis(LONG_PAST), "why")), {})


@case
def another_reason(keyspace: Keyspace) -> Step:
    """It is stored; the job is disabled since when it was, and the routes are what they were."""
    keyspace.seed("HSET", "routes:app", "x:job", f"{LONG_PAST} why")
    changes: Lines = {"routes:app x:job": f"{LONG_PAST} because"}
    return _disable(keyspace, "because", Switched(Disabled(from_millis(LONG_PAST), "because")), changes)


@case
def a_damaged_time(keyspace: Keyspace) -> Step:
    """It is disabled since now, as nothing else is known."""
    keyspace.seed("HSET", "routes:app", "x:job", "?")
    return _disable(keyspace, "why", Switched(Disabled(NOW, "why")), {"routes:app x:job": "<now> why"})


@case
def no_subscriptions(keyspace: Keyspace) -> Step:
    """Nothing is stored of an app that has none."""
    return _disable(keyspace, "why", Switched(None), {}, app="shop")
