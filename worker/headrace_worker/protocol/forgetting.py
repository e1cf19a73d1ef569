"""The call that deletes what was kept long enough, and what the indexes have too much. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, as_text, script_call
from headrace.calls.indexing import INDEX_ENTRIES
from headrace.formats.keys import Keys
from headrace.model.retention import Retention


class Forgotten(msgspec.Struct, frozen=True):
    """How many dead letters and how many entries of the indexes were deleted; the events whose contents go next."""

    letters: int
    trimmed: int
    following: list[str]


class _Arguments(msgspec.Struct, frozen=True):
    """What `forget.lua` reads beside its keys; its header says what each is."""

    keep: int
    count: int
    ids: Sequence[str]
    listed: int = INDEX_ENTRIES


def forget(keys: Keys, event_ids: Sequence[str], retention: Retention, count: int) -> Call[Forgotten]:
    """Delete contents of events, and dead letters, that were kept long enough, but no event's header; trim the indexes.

    Args:
        event_ids: as the call before has returned them.
        count: how many dead letters to delete, and events to return, at most.
    """

    def read(reply: list[Any]) -> Forgotten:
        return Forgotten(int(reply[0]), int(reply[1]), [as_text(each) for each in reply[2:]])

    names = [keys.fading, keys.dead, keys.meta, keys.recent, keys.runs, *map(keys.event, event_ids)]
    args = _Arguments(retention.millis()[1], count, event_ids)
    return script_call("forget", names, (pack(args),), read)
