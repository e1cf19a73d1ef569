"""How what is due gets into its stream. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headrace.calls import Argument, Call, as_text, script_call
from headrace.codec import INLINE_BYTES
from headrace.keys import Keys, is_name

_LATEST_MS = 2**53


Wake = Literal["due", "lease"]
"""Why the leader is woken: an earlier due time, or a lease that ended before its time."""


class DueMember(msgspec.Struct, frozen=True):
    """A member of `due` and its time in ms."""

    member: str
    due_ms: int


class Promoted(msgspec.Struct, frozen=True):
    """The server's time, how many members had nothing to deliver any more, and the earliest that are left.

    Attributes:
        foreign: those of them that Headrace did not write.
    """

    now_ms: int
    dropped: int
    ahead: list[DueMember]
    foreign: list[bytes] = []


class _Member(msgspec.Struct, frozen=True):
    """What a member of `due` names: an event, or a run's event, queue and app."""

    event_id: str
    queue: str = ""
    app: str = ""


def _split_member(member: str) -> _Member | None:
    """Returns what a member of `due` names; None for one that Headrace did not write."""
    kind, _, rest = member.partition(":")
    if kind == "e" and rest:
        return _Member(rest)
    queue, _, run = rest.partition(":")
    event_id, _, job = run.rpartition(":")
    app, _, job_id = job.partition("/")
    if kind != "r" or not (event_id and is_name(queue) and is_name(app) and is_name(job_id)):
        return None
    return _Member(event_id, queue, app)


def event_of(member: str) -> str:
    """Returns the id of the event that a member of `due` belongs to; empty for one that Headrace did not write."""
    found = _split_member(member)
    return found.event_id if found else ""


def promote(keys: Keys, members: Sequence[str], ahead: int) -> Call[Promoted]:
    """Moves members that are due into their streams, and looks ahead."""
    names = [keys.due, keys.events]
    argv: list[Argument] = [INLINE_BYTES, ahead]
    for member in members:
        found = _split_member(member)
        if found is None:
            raise ValueError(f"{member!r} is no member of due")
        names.append(keys.event(found.event_id))
        names += (keys.queue(found.app, found.queue), keys.bell(found.app)) if found.app else (keys.events, keys.events)
        argv.append(member)
    return script_call("promote", names, argv, _read_promoted)


def _read_promoted(reply: list[Any]) -> Promoted:
    ahead: list[DueMember] = []
    foreign: list[bytes] = []
    for member, score in zip(reply[2::2], reply[3::2], strict=True):
        name = as_text(member)
        if name.encode() == member and _split_member(name) is not None:
            ahead.append(DueMember(name, int(min(max(float(score), 0), _LATEST_MS))))
        else:
            foreign.append(member)
    return Promoted(int(reply[0]), int(reply[1]), ahead, foreign)


def listen_wake(keys: Keys, timeout_s: float) -> Call[Wake | None]:
    """Waits until an earlier due time is set or a lease was ended by hand, or for the time."""

    def read(reply: list[bytes] | None) -> Wake | None:
        return None if reply is None else "lease" if reply[1] == b"lease" else "due"

    # Redis 6.2 makes 0 of 0.001 s, which is for ever.
    return Call(("BLPOP", keys.wake, f"{max(timeout_s, 0.002):.3f}"), read)


def set_aside_due(keys: Keys, member: str | bytes, error: str) -> tuple[Call[str], Call[int]]:
    """Moves a member of `due` that can't be handled into `dead`, as it is."""
    letter = ("reason", "unreadable", "error", error, "raw.member", member)
    return Call(("XADD", keys.dead, "*", *letter), as_text), Call(("ZREM", keys.due, member), int)
