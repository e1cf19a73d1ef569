"""Arguments that several scripts take. Pure."""

from __future__ import annotations

from headrace.calls.call import Argument
from headrace.formats.keys import Keys
from headrace.model.retention import Retention


def policy(keys: Keys, retention: Retention) -> tuple[Argument, ...]:
    """Return how long records stay, and the channels' prefix for settled events: a script's first six arguments."""
    return (*retention.millis(), keys.settled_channel(""))


def before_id(keys: Keys) -> int:
    """Return the length of the record key's prefix; scripts cut it off to get the event's id."""
    return len(keys.event_prefix.encode())
