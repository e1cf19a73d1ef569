"""What `bury` must give and change."""

from __future__ import annotations

from headrace import Retention
from headrace_worker import protocol
from headrace_worker.delivery import Stream
from tests.scripts.cases.case import BODY, RETENTION, Step, case, queue, run_line, seed_entry, seed_record, seed_run
from tests.scripts.state import Changes, World

_WHY = {"reason": "unreadable", "error": "no event"}


def _bury(world: World, stream: Stream, gives: int, changes: Changes, retention: Retention = RETENTION) -> Step:
    return Step(protocol.bury(world.keys, stream, "5-0", "unreadable", "no event", retention), gives, changes)


@case
def an_entry_of_a_queue(world: World) -> Step:
    """An entry is out of its queue and in `dead` as it was, with the reason; its record is not touched."""
    seed_record(world, "e1", runs="1", fields={"r:app/job": run_line("q", "5-0")})
    seed_entry(world, "5-0", "e1", state="damaged")
    raw = {"raw.e": "e1", "raw.j": "job", "raw.s": "damaged", "raw.b": BODY}
    changes: Changes = {
        "queue:app/default 5-0": None,
        "queue:app/default workers w1": "",
        "dead new-1": _WHY | raw,
    }
    return _bury(world, queue(world), 1, changes)


@case
def an_entry_of_events(world: World) -> Step:
    """An entry of `events` that another program wrote is in `dead` as it was."""
    world.entry("events", "5-0", {"reason": "theirs", "run": "theirs"})
    world.hold("events", "dispatch", "w1", "5-0")
    changes: Changes = {
        "events 5-0": None,
        "events dispatch w1": "",
        "dead new-1": _WHY | {"raw.reason": "theirs", "raw.run": "theirs"},
    }
    return _bury(world, protocol.events_stream(world.keys), 1, changes)


@case
def a_deleted_entry(world: World) -> Step:
    """Of an entry that was deleted while it was in hand the reason is in `dead`."""
    seed_run(world, "5-0", "e1")
    world.seed("XDEL", "queue:app/default", "5-0")
    changes: Changes = {"queue:app/default workers w1": "", "dead new-1": _WHY}
    return _bury(world, queue(world), 1, changes)


@case
def an_entry_that_is_not_ours(world: World) -> Step:
    """An entry that is in nobody's hands stays where it is."""
    seed_run(world, "5-0", "e1", worker=None)
    return _bury(world, queue(world), 0, {})


@case
def an_unknown_entry(world: World) -> Step:
    """An entry that is not there is not in `dead` either."""
    return _bury(world, queue(world), 0, {})


@case
def retention_beyond_1970(world: World) -> Step:
    """A retention longer than the time since 1970 keeps every dead letter."""
    seed_run(world, "5-0", "e1")
    world.seed("XDEL", "queue:app/default", "5-0")
    changes: Changes = {"queue:app/default workers w1": "", "dead new-1": _WHY}
    return _bury(world, queue(world), 1, changes, Retention(failure_s=100 * 366 * 86_400))
