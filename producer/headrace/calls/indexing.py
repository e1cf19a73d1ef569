"""The calls that read `recent` and `runs`, the indexes of what was sent and settled, and set how much they keep. Pure.

An index helps lists, and is no part of any guarantee. The leader trims it to as many entries as the namespace keeps; so
that it is bounded where no worker leads, too, each script that adds to it keeps it below MOST_INDEX_ENTRIES.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.calls.call import Call, as_text
from headrace.formats.keys import Keys

INDEX_ENTRIES = 10_000
"""How many entries, about, each index keeps at least, and where nothing is set."""
MOST_INDEX_ENTRIES = 1_000_000
"""How many it can be told to keep, and keeps about where no worker leads."""
_SETTING = "index_entries"


class IndexEntry(msgspec.Struct, frozen=True):
    """One entry of a listing: its id and the pairs that it holds, (id, name) or (run id, status letter)."""

    id: str
    pairs: list[tuple[str, str]]


def read_index(stream: str, cursor: str | None, count: int, since: str = "-") -> Call[list[IndexEntry]]:
    """Read entries of `recent` or `runs`, newest first, from the one before the cursor on.

    Args:
        since: the id of the oldest entry that is read.
    """
    end = f"({cursor}" if cursor else "+"
    return Call(("XREVRANGE", stream, end, since, "COUNT", count), _read_index)


def read_index_behind(stream: str, entry_id: str, count: int) -> Call[list[IndexEntry]]:
    """Read entries of `recent` or `runs`, oldest first, from the one behind an id on."""
    return Call(("XRANGE", stream, f"({entry_id}", "+", "COUNT", count), _read_index)


def read_is_full(stream: str) -> Call[bool]:
    """Read whether `recent` or `runs` has so many entries that it may have dropped its oldest: it has no fewer then."""
    return Call(("XLEN", stream), lambda reply: int(reply) >= INDEX_ENTRIES)


def _read_index(reply: list[Any]) -> list[IndexEntry]:
    return [
        IndexEntry(
            as_text(entry_id),
            [(as_text(fields[i]), as_text(fields[i + 1])) for i in range(len(fields) - 2, -1, -2)],
        )
        for entry_id, fields in reply
        if fields is not None
    ]


def read_oldest(stream: str) -> Call[list[str]]:
    """Read the id of the oldest entry of a listing; none if it has none."""
    return Call(("XRANGE", stream, "-", "+", "COUNT", 1), lambda reply: [as_text(reply[0][0])] if reply else [])


def keep(keys: Keys, entries: int) -> Call[int]:
    """Set how many entries, about, each index of a partition keeps."""
    return Call(("HSET", keys.meta, _SETTING, entries), int)


def read_kept(keys: Keys) -> Call[int]:
    """Read how many entries each index of a partition keeps; what is no number of them counts as the least."""
    return Call(("HMGET", keys.meta, _SETTING), lambda reply: _kept(reply[0]))


def read_length(stream: str) -> Call[int]:
    """Read how many entries an index has."""
    return Call(("XLEN", stream), int)


def _kept(stored: bytes | None) -> int:
    text = as_text(stored or b"")
    is_number = text.isdecimal() and len(text) <= len(str(MOST_INDEX_ENTRIES))
    return max(INDEX_ENTRIES, int(text) if is_number else 0)
