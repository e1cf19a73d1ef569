"""Which runs of an ordering key overtook others of it, or began beside them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from tests.faults.chaos.calls import Call


class Turn(msgspec.Struct, frozen=True):
    """A run of an ordering key, from its first call until it settled.

    Attributes:
        place: that of its event among all that were sent; -1 where no order is promised.
    """

    call: Call
    settled_ms: int
    place: int


def overlapping(turns: Iterable[Turn]) -> Iterator[tuple[Turn, Turn]]:
    """Yield each that began before one that had begun earlier was settled, behind that one."""
    longest: Turn | None = None
    for turn in sorted(turns, key=lambda turn: turn.call.at):
        if longest is not None and turn.call.ms < longest.settled_ms:
            yield longest, turn
        if longest is None or turn.settled_ms > longest.settled_ms:
            longest = turn


def overtaken(turns: Iterable[Turn]) -> Iterator[tuple[Turn, Turn]]:
    """Yield each that began after one that was sent later, behind that one."""
    furthest: Turn | None = None
    for turn in sorted((turn for turn in turns if turn.place >= 0), key=lambda turn: turn.call.at):
        if furthest is not None and turn.place < furthest.place:
            yield furthest, turn
        else:
            furthest = turn
