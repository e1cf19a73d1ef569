"""Cancels events that are delayed. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from headrace.calls.arguments import Policy, pack, policy
from headrace.calls.call import Call, script_call
from headrace.errors import EventNotFound
from headrace.formats.codec import from_millis
from headrace.formats.keys import Keys
from headrace.model.retention import Retention


class _Arguments(msgspec.Struct, frozen=True):
    """What `cancel.lua` reads beside its keys; its header says what each is."""

    policy: Policy
    id: str


def cancel(keys: Keys, event_id: str, retention: Retention) -> Call[datetime | None]:
    """Cancel a delayed event; read when it was canceled, None if it is not. Raise EventNotFound."""

    def read(reply: list[bytes]) -> datetime | None:
        if reply[0] == b"missing":
            raise EventNotFound(event_id)
        return from_millis(int(reply[1])) if reply[0] == b"canceled" else None

    args = _Arguments(policy(keys, retention), event_id)
    return script_call("cancel", (keys.due, keys.event(event_id), keys.fading), (pack(args),), read)
