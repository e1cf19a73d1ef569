"""The calls that move due members into their streams. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, as_fields, as_text, script_call
from headrace.formats.codec import INLINE_BYTES
from headrace.formats.due import split_member
from headrace.formats.keys import Keys

_LATEST_MS = 2**53


Wake = Literal["due", "lease"]
"""Why the leader is woken: an earlier due time, or a lease that ended before its time."""


class DueMember(msgspec.Struct, frozen=True):
    """A member of `due` and the time, in ms, at which it is due."""

    member: str
    due_ms: int


class Promoted(msgspec.Struct, frozen=True):
    """The result of a promotion.

    Attributes:
        now_ms: the server's time.
        moved: how many members were moved.
        dropped: how many members had nothing to deliver.
        ahead: the earliest members that are left.
        foreign: members among them that Headrace did not write.
        ordered: events that were not moved, as the call named another ordering key, and their right keys.
    """

    now_ms: int
    moved: int
    dropped: int
    ahead: list[DueMember]
    foreign: list[bytes] = []
    ordered: dict[str, str] = {}


def member_of(queue: str, run_id: str, ordering_key: str = "") -> str:
    """Return the member of `due` of a waiting run; an ordering key stands in it behind its length in bytes."""
    if not ordering_key:
        return f"r:{queue}:{run_id}"
    return f"o:{len(ordering_key.encode())}:{ordering_key}:{queue}:{run_id}"


def name_of(member: bytes) -> str | None:
    """Return a member of `due` as text; None if Headrace did not write the member."""
    name = as_text(member)
    return name if name.encode() == member and split_member(name) is not None else None


def line_of(keys: Keys, member: str) -> str | None:
    """Return the key of the line in which a member of `due` stands; None for a member without an ordering key."""
    found = split_member(member)
    return keys.line(found.job, found.ordering_key) if found is not None and found.ordering_key else None


def event_of(member: str) -> str:
    """Return the event id of a member of `due`; empty if Headrace did not write the member."""
    found = split_member(member)
    return found.event_id if found else ""


def read_due_apps(keys: Keys, start: int, count: int) -> Call[list[str]]:
    """Read of each of `count` members from place `start` on, soonest first, the app of its run; empty for an event."""

    def app_of(member: bytes) -> str:
        found = split_member(as_text(member))
        return found.app if found else ""

    return Call(("ZRANGE", keys.due, start, start + count - 1), lambda reply: [app_of(each) for each in reply])


class _Arguments(msgspec.Struct, frozen=True):
    """What `promote.lua` reads beside its keys; its header says what each is."""

    inline: int
    ahead: int
    members: Sequence[str]
    ordered: dict[int, str]


def promote(
    keys: Keys, members: Sequence[str], ahead: int, ordered: Mapping[str, str] | None = None
) -> Call[Promoted]:  # fmt: skip
    """Move members that are due into their streams, and read the next `ahead` members.

    Args:
        ordered: the ordering keys of events, by member, as an earlier answer has named them.
    """
    names = [keys.due, keys.events]
    places: dict[int, str] = {}
    for place, member in enumerate(members, 1):
        found = split_member(member)
        if found is None:
            raise ValueError(f"{member!r} is no member of due")
        names.append(keys.event(found.event_id))
        key = ordered.get(member, "") if ordered else ""
        if found.app:
            names += (keys.queue(found.app, found.queue), keys.wake_up(found.app))
            names += [keys.line(found.job, found.ordering_key)] if found.ordering_key else []
        else:
            names += (keys.events, keys.order(key) if key else keys.events)
            if key:
                places[place] = key
    args = _Arguments(INLINE_BYTES, ahead, members, places)
    return script_call("promote", names, (pack(args),), _read_promoted)


def _read_promoted(reply: list[Any]) -> Promoted:
    ahead: list[DueMember] = []
    foreign: list[bytes] = []
    for member, score in zip(reply[4::2], reply[5::2], strict=True):
        if (name := name_of(member)) is not None:
            ahead.append(DueMember(name, int(min(max(float(score), 0), _LATEST_MS))))
        else:
            foreign.append(member)
    now_ms, moved, dropped = map(int, reply[:3])
    ordered = [as_text(each) for each in reply[3]]
    return Promoted(now_ms, moved, dropped, ahead, foreign, as_fields(ordered))


def set_back(keys: Keys, count: int) -> Call[int]:
    """Make part of the waiting runs due earlier, by as much as the server's clock has gone back; 0 if none is left."""
    return script_call("set_back", (keys.due, keys.meta), (count,), int)


def listen_wake(keys: Keys, timeout_s: float) -> Call[Wake | None]:
    """Wait until an earlier due time is set, a lease is ended before its time, or the time is over."""

    def read(reply: list[bytes] | None) -> Wake | None:
        return None if reply is None else "lease" if reply[1] == b"lease" else "due"

    # Redis 6.2 rounds 0.001 s to 0, which means for ever.
    return Call(("BLPOP", keys.wake, f"{max(timeout_s, 0.002):.3f}"), read)


def leave_line(line: str, member: str) -> tuple[Call[int], Call[str | None]]:
    """Take a run that can't be handled out of its line; the second call reads which run is first then."""
    first = Call(("LINDEX", line, 0), lambda reply: None if reply is None else as_text(reply))
    return Call(("LREM", line, 1, member), int), first


def make_due(keys: Keys, member: str) -> Call[int]:
    """Make a run due at once that waits in its line; a run that is due already stays as it is."""
    return Call(("ZADD", keys.due, "NX", 0, member), int)


def dead_letter_due(keys: Keys, member: str | bytes, error: str) -> tuple[Call[str], Call[int]]:
    """Move a member of `due` that can't be handled to `dead`, as it is."""
    letter = ("reason", "unreadable", "error", error, "raw.member", member)
    return Call(("XADD", keys.dead, "*", *letter), as_text), Call(("ZREM", keys.due, member), int)
