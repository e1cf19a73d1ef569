"""Events to send, and the call that sends them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from headrace import Event
from headrace.calls import sending
from headrace.formats.outgoing import Outgoing
from headrace.plans.prepare import SendOptions, prepare
from tests.scripts.cases.case import FUTURE
from tests.scripts.state import Keyspace, moment_of

SENT_AT = datetime(2001, 2, 3, tzinfo=UTC)
BEYOND = FUTURE + 1
"""Later than anything in `due`."""


def outgoing(
    event_id: str,
    payload: Any = 1,
    *,
    kind: str = "s",
    name: str = "user.new",
    source: str = "shop",
    ordering_key: str | None = None,
    dedupe_for: float | None = None,
) -> Outgoing:
    """Return an event for now, as a client prepares it."""
    options = SendOptions(ordering_key=ordering_key, dedupe_for=dedupe_for)
    event = Event(name, payload, id=event_id, timestamp=SENT_AT, source=source)
    return prepare([event], options, now=lambda: SENT_AT, id_kind=kind)[0]


def later(
    event_id: str, after_s: int = 0, at: int = 0, payload: Any = 1, ordering_key: str | None = None
) -> Outgoing:  # fmt: skip
    options = SendOptions(
        deliver_at=moment_of(at) if at else None, deliver_after=after_s or None, ordering_key=ordering_key
    )
    event = Event("user.new", payload, id=event_id, timestamp=SENT_AT, source="shop")
    return prepare([event], options, now=lambda: SENT_AT)[0]


def text(event: Outgoing) -> str:
    return event.body.decode("utf-8", "backslashreplace")


def entry(event: Outgoing) -> dict[str, str]:
    return {"i": event.event_id, "z": str(len(event.body)), "b": text(event)}


def seed_sent(keyspace: Keyspace, event: Outgoing, head: str) -> None:
    """The event was sent before; the record's header is given."""
    keyspace.seed("HSET", f"event:{event.event_id}", "m", head, "e", event.body)


def send(keyspace: Keyspace, *events: Outgoing) -> Any:
    return sending.send(keyspace.keys, events, "tok")
