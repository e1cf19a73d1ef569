"""Looks into lines: the open runs of a job and an ordering key, in their order. Pure."""

from __future__ import annotations

from headrace.calls.call import Call


def read_line_length(line: str) -> Call[int]:
    """Read how many runs a line has, the first of which may be in a queue."""
    return Call(("LLEN", line), int)


def read_line(line: str, first: int, count: int) -> Call[list[bytes]]:
    """Read members of a line, as they are or will be in `due`, from a place on, counted from 0."""
    return Call(("LRANGE", line, first, first + count - 1), list)


def place_in_line(line: str, member: bytes, among: int) -> Call[int | None]:
    """Read the place of a member among the first of a line; None if it is not there."""
    return Call(("LPOS", line, member, "MAXLEN", among), lambda reply: reply)
