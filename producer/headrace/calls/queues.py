"""Looks into the queues: which there are, what executes, and what waits for a worker. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.calls.call import Call, as_fields, as_text
from headrace.formats.keys import Keys

_GROUP = "workers"
_CLOSED = "18446744073709551615-0"


class Held(msgspec.Struct, frozen=True):
    """An entry that was delivered to a worker."""

    entry: str
    worker: str


class Progress(msgspec.Struct, frozen=True):
    """The last entry of a queue that was delivered to a worker, and how many are with workers."""

    last_delivered: str = "0-0"
    held: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether the queue is paused, or limited at run time: then no entry is the last one, see `_closed.lua`."""
        return self.last_delivered == _CLOSED


class Queued(msgspec.Struct, frozen=True):
    """What an entry of a queue names; empty texts where it can't be read."""

    entry: str
    event_id: str = ""
    job_id: str = ""
    ordering_key: str = ""


def read_queue_names(keys: Keys) -> Call[list[str]]:
    """Read the full names of all queues, `<app>/<queue>`."""
    return Call(("SMEMBERS", keys.queues), lambda reply: sorted(map(as_text, reply)))


def read_held(
    queue: str, start: str, end: str, count: int, *, worker: str | None, idle_ms: int | None
) -> Call[list[Held]]:
    """Read entries of a queue that were delivered, first those that have been in the queue longest.

    Args:
        worker: only those of this worker.
        idle_ms: only those that were delivered so long ago.
    """
    idle = () if idle_ms is None else ("IDLE", idle_ms)
    named = () if worker is None else (worker,)
    return Call(
        ("XPENDING", queue, _GROUP, *idle, start, end, count, *named),
        lambda reply: [Held(as_text(row[0]), as_text(row[1])) for row in reply],
        no_group=[],
    )


def read_progress(queue: str) -> Call[list[Progress]]:
    """Read how far the workers have come in a queue, even in one without a group yet."""

    def read(reply: list[Any]) -> list[Progress]:
        groups = {as_text(row[b"name"]): row for row in map(as_fields, reply)}
        found = groups.get(_GROUP)
        return [Progress(as_text(found[b"last-delivered-id"]), int(found[b"pending"])) if found else Progress()]

    return Call(("XINFO", "GROUPS", queue), read)


def read_last_held(queue: str) -> Call[list[str]]:
    """Read the last entry of a closed queue that is with a worker: what lies behind it waits."""
    summary = ("XPENDING", queue, _GROUP)
    return Call(summary, lambda reply: [as_text(reply[2] or "0-0")], no_group=[0, None, None, None])


def read_queued(queue: str, start: str, end: str, count: int) -> Call[list[Queued]]:
    """Read entries of a queue, the oldest first."""
    return Call(("XRANGE", queue, start, end, "COUNT", count), lambda reply: [_read(*row) for row in reply])


def _read(entry: bytes, fields: list[bytes] | None) -> Queued:
    found = as_fields(fields or [])
    return Queued(as_text(entry), *(as_text(found.get(field, b"")) for field in (b"e", b"j", b"k")))
