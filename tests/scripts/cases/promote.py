"""What `promote` must give and change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from headrace_worker.protocol import due
from headrace_worker.protocol.due import DueMember, Promoted
from tests.scripts.cases.case import (
    BODY,
    FUTURE,
    LARGE,
    LARGEST_INLINE,
    LONG_PAST,
    PAST,
    TURNS,
    Step,
    case,
    header,
    run_line,
    seed_line,
    seed_queue,
    seed_record,
    turn,
)
from tests.scripts.state import NOW, Changes, Fact, Keyspace

_LEFT = [DueMember("e:later", FUTURE), DueMember("r:default:waiting:app/job", FUTURE)]
_RUN = "r:default:e1:app/job"


def _promote(
    keyspace: Keyspace,
    members: Sequence[str],
    changes: Changes,
    *,
    dropped: int = 0,
    left: Sequence[DueMember] = _LEFT,
    ahead: int = 10,
    full: Literal["passes", "refused"] = "passes",
    known: dict[str, str] | None = None,
    told: dict[str, str] | None = None,
) -> Step:
    call = due.promote(keyspace.keys, members, ahead, known)
    moved = sum(name.startswith(("events new-", "queue:")) and " new-" in name for name in changes)
    return Step(call, Promoted(NOW, moved, dropped, list(left), [], told or {}), changes, full)


def _seed_delayed(keyspace: Keyspace, event_id: str = "e1", *, due: int = PAST, body: str | None = BODY) -> None:
    seed_record(keyspace, event_id, due=due, delivered=0, body=body)
    keyspace.seed("ZADD", "due", due, f"e:{event_id}")


def _seed_waiting(keyspace: Keyspace, *, body: str = BODY, status: str = "w", queue: str = "default") -> None:
    """The run has failed once, and what came of it is in its field."""
    line = run_line(status, "-", state="2 1 0 0", queue=queue, worker="w1", started=LONG_PAST, outcome="error")
    seed_record(keyspace, "e1", runs="1", body=body, fields={"r:app/job": line})
    keyspace.seed("ZADD", "due", PAST, f"r:{queue}:e1:app/job")


@case
def nothing(keyspace: Keyspace) -> Step:
    """Without members it tells what is ahead."""
    return _promote(keyspace, [], {})


@case
def a_look_at_less(keyspace: Keyspace) -> Step:
    """It tells of no more members than it was asked for."""
    return _promote(keyspace, [], {}, ahead=1, left=_LEFT[:1])


@case
def no_look_ahead(keyspace: Keyspace) -> Step:
    """It tells of none if none was asked for."""
    return _promote(keyspace, [], {}, ahead=0, left=[])


@case
def a_due_event(keyspace: Keyspace) -> Step:
    """A delayed event that is due is in `events` and says delivered."""
    _seed_delayed(keyspace)
    changes: Changes = {
        "due e:e1": None,
        "events new-1": {"i": "e1", "z": "8", "b": BODY},
        "event:e1 m": header(due=PAST, delivered=NOW),
    }
    return _promote(keyspace, ["e:e1"], changes, full="refused")


@case
def a_due_event_with_a_large_body(keyspace: Keyspace) -> Step:
    """A body over 8 kB stays in the record."""
    _seed_delayed(keyspace, body=LARGE)
    changes: Changes = {
        "due e:e1": None,
        "events new-1": {"i": "e1", "z": str(len(LARGE)), "b": ""},
        "event:e1 m": header(due=PAST, delivered=NOW),
    }
    return _promote(keyspace, ["e:e1"], changes, full="refused")


@case
def the_largest_body_inside(keyspace: Keyspace) -> Step:
    """A body of 8 kB travels in the entry of an event."""
    _seed_delayed(keyspace, body=LARGEST_INLINE)
    changes: Changes = {
        "due e:e1": None,
        "events new-1": {"i": "e1", "z": "8192", "b": LARGEST_INLINE},
        "event:e1 m": header(due=PAST, delivered=NOW),
    }
    return _promote(keyspace, ["e:e1"], changes, full="refused")


@case
def the_largest_body_of_a_run_inside(keyspace: Keyspace) -> Step:
    """A body of 8 kB travels in the entry of a run."""
    _seed_waiting(keyspace, body=LARGEST_INLINE)
    line = run_line("q", "new-1", state="2 1 0 0", worker="w1", started=LONG_PAST, outcome="error")
    changes: Changes = {
        f"due {_RUN}": None,
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "2 1 0 0 8192", "b": LARGEST_INLINE},
        "event:e1 r:app/job": line,
        "wake-up:app new-1": {"r": ""},
    }
    return _promote(keyspace, [_RUN], changes)


@case
def several_due_events(keyspace: Keyspace) -> Step:
    """Due events keep the order in which they were named; an event's id may hold colons."""
    _seed_delayed(keyspace, "a:b")
    _seed_delayed(keyspace, "e1")
    changes: Changes = {
        "due e:e1": None,
        "due e:a:b": None,
        "events new-1": {"i": "e1", "z": "8", "b": BODY},
        "events new-2": {"i": "a:b", "z": "8", "b": BODY},
        "event:e1 m": header(due=PAST, delivered=NOW),
        "event:a:b m": header(due=PAST, delivered=NOW),
    }
    return _promote(keyspace, ["e:e1", "e:a:b"], changes, full="refused")


