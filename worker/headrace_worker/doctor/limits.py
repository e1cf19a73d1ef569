"""Finds limited queues in which no run can start, as all that are in flight are canceled and their functions go on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from headrace import HeadraceError
from headrace.calls.controlling import QueueControl
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace_worker.doctor.asking import Served
from headrace_worker.doctor.finding import Notes, named, runs
from headrace_worker.doctor.partition import LATE_MS
from headrace_worker.protocol.inspecting import PendingRun, read_pending_runs
from headrace_worker.protocol.measuring import count_entries
from headrace_worker.protocol.reading import queue_stream


class LimitedQueue(msgspec.Struct, frozen=True):
    """A queue in one partition, and how many of its runs may be in flight there at once."""

    keys: Keys
    name: str
    limit: int


class _Full(msgspec.Struct, frozen=True):
    """A limited queue in one partition in which only functions of canceled runs go on; `waiting` runs wait there."""

    pending: Sequence[PendingRun]
    waiting: int


def limit_of(
    partitions: Partitions, keys: Keys, queue: str, control: QueueControl, serving: Sequence[Served]
) -> int | None:
    """Return a queue's limit in one partition; None for none, and if not all workers that take from it have said."""
    if control.limit:
        return int(control.limit) if control.limit.isdecimal() else None
    declared = [each.limits.get(queue) if each.limits else None for each in serving]
    known = [limit for limit in declared if limit is not None]
    return partitions.part_of(max(known), keys) if known and len(known) == len(declared) else None


def look_at_limits(
    partitions: Partitions, limited: Sequence[LimitedQueue], alive: Mapping[int, set[str]], notes: Notes
) -> Plan[None]:
    """Note each limit that is full of functions of canceled runs, if none of them was canceled just now.

    Args:
        alive: the live workers of each partition; of a dead one the places become free with its rescue.
    """
    streams = [queue_stream(each.keys, *each.name.split("/", 1)) for each in limited]
    calls = [call for each in streams for call in (read_pending_runs(each), count_entries(each.key))]
    answers = iter((yield calls) if calls else [])
    full = defaultdict[str, list[_Full]](list)
    for each, stream, pending, length in zip(limited, streams, answers, answers, strict=True):
        if error := next((answer for answer in (pending, length) if isinstance(answer, HeadraceError)), None):
            notes.refused("canceled", stream.key, error)
        elif pending and len(pending) >= each.limit and _go_on(pending, alive.get(stream.partition, set())):
            full[each.name].append(_Full(pending, length))
    for queue, parts in full.items():
        _note(queue, parts, f" in {len(parts)} of {len(partitions)} partitions" if len(partitions) > 1 else "", notes)


def _go_on(pending: Sequence[PendingRun], workers: set[str]) -> bool:
    return all(each.is_canceled and each.age_ms > LATE_MS and each.worker in workers for each in pending)


def _note(queue: str, parts: Sequence[_Full], where: str, notes: Notes) -> None:
    pending = [each for part in parts for each in part.pending]
    # The entries of canceled runs are deleted, so all that there are wait.
    waiting, workers = sum(part.waiting for part in parts), sorted({each.worker for each in pending})
    notes.add(
        "error" if waiting else "warning", "canceled",
        f"the limit of queue {queue} is full{where} of functions of canceled runs that go on in {named(workers)}: "
        + (runs(waiting, "waits", "wait") if waiting else "no run can start"),
        f"headrace workers stop {' '.join(workers)}: their functions end with their processes at the latest",
        queue=queue, workers=workers, in_flight=len(pending), waiting=waiting,
        oldest_s=max(each.age_ms for each in pending) / 1000,
    )  # fmt: skip
