"""The calls that count entries and members, and read who lives. Pure."""

from __future__ import annotations

from typing import Any

from headrace.calls.call import Call, as_fields, as_text
from headrace.formats.keys import Keys
from headrace_worker.protocol.delivery import Stream


def count_entries(stream: str) -> Call[int]:
    """Count the entries of a stream, pending ones included."""
    return Call(("XLEN", stream), int)


def count_pending(stream: Stream) -> Call[int]:
    """Count the entries of a stream that are pending under any worker's name."""
    return Call(("XPENDING", stream.key, stream.group), lambda reply: int(reply[0]), no_group=[0])


def count_due(keys: Keys) -> Call[int]:
    """Count the members of `due`."""
    return Call(("ZCARD", keys.due), int)


def read_lease_ends(keys: Keys) -> Call[dict[str, int]]:
    """Read when each worker's lease ends, in milliseconds by the server's clock; of a fenced name, the next look."""

    def read(reply: list[Any]) -> dict[str, int]:
        return {as_text(name): int(float(end)) for name, end in as_fields(reply).items()}

    return Call(("ZRANGE", keys.workers, 0, -1, "WITHSCORES"), read)