@case
def what_is_not_due(keyspace: Keyspace) -> Step:
    """Members whose time has not come, put off since they were looked at perhaps, are untouched."""
    return _promote(keyspace, ["e:later", "r:default:waiting:app/job"], {})


@case
def what_is_not_in_due(keyspace: Keyspace) -> Step:
    """Members that are not in `due` any more are untouched."""
    seed_record(keyspace, "e1", due=PAST, delivered=PAST)
    return _promote(keyspace, ["e:e1", "e:unknown", _RUN], {})


@case
def a_due_run(keyspace: Keyspace) -> Step:
    """A run whose wait is over is in its queue with its state, and its field keeps the last attempt."""
    _seed_waiting(keyspace)
    line = run_line("q", "new-1", state="2 1 0 0", worker="w1", started=LONG_PAST, outcome="error")
    changes: Changes = {
        f"due {_RUN}": None,
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "2 1 0 0 8", "b": BODY},
        "event:e1 r:app/job": line,
        "wake-up:app new-1": {"r": ""},
    }
    return _promote(keyspace, [_RUN], changes)


@case
def a_due_run_with_a_large_body(keyspace: Keyspace) -> Step:
    """A body over 8 kB stays in the record; the entry's state has its size."""
    _seed_waiting(keyspace, body=LARGE)
    keyspace.entry("wake-up:app", "1-0", {"r": ""})
    line = run_line("q", "new-1", state="2 1 0 0", worker="w1", started=LONG_PAST, outcome="error")
    changes: Changes = {
        f"due {_RUN}": None,
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": f"2 1 0 0 {len(LARGE)}", "b": ""},
        "event:e1 r:app/job": line,
        "wake-up:app 1-0": None,
        "wake-up:app new-1": {"r": ""},
    }
    return _promote(keyspace, [_RUN], changes)


@case
def runs_of_several_apps(keyspace: Keyspace) -> Step:
    """Each run goes to the queue that its member names, and each app's wake-up stream is rung once."""
    seed_queue(keyspace, "mail")
    seed_queue(keyspace, "default", "shop")
    fields: dict[str, str | int] = {
        "o": 3,
        "r:app/job": run_line("w", "-", state="2 0 0 0", queue="mail"),
        "r:app/two": run_line("w", "-", state="4 0 0 0"),
        "r:shop/job": run_line("w", "-", state="3 0 0 0"),
    }
    seed_record(keyspace, "a:b", runs="3", fields=fields)
    members = ["r:mail:a:b:app/job", "r:default:a:b:app/two", "r:default:a:b:shop/job"]
    for member in members:
        keyspace.seed("ZADD", "due", PAST, member)
    changes: Changes = {
        **{f"due {member}": None for member in members},
        "queue:app/mail new-1": {"e": "a:b", "j": "job", "s": "2 0 0 0 8", "b": BODY},
        "queue:app/default new-1": {"e": "a:b", "j": "two", "s": "4 0 0 0 8", "b": BODY},
        "queue:shop/default new-1": {"e": "a:b", "j": "job", "s": "3 0 0 0 8", "b": BODY},
        "event:a:b r:app/job": run_line("q", "new-1", state="2 0 0 0", queue="mail"),
        "event:a:b r:app/two": run_line("q", "new-1", state="4 0 0 0"),
        "event:a:b r:shop/job": run_line("q", "new-1", state="3 0 0 0"),
        "wake-up:app new-1": {"r": ""},
        "wake-up:shop": "stream",
        "wake-up:shop new-1": {"r": ""},
    }
    return _promote(keyspace, members, changes)


def _drops(keyspace: Keyspace, member: str) -> Step:
    return _promote(keyspace, [member], {f"due {member}": None}, dropped=1)


@case
def an_event_without_record(keyspace: Keyspace) -> Step:
    """An event whose record is gone is dropped."""
    keyspace.seed("ZADD", "due", PAST, "e:e1")
    return _drops(keyspace, "e:e1")


