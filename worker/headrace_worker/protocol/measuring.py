"""The calls that count entries and members. Pure."""

from __future__ import annotations

from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace_worker.protocol.delivery import Stream


def count_entries(stream: str) -> Call[int]:
    """Count the entries of a stream, pending ones included."""
    return Call(("XLEN", stream), int)


def count_pending(stream: Stream) -> Call[int]:
    """Count the entries of a stream that are pending under any worker's name."""
    return Call(("XPENDING", stream.key, stream.group), lambda reply: int(reply[0]))


def count_due(keys: Keys) -> Call[int]:
    """Count the members of `due`."""
    return Call(("ZCARD", keys.due), int)
