"""How much waits on the server: in each queue, in `events`, in `due`, and in `dead`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from headrace.calls.call import Call
from headrace.calls.queues import read_queue_names
from headrace.formats.partitions import Partitions
from headrace_worker.protocol.inspecting import count_canceled, waiting_runs
from headrace_worker.protocol.measuring import count_due, count_entries, count_pending
from headrace_worker.protocol.reading import queue_stream


class Depths(msgspec.Struct, frozen=True):
    """How much waits in a namespace, over all its partitions.

    Attributes:
        events: events that are not dispatched.
        due: delayed events, and runs that wait for their next attempt or for their ordering key.
        dead: dead letters.
        queues: the waiting runs of each queue, by its full name `<app>/<queue>`; in-flight runs do not wait.
    """

    events: int
    due: int
    dead: int
    queues: dict[str, int]


def read_depths(partitions: Partitions) -> Generator[Sequence[Call[Any]], list[Any], Depths]:
    """Return the depths, in two round trips: the names of the queues first, then all counts."""
    keys = partitions.all
    names: list[list[str]] = yield [read_queue_names(each) for each in keys]
    streams = [
        (name, queue_stream(each, *name.split("/", 1)))
        for each, names_there in zip(keys, names, strict=True)
        for name in names_there
    ]
    counts: list[int] = yield [
        *(count_entries(each.events) for each in keys),
        *(count_due(each) for each in keys),
        *(count_entries(each.dead) for each in keys),
        *(count_entries(stream.key) for _, stream in streams),
        *(count_pending(stream) for _, stream in streams),
        *(count_canceled(stream) for _, stream in streams),
    ]
    taken = iter(counts)
    events, due, dead = (sum(next(taken) for _ in keys) for _ in range(3))
    entries, pending, canceled = (Counter[str](), Counter[str](), Counter[str]())
    for counter in (entries, pending, canceled):
        for name, _ in streams:
            counter[name] += next(taken)
    return Depths(
        events, due, dead, {name: waiting_runs(entries[name], pending[name], canceled[name]) for name in entries}
    )