@case
def an_event_without_body(keyspace: Keyspace) -> Step:
    """An event whose body is gone is dropped."""
    _seed_delayed(keyspace, body=None)
    return _drops(keyspace, "e:e1")


@case
def an_event_that_is_delivered(keyspace: Keyspace) -> Step:
    """A member that was left behind when its event was delivered delivers it no second time."""
    seed_record(keyspace, "e1", due=PAST, delivered=PAST, runs="1")
    keyspace.seed("ZADD", "due", PAST, "e:e1")
    return _drops(keyspace, "e:e1")


@case
def an_event_that_is_canceled(keyspace: Keyspace) -> Step:
    """A member that was left behind when its event was canceled does not deliver it."""
    seed_record(keyspace, "e1", due=PAST, delivered=0, canceled=PAST, runs="0")
    keyspace.seed("ZADD", "due", PAST, "e:e1")
    return _drops(keyspace, "e:e1")


@case
def an_event_with_a_damaged_header(keyspace: Keyspace) -> Step:
    """An event whose header can't be read is dropped."""
    keyspace.seed("HSET", "event:e1", "m", "damaged", "e", BODY)
    keyspace.seed("ZADD", "due", PAST, "e:e1")
    return _drops(keyspace, "e:e1")


@case
def a_run_without_record(keyspace: Keyspace) -> Step:
    """A run whose record is gone is dropped."""
    keyspace.seed("ZADD", "due", PAST, _RUN)
    return _drops(keyspace, _RUN)


@case
def a_run_that_is_all_that_is_left_of_its_record(keyspace: Keyspace) -> Step:
    """The record went while the run executed, and its retry wrote a new one: that goes with the member."""
    keyspace.seed("HSET", "event:e1", "r:app/job", run_line("w", "-", state="2 0 0 0"))
    keyspace.seed("ZADD", "due", PAST, _RUN)
    return _promote(keyspace, [_RUN], {f"due {_RUN}": None, "event:e1 r:app/job": None}, dropped=1)


@case
def a_run_with_a_rest_of_its_record(keyspace: Keyspace) -> Step:
    """What was written to a record since it was lost goes with its run: nothing else would ever take it away."""
    keyspace.seed("HSET", "event:e1", "r:app/job", run_line("w", "-", state="2 0 0 0"), "e", BODY)
    keyspace.seed("ZADD", "due", PAST, _RUN)
    return _promote(keyspace, [_RUN], {f"due {_RUN}": None, "event:e1 r:app/job": None, "event:e1 e": None}, dropped=1)


@case
def a_run_without_field(keyspace: Keyspace) -> Step:
    """A run that its event's record does not know is dropped."""
    seed_record(keyspace, "e1", runs="0")
    keyspace.seed("ZADD", "due", PAST, _RUN)
    return _drops(keyspace, _RUN)


@case
def a_run_that_does_not_wait(keyspace: Keyspace) -> Step:
    """A member that was left behind when its run ended queues it no second time."""
    _seed_waiting(keyspace, status="s")
    return _drops(keyspace, _RUN)


@case
def a_run_with_a_damaged_field(keyspace: Keyspace) -> Step:
    """A run whose field can't be read is dropped."""
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": "w damaged"})
    keyspace.seed("ZADD", "due", PAST, _RUN)
    return _drops(keyspace, _RUN)


@case
def a_drop_among_others(keyspace: Keyspace) -> Step:
    """A member that is dropped keeps none of the others from its stream."""
    _seed_waiting(keyspace)
    keyspace.seed("ZADD", "due", PAST, "r:default:gone:app/job")
    line = run_line("q", "new-1", state="2 1 0 0", worker="w1", started=LONG_PAST, outcome="error")
    changes: Changes = {
        "due r:default:gone:app/job": None,
        f"due {_RUN}": None,
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "2 1 0 0 8", "b": BODY},
        "event:e1 r:app/job": line,
        "wake-up:app new-1": {"r": ""},
    }
    return _promote(keyspace, ["r:default:gone:app/job", _RUN], changes, dropped=1)


@case
def an_event_that_was_dispatched_before_its_time(keyspace: Keyspace) -> Step:
    """A foreign entry of `events` can dispatch a delayed event; it is not dispatched once more when it is due."""
    seed_record(keyspace, "e1", due=PAST, delivered=0, runs="1", fields={"r:app/job": run_line("q", "1-0")})
    keyspace.seed("ZADD", "due", PAST, "e:e1")
    return _promote(keyspace, ["e:e1"], {"due e:e1": None}, dropped=1)


# ordering keys


