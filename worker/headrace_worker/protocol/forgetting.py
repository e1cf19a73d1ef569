"""How what was kept long enough goes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls.call import Call, as_text, script_call
from headrace.formats.keys import Keys
from headrace.model.retention import Retention


class Forgotten(msgspec.Struct, frozen=True):
    """How many dead letters were deleted, and the events whose contents are to go now."""

    letters: int
    following: list[str]


def forget(keys: Keys, event_ids: Sequence[str], retention: Retention, count: int) -> Call[Forgotten]:
    """Leaves the headers of events whose contents were kept long enough, and deletes dead letters that were.

    Args:
        event_ids: as the call before has told them.
        count: how many dead letters to delete, and events to tell of, at most.
    """

    def read(reply: list[Any]) -> Forgotten:
        return Forgotten(int(reply[0]), [as_text(each) for each in reply[1:]])

    names = [keys.fading, keys.dead, *map(keys.event, event_ids)]
    return script_call("forget", names, (retention.millis()[1], count, *event_ids), read)
