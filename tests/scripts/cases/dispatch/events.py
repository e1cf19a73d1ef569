"""Events that a worker has read, and the call that dispatches them."""

from __future__ import annotations

from typing import Literal

from headrace.model.retention import Retention
from headrace_worker.app.routes import Route
from headrace_worker.protocol import dispatching
from headrace_worker.protocol.delivery import EventEntry
from headrace_worker.protocol.dispatching import Answer, Matched
from tests.scripts.cases.case import BODY, RETENTION, Lines, Step, seed_record
from tests.scripts.state import Changes, Keyspace

JOB = Route("app/job", "app", "default")
TWO = Route("app/two", "app", "default")
MAIL = Route("app/mailer", "app", "mail")
SHOP = Route("shop/job", "shop", "default")
RUNG = {"r": ""}


def seed_event(
    keyspace: Keyspace,
    event_id: str = "e1",
    entry: str = "5-0",
    *,
    kind: str = "s",
    runs: str = "-",
    body: str = BODY,
    inline: bool = True,
    has_record: bool = True,
    waited: bool = False,
    ordering_key: str = "",
) -> EventEntry:
    """Seed the event in `events`, pending under the worker."""
    fields: dict[str, str | bytes | int] = {"i": event_id, "z": len(body), "b": body if inline else ""}
    keyspace.entry("events", entry, fields | ({"k": ordering_key} if ordering_key else {}))
    keyspace.hold("events", "dispatch", "w1", entry)
    if has_record:
        seed_record(keyspace, event_id, kind=kind, runs=runs, body=body, fields={"w": 1} if waited else None)
    return EventEntry(entry, event_id, len(body), None, ordering_key)


def dispatch(
    keyspace: Keyspace,
    batch: list[Matched],
    gives: Answer,
    changes: Changes,
    *,
    version: str = "1",
    retention: Retention = RETENTION,
    free_first: bool = False,
    full: Literal["passes", "refused"] = "passes",
) -> Step:
    call = dispatching.dispatch(keyspace.keys, batch, version, retention, free_first=free_first)
    return Step(call, gives, changes, full)


def acknowledged(entry: str = "5-0", left: str = "") -> Lines:
    return {f"events {entry}": None, "events dispatch w1": left}