@case
def an_ordering_key_that_was_not_known(keyspace: Keyspace) -> Step:
    """A due event stays and its key is in the answer, so that the next call has its order."""
    _seed_delayed(keyspace)
    keyspace.seed("HSET", "event:e1", "k", "user:1")
    left = [DueMember("e:e1", PAST), *_LEFT]
    return _promote(keyspace, ["e:e1"], {}, left=left, told={"e:e1": "user:1"})


@case
def an_ordering_key_that_has_gone(keyspace: Keyspace) -> Step:
    """A due event that was sent again without its key stays, and the answer says that it has none."""
    _seed_delayed(keyspace)
    keyspace.seed("HSET", "event:e1", "k", "")
    left = [DueMember("e:e1", PAST), *_LEFT]
    return _promote(keyspace, ["e:e1"], {}, left=left, known={"e:e1": "user:1"}, told={"e:e1": ""})


@case
def due_events_with_an_ordering_key(keyspace: Keyspace) -> Step:
    """They enter the order of their key as they come, and their entries name it."""
    seed_line(keyspace, "order:user:1", "e0")
    for event_id in ("e1", "e2"):
        _seed_delayed(keyspace, event_id)
        keyspace.seed("HSET", f"event:{event_id}", "k", "user:1")
    changes: dict[str, Fact | None] = {}
    for place, event_id in enumerate(("e1", "e2"), 1):
        changes |= {
            f"due e:{event_id}": None,
            f"order:user:1 {place}": event_id,
            f"events new-{place}": {"i": event_id, "z": "8", "b": BODY, "k": "user:1"},
            f"event:{event_id} m": header(due=PAST, delivered=NOW),
        }
    known = {"e:e1": "user:1", "e:e2": "user:1"}
    return _promote(keyspace, list(known), changes, known=known, full="refused")


def _seed_turn(keyspace: Keyspace, *behind: str, **record: Any) -> str:
    """A run has the turn of its key and is due; those of other events wait behind it."""
    seed_line(keyspace, TURNS, turn("e1"), *(turn(each) for each in behind))
    keyspace.seed("ZADD", "due", PAST, turn("e1"))
    seed_record(keyspace, "e1", runs="1", fields={"r:app/job": run_line("w", "-"), "k": "user:1"}, **record)
    return turn("e1")


@case
def a_run_whose_turn_has_come(keyspace: Keyspace) -> Step:
    """A run that waited for its turn is queued for its first attempt, and its entry names its key."""
    member = _seed_turn(keyspace, "e2")
    changes: Changes = {
        f"due {member}": None,
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "1 0 0 0 8", "b": BODY, "k": "user:1"},
        "event:e1 r:app/job": run_line("q", "new-1"),
        "wake-up:app new-1": {"r": ""},
    }
    return _promote(keyspace, [member], changes)


@case
def a_lost_run_whose_turn_has_come(keyspace: Keyspace) -> Step:
    """A run of whose payload nothing is left lets its key go: the one behind it is due."""
    member = _seed_turn(keyspace, "e2", body=None)
    changes: Changes = {
        f"due {member}": None,
        f"{TURNS} 0": turn("e2"),
        f"{TURNS} 1": None,
        f"due {turn('e2')}": NOW,
    }
    left = [DueMember(turn("e2"), NOW), *_LEFT]
    return _promote(keyspace, [member], changes, dropped=1, left=left)


@case
def members_of_all_kinds(keyspace: Keyspace) -> Step:
    """A run with an ordering key, an event and a run without one are moved in one call, each with its own keys."""
    ordered = _seed_turn(keyspace)
    _seed_delayed(keyspace, "e2")
    seed_record(keyspace, "e3", runs="1", fields={"r:app/job": run_line("w", "-", state="2 0 0 0")})
    keyspace.seed("ZADD", "due", PAST, "r:default:e3:app/job")
    changes: Changes = {
        f"due {ordered}": None,
        "due e:e2": None,
        "due r:default:e3:app/job": None,
        "queue:app/default new-1": {"e": "e1", "j": "job", "s": "1 0 0 0 8", "b": BODY, "k": "user:1"},
        "queue:app/default new-2": {"e": "e3", "j": "job", "s": "2 0 0 0 8", "b": BODY},
        "event:e1 r:app/job": run_line("q", "new-1"),
        "event:e3 r:app/job": run_line("q", "new-2", state="2 0 0 0"),
        "events new-1": {"i": "e2", "z": "8", "b": BODY},
        "event:e2 m": header(due=PAST, delivered=NOW),
        "wake-up:app new-1": {"r": ""},
    }
    return _promote(keyspace, [ordered, "e:e2", "r:default:e3:app/job"], changes)
