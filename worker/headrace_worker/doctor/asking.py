"""The calls that look at a partition and its server; each that asks about a key says which."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.calls.call import Call, as_fields, as_text
from headrace.calls.checking import server_info, server_time
from headrace.calls.controlling import read_controls
from headrace.calls.due import read_due
from headrace.calls.queues import read_queue_names
from headrace.formats.keys import Keys
from headrace_worker.inspect.workers import read_limits
from headrace_worker.protocol.measuring import count_entries, read_lease_ends


class Question(msgspec.Struct, frozen=True):
    """A call, what it is asked for, and the key that it asks about; empty for the server itself."""

    check: str
    key: str
    call: Call[Any]


def questions(keys: Keys) -> list[Question]:
    """Return what is asked about a partition first; the server after a key, so that its own node answers."""
    return [
        Question("events", keys.events, _oldest(keys.events)),
        Question("waiting events", keys.events, count_entries(keys.events)),
        Question("due", keys.due, read_due(keys, 0, 1)),
        Question("leader", keys.leader, _leader(keys)),
        Question("dispatchers", keys.dispatchers, _ends(keys.dispatchers)),
        Question("leases", keys.workers, read_lease_ends(keys)),
        Question("queues", keys.queues, read_queue_names(keys)),
        Question("controls", keys.controls, read_controls(keys)),
        Question("recent", keys.recent, count_entries(keys.recent)),
        Question("settled runs", keys.runs, count_entries(keys.runs)),
        Question("dead letters", keys.dead, count_entries(keys.dead)),
        Question("routes", keys.routes_version, Call(("GET", keys.routes_version), _as_it_is)),
        Question("meta", keys.meta, Call(("HMGET", keys.meta, "renewed"), _as_it_is)),
        Question("fading", keys.fading, Call(("ZRANGE", keys.fading, 0, 0), _as_it_is)),
        Question("wake", keys.wake, Call(("LLEN", keys.wake), int)),
        Question("time", "", server_time()),
        Question("server", "", server_info()),
    ]


class Served(msgspec.Struct, frozen=True):
    """From which queues a worker takes, by their full names: none if it is quiet or stops.

    Attributes:
        limits: those that its code declares; None if it has not said.
    """

    queues: list[str]
    limits: dict[str, int] | None


def read_served(keys: Keys, worker: str) -> Call[Served | None]:
    """Read from which queues a worker takes; None if it is fenced."""
    fields = ("app", "queues", "limits", "fenced", "wanted")

    def read(reply: list[bytes | None]) -> Served | None:
        facts = {field: as_text(value) for field, value in zip(fields, reply, strict=True) if value is not None}
        if facts.get("fenced"):
            return None
        return Served([] if facts.get("wanted") else facts.get("queues", "").split(), read_limits(facts))

    return Call(("HMGET", keys.worker(worker), *fields), read)


def read_appendfsync(keys: Keys) -> list[Call[Any]]:
    """Return the calls that read how often a partition's server syncs its file; the last one does."""
    config = Call(("CONFIG", "GET", "appendfsync"), lambda reply: as_text(reply[1]) if reply else None)
    return [count_entries(keys.events), config]


def _oldest(stream: str) -> Call[int | None]:
    """Read when the oldest entry of a stream was added, in ms."""
    call = ("XRANGE", stream, "-", "+", "COUNT", 1)
    return Call(call, lambda reply: int(as_text(reply[0][0]).partition("-")[0]) if reply else None)


def _leader(keys: Keys) -> Call[tuple[str, int] | None]:
    """Read which worker leads, and until when in ms."""

    def read(reply: bytes | None) -> tuple[str, int] | None:
        name, _, end = as_text(reply or b"").partition(" ")
        return (name, int(end)) if end.isdecimal() else None

    return Call(("GET", keys.leader), read)


def _ends(key: str) -> Call[dict[str, int]]:
    def read(reply: list[Any]) -> dict[str, int]:
        return {as_text(name): int(float(end)) for name, end in as_fields(reply).items()}

    return Call(("ZRANGE", key, 0, -1, "WITHSCORES"), read)


def _as_it_is(reply: object) -> object:
    return reply
