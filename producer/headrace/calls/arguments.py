"""The named arguments of scripts: each script that has several takes one map of them, as msgpack. Pure."""

from __future__ import annotations

import msgspec

from headrace.formats.keys import Keys
from headrace.model.retention import Retention


class Dedupe(msgspec.Struct, frozen=True):
    """For how many ms at least an id is remembered: one by the client, by the sender, or derived."""

    c: int
    s: int
    d: int


class Policy(msgspec.Struct, frozen=True):
    """What a script needs to close a record: ms after success and after failure, and the settled events' channels."""

    success: int
    failure: int
    dedupe: Dedupe
    channel: str


pack = msgspec.msgpack.Encoder().encode
"""Return arguments as the script reads them: a struct as a map, tuples as lists.

Bytes can't be among them, as the servers' `cmsgpack` reads no binary type: they travel beside the map, as they are.
"""


def policy(keys: Keys, retention: Retention) -> Policy:
    """Return how long records stay, and the channels' prefix for settled events."""
    success, failure, client, sender, derived = retention.millis()
    return Policy(success, failure, Dedupe(client, sender, derived), keys.settled_channel(""))


def before_id(keys: Keys) -> int:
    """Return the length of the record key's prefix; scripts cut it off to get the event's id."""
    return len(keys.event_prefix.encode())
