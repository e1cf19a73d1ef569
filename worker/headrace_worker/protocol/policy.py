"""Arguments that several scripts take. Pure."""

from __future__ import annotations

from headrace.calls.call import Argument
from headrace.formats.keys import Keys
from headrace.model.retention import Retention


def policy(keys: Keys, retention: Retention) -> tuple[Argument, ...]:
    """How long records stay, and where it is told that an event has settled; the first six arguments of a script."""
    return (*retention.millis(), keys.settled_channel(""))


def before_id(keys: Keys) -> int:
    """How many bytes stand before the event's id in a record's key, so that no script is given an id twice."""
    return len(keys.event_prefix.encode())
