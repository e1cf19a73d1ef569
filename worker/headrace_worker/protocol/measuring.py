"""How much there is, and where. Pure."""

from __future__ import annotations

from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace_worker.protocol.delivery import Stream


def count_entries(stream: str) -> Call[int]:
    """Counts the entries of a stream, those in hands included."""
    return Call(("XLEN", stream), int)


def count_held(stream: Stream) -> Call[int]:
    """Counts the entries of a stream that are in any worker's hands."""
    return Call(("XPENDING", stream.key, stream.group), lambda reply: int(reply[0]))


def count_due(keys: Keys) -> Call[int]:
    """Counts what is to be delivered later."""
    return Call(("ZCARD", keys.due), int)
