"""The call that deletes what was kept long enough. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, as_text, script_call
from headrace.formats.keys import Keys
from headrace.model.retention import Retention


class Forgotten(msgspec.Struct, frozen=True):
    """How many dead letters were deleted, and the events whose contents are to be deleted next."""

    letters: int
    following: list[str]


class _Arguments(msgspec.Struct, frozen=True):
    """What `forget.lua` reads beside its keys; its header says what each is."""

    keep: int
    count: int
    ids: Sequence[str]


def forget(keys: Keys, event_ids: Sequence[str], retention: Retention, count: int) -> Call[Forgotten]:
    """Delete contents of events, and dead letters, that were kept long enough; keep the events' headers.

    Args:
        event_ids: as the call before has returned them.
        count: how many dead letters to delete, and events to return, at most.
    """

    def read(reply: list[Any]) -> Forgotten:
        return Forgotten(int(reply[0]), [as_text(each) for each in reply[1:]])

    names = [keys.fading, keys.dead, *map(keys.event, event_ids)]
    args = _Arguments(retention.millis()[1], count, event_ids)
    return script_call("forget", names, (pack(args),), read)
