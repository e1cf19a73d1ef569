"""The calls that show what workers, queues and minutes are, for operators. Pure; what can't be read is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.calls.call import Call, as_fields, as_text
from headrace.calls.canceling import CANCELED_DELIVERIES
from headrace.formats.keys import Keys
from headrace_worker.protocol.delivery import Stream

MOST_PENDING = 1_000
"""How many pending entries of a queue one call reads: those that have been in the queue longest."""


def read_ends(zset: str, most: int) -> Call[dict[str, int]]:
    """Read the last members of `workers` or `dispatchers` by their ends, each with its end in ms."""

    def read(reply: list[bytes]) -> dict[str, int]:
        return {_text(name): int(float(end)) for name, end in zip(reply[::2], reply[1::2], strict=True)}

    return Call(("ZRANGE", zset, -most, -1, "WITHSCORES"), read)


def read_leader(keys: Keys) -> Call[str]:
    """Read the name of the leader; empty if there is none."""
    return Call(("GET", keys.leader), lambda reply: _text(reply or b"").partition(" ")[0])


def read_hash(key: str) -> Call[dict[str, str]]:
    """Read the fields of a small hash as texts; none if it is gone."""

    def read(reply: Any) -> dict[str, str]:
        return {_text(name): _text(value) for name, value in as_fields(reply).items()}

    return Call(("HGETALL", key), read)


class PendingRun(msgspec.Struct, frozen=True):
    """An entry of a queue that a worker has.

    Attributes:
        age_ms: since it was delivered; since its run was canceled, if it was.
        is_canceled: its run was canceled and its function goes on; the entry is deleted.
    """

    entry: str
    worker: str
    age_ms: int
    is_canceled: bool


def read_pending_runs(stream: Stream, worker: str | None = None) -> Call[list[PendingRun]]:
    """Read the first thousand entries of a queue that are pending, under a worker's name or under any."""

    def read(reply: list[Any]) -> list[PendingRun]:
        return [
            PendingRun(_text(entry), _text(name), int(age_ms), deliveries >= CANCELED_DELIVERIES)
            for entry, name, age_ms, deliveries in reply
        ]

    named = () if worker is None else (worker,)
    return Call(("XPENDING", stream.key, stream.group, "-", "+", MOST_PENDING, *named), read, no_group=[])


def count_canceled(stream: Stream) -> Call[int]:
    """Count the functions of canceled runs that go on, among the first thousand pending entries of a queue."""
    page = read_pending_runs(stream)
    return Call(page.args, lambda reply: sum(each.is_canceled for each in page.read(reply)), no_group=[])


def waiting_runs(entries: int, pending: int, canceled: int) -> int:
    """Return how many runs of a queue wait for a worker, by its entries and by those that are pending.

    Runs settle between the counts, so their difference may be less than 0.

    Args:
        canceled: how many of those that are pending are deleted, as their runs are canceled.
    """
    return max(entries - max(pending - canceled, 0), 0)


class PendingSummary(msgspec.Struct, frozen=True):
    """How many entries of a queue are pending, the last of them, and how many each worker has."""

    count: int
    last: str
    by_worker: Mapping[str, int]


def read_pending_summary(stream: Stream) -> Call[PendingSummary]:
    """Read how many entries of a queue are pending, under which names."""

    def read(reply: list[Any]) -> PendingSummary:
        count, _, last, by_worker = reply
        return PendingSummary(int(count), _text(last or b""), {_text(name): int(n) for name, n in by_worker or []})

    return Call(("XPENDING", stream.key, stream.group), read, no_group=[0, None, None, None])


def read_next(stream: Stream, last_pending: str) -> Call[str]:
    """Read the id of the oldest entry that waits; empty if none does.

    Entries are delivered in order and deleted once they are settled, so what stands behind the last pending one waits.
    """
    start = f"({last_pending}" if last_pending else "-"
    return Call(("XRANGE", stream.key, start, "+", "COUNT", 1), _first_id)


def _first_id(reply: Sequence[Any]) -> str:
    return _text(reply[0][0]) if reply else ""


def _text(value: Any) -> str:
    return as_text(value) if isinstance(value, str) else bytes(value).decode("utf-8", "backslashreplace")
