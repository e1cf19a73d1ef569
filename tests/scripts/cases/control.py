"""What `control` must give and change."""

from __future__ import annotations

from headrace.calls import controlling
from headrace.calls.controlling import Pause, QueueControl
from tests.scripts.cases.case import BODY, PAST, Step, case
from tests.scripts.cases.take import CLOSED, seed_controls
from tests.scripts.state import NOW, Changes, Keyspace

_GROUP = "queue:app/default workers"
_TOLD: Changes = {"controls version": "1", "published controls": ""}
_TOLD_AGAIN: Changes = {"controls version": "8", "published controls": ""}
_WOKEN: Changes = {"wake-up:app new-1": {"r": ""}}


def _control(
    keyspace: Keyspace,
    gives: QueueControl,
    changes: Changes,
    *,
    queue: str = "app/default",
    pause: Pause = "",
    reason: str = "",
    limit: str = "",
) -> Step:
    return Step(controlling.control(keyspace.keys, queue, pause=pause, reason=reason, limit=limit), gives, changes)


def _seed_waiting(keyspace: Keyspace) -> None:
    keyspace.entry("queue:app/default", "5-0", {"e": "e5", "j": "job", "s": "", "b": BODY})


@case
def a_pause(keyspace: Keyspace) -> Step:
    """The queue is closed, with the time and the reason; what is pending stays."""
    _seed_waiting(keyspace)
    changes: Changes = {**_TOLD, "controls p:app/default": f"{NOW} too many", _GROUP: CLOSED}
    return _control(keyspace, QueueControl(NOW, "too many"), changes, pause="pause", reason="too many")


@case
def a_pause_without_a_reason(keyspace: Keyspace) -> Step:
    """The time is enough."""
    changes: Changes = {**_TOLD, "controls p:app/default": NOW, _GROUP: CLOSED}
    return _control(keyspace, QueueControl(NOW), changes, pause="pause")


@case
def a_pause_of_a_paused_queue(keyspace: Keyspace) -> Step:
    """It keeps its time and its reason."""
    seed_controls(keyspace, p_default=f"{PAST} too many")
    return _control(keyspace, QueueControl(PAST, "too many"), {}, pause="pause")


@case
def another_reason(keyspace: Keyspace) -> Step:
    """A paused queue keeps its time and gets the reason."""
    seed_controls(keyspace, p_default=f"{PAST} too many")
    changes: Changes = {**_TOLD_AGAIN, "controls p:app/default": f"{PAST} too few"}
    return _control(keyspace, QueueControl(PAST, "too few"), changes, pause="pause", reason="too few")


@case
def a_pause_of_an_open_group(keyspace: Keyspace) -> Step:
    """A group that something else has opened is closed again."""
    seed_controls(keyspace, p_default=PAST)
    keyspace.seed("XGROUP SETID", "queue:app/default", "workers", "1-0")
    return _control(keyspace, QueueControl(PAST), {_GROUP: CLOSED}, pause="pause")


@case
def a_pause_of_a_queue_without_a_group(keyspace: Keyspace) -> Step:
    """The queue is made, and closed at once."""
    changes: Changes = {
        **_TOLD, "controls p:app/new": NOW, "queue:app/new": "stream", "queue:app/new workers": CLOSED,
    }  # fmt: skip
    return _control(keyspace, QueueControl(NOW), changes, queue="app/new", pause="pause")


@case
def a_resumption(keyspace: Keyspace) -> Step:
    """The group goes on behind what is pending, and a worker is woken."""
    seed_controls(keyspace, p_default=f"{PAST} too many")
    _seed_waiting(keyspace)
    changes: Changes = {**_TOLD_AGAIN, **_WOKEN, "controls p:app/default": None, _GROUP: "1-0"}
    return _control(keyspace, QueueControl(), changes, pause="resume")


@case
def a_resumption_where_nothing_waits(keyspace: Keyspace) -> Step:
    """No worker is woken."""
    seed_controls(keyspace, p_default=PAST)
    changes: Changes = {**_TOLD_AGAIN, "controls p:app/default": None, _GROUP: "1-0"}
    return _control(keyspace, QueueControl(), changes, pause="resume")


@case
def a_resumption_where_nothing_is_pending(keyspace: Keyspace) -> Step:
    """The group goes on from the beginning."""
    seed_controls(keyspace, p_default=PAST)
    keyspace.seed("XACK", "queue:app/default", "workers", "1-0")
    keyspace.seed("XDEL", "queue:app/default", "1-0")
    _seed_waiting(keyspace)
    changes: Changes = {**_TOLD_AGAIN, **_WOKEN, "controls p:app/default": None, _GROUP: "0-0"}
    return _control(keyspace, QueueControl(), changes, pause="resume")


@case
def a_resumption_of_a_queue_that_is_not_paused(keyspace: Keyspace) -> Step:
    """Nothing happens."""
    _seed_waiting(keyspace)
    return _control(keyspace, QueueControl(), {}, pause="resume")


@case
def a_resumption_of_a_limited_queue(keyspace: Keyspace) -> Step:
    """It stays closed, for workers that know the limit, of which one is woken."""
    seed_controls(keyspace, p_default=PAST, l_default=3)
    _seed_waiting(keyspace)
    changes: Changes = {**_TOLD_AGAIN, **_WOKEN, "controls p:app/default": None}
    return _control(keyspace, QueueControl(limit="3"), changes, pause="resume")


@case
def a_limit(keyspace: Keyspace) -> Step:
    """The queue is closed but for workers that know the limit, of which one is woken."""
    _seed_waiting(keyspace)
    changes: Changes = {**_TOLD, **_WOKEN, "controls l:app/default": "3", _GROUP: CLOSED}
    return _control(keyspace, QueueControl(limit="3"), changes, limit="3")


@case
def a_limit_of_a_paused_queue(keyspace: Keyspace) -> Step:
    """It is still paused."""
    seed_controls(keyspace, p_default=PAST)
    _seed_waiting(keyspace)
    changes: Changes = {**_TOLD_AGAIN, "controls l:app/default": "3"}
    return _control(keyspace, QueueControl(PAST, limit="3"), changes, limit="3")


@case
def no_limit(keyspace: Keyspace) -> Step:
    """`none` opens the queue, and stays, as the code may declare a limit."""
    seed_controls(keyspace, l_default=3)
    _seed_waiting(keyspace)
    changes: Changes = {**_TOLD_AGAIN, **_WOKEN, "controls l:app/default": "none", _GROUP: "1-0"}
    return _control(keyspace, QueueControl(limit="none"), changes, limit="none")


@case
def no_limit_where_there_was_none(keyspace: Keyspace) -> Step:
    """The group of a queue that was open is left as it is, also where entries behind what is pending have ended."""
    keyspace.seed("XGROUP SETID", "queue:app/default", "workers", "4-0")
    changes: Changes = {**_TOLD, "controls l:app/default": "none"}
    return _control(keyspace, QueueControl(limit="none"), changes, limit="none")


@case
def the_declared_limit_again(keyspace: Keyspace) -> Step:
    """Nothing is set any more."""
    seed_controls(keyspace, l_default=3)
    changes: Changes = {**_TOLD_AGAIN, "controls l:app/default": None, _GROUP: "1-0"}
    return _control(keyspace, QueueControl(), changes, limit="declared")
