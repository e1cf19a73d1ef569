"""Looks into `due`. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.calls.call import Call
from headrace.formats.keys import Keys

_LATEST_MS = 2**53


class DueMember(msgspec.Struct, frozen=True):
    """A member of `due`, and when it is due."""

    name: bytes
    due_ms: int


def read_due(keys: Keys, first: int, count: int) -> Call[list[DueMember]]:
    """Read members of `due`, soonest first, from the one at a place on, counted from 0."""
    return Call(("ZRANGE", keys.due, first, first + count - 1, "WITHSCORES"), _read_members)


def _read_members(reply: list[Any]) -> list[DueMember]:
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return [DueMember(name, int(max(0.0, min(float(score), _LATEST_MS)))) for name, score in pairs]


def count_due_before(keys: Keys, millis: int) -> Call[int]:
    """Count the members that are due before a time."""
    return Call(("ZCOUNT", keys.due, "-inf", f"({millis}"), int)


def place_in_due(keys: Keys, member: bytes) -> Call[int | None]:
    """Read the place of a member among all, soonest first; None if it is not there."""
    return Call(("ZRANK", keys.due, member), lambda reply: reply)
