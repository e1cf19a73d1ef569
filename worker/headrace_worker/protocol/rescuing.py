"""The calls that read pending entries and re-queue them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, as_fields, as_text, script_call
from headrace.calls.canceling import CANCELED_DELIVERIES
from headrace.formats.keys import Keys
from headrace_worker.protocol.delivery import Delivery, Entry, Stream


class PendingEntry(msgspec.Struct, frozen=True):
    """A pending entry, and the record and job of its run, which are empty for entries of `events`.

    Attributes:
        ordering_key: of the event; empty for none.
    """

    entry: str
    record: str = ""
    job: str = ""
    ordering_key: str = ""


def pending_entry(keys: Keys, delivery: Delivery) -> PendingEntry:
    """Return the delivery as `rescue` and `release` take it."""
    return PendingEntry(delivery.entry, keys.event(delivery.event_id), delivery.job, delivery.ordering_key)


def read_pending(stream: Stream, worker: str, after: str, count: int) -> Call[list[str]]:
    """Read the ids of entries that are pending under any worker's name."""
    start = f"({after}" if after else "-"
    return Call(
        ("XPENDING", stream.key, stream.group, start, "+", count, worker),
        lambda reply: [as_text(row[0]) for row in reply],
    )


def read_held(stream: Stream, worker: str, after: str, count: int) -> Call[dict[str, bool]]:
    """Read the entries that are pending under a worker's name, and of each whether its run was canceled."""
    start = f"({after}" if after else "-"
    return Call(
        ("XPENDING", stream.key, stream.group, start, "+", count, worker),
        lambda reply: {as_text(row[0]): row[3] >= CANCELED_DELIVERIES for row in reply},
    )


def is_canceled(stream: Stream, entry: str) -> Call[bool]:
    """Read whether the run of a pending entry was canceled."""
    return Call(
        ("XPENDING", stream.key, stream.group, entry, entry, 1),
        lambda reply: bool(reply) and reply[0][3] >= CANCELED_DELIVERIES,
    )


def read_entry(stream: Stream, entry: str) -> Call[Entry]:
    """Read one entry, under whatever name it is pending; its fields are None if it is gone."""
    return Call(("XRANGE", stream.key, entry, entry), lambda reply: (entry.encode(), reply[0][1] if reply else None))


class WorkerFacts(msgspec.Struct, frozen=True):
    """What is stored of a worker: its app and its queues' full names."""

    app: str
    queues: tuple[str, ...]


def read_worker(keys: Keys, worker: str) -> Call[WorkerFacts | None]:
    """Read what is stored of a worker; None if nothing is."""

    def read(reply: list[bytes | None]) -> WorkerFacts | None:
        app, queues = reply
        return None if app is None else WorkerFacts(as_text(app), tuple(as_text(queues or b"").split()))

    return Call(("HMGET", keys.worker(worker), "app", "queues"), read)


class Consumer(msgspec.Struct, frozen=True):
    """One name that a group knows; `pending` entries are pending under it, and it has read nothing for `idle_ms`."""

    name: str
    pending: int
    idle_ms: int


def read_consumers(stream: Stream) -> Call[list[Consumer]]:
    """Read every name that the stream's group knows."""

    def read(reply: list[list[Any]]) -> list[Consumer]:
        rows = map(as_fields, reply)
        return [Consumer(as_text(row[b"name"]), row[b"pending"], row[b"idle"]) for row in rows]

    return Call(("XINFO", "CONSUMERS", stream.key, stream.group), read)


def read_workers(keys: Keys) -> Call[set[str]]:
    """Read the names of all workers that have a lease, or that the leader looks at again."""
    return Call(("ZRANGE", keys.workers, 0, -1), lambda reply: set(map(as_text, reply)))


class _RescueArguments(msgspec.Struct, frozen=True):
    """What `rescue.lua` reads beside its keys; its header says what each is."""

    worker: str
    group: str
    dead: bool
    look_again: int
    queue: str
    entries: list[str]
    jobs: list[str]


class _ReleaseArguments(msgspec.Struct, frozen=True):
    """What `release.lua` reads beside its keys; its header says what each is."""

    group: str
    queue: str
    entries: list[str]
    jobs: list[str]


def _records_of(pending: Sequence[PendingEntry]) -> list[str]:
    """Return the records of the entries' events; none for entries of `events`."""
    return [each.record for each in pending if each.record]


def rescue(  # noqa: PLR0913 - whose, where, what and how
    keys: Keys,
    worker: str,
    stream: Stream,
    pending: Sequence[PendingEntry],
    *,
    dead: bool,
    look_again_ms: int,
    app: str,
) -> Call[int]:
    """Re-queue the entries of a dead worker, which is fenced, or of an expired dispatcher slot; see the script.

    Args:
        app: the worker's app, whose routes a dead worker leaves.
    """
    names = [keys.workers if dead else keys.dispatchers, keys.worker(worker), keys.meta, stream.key, stream.wake_up]
    names += [keys.routes(app), keys.routes_version, *_records_of(pending)]
    args = _RescueArguments(
        worker, stream.group, dead, look_again_ms, stream.name,
        [each.entry for each in pending], [each.job for each in pending],
    )  # fmt: skip
    return script_call("rescue", names, (pack(args),), int)


def release(stream: Stream, pending: Sequence[PendingEntry]) -> Call[int]:
    """Re-queue this worker's own entries, with nothing counted."""
    args = _ReleaseArguments(
        stream.group, stream.name, [each.entry for each in pending], [each.job for each in pending]
    )
    return script_call("release", [stream.key, stream.wake_up, *_records_of(pending)], (pack(args),), int)
