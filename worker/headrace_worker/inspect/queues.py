"""What the queues of a namespace hold, who serves them, and how fast they drain: over all partitions. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from headrace import QueueControls
from headrace.calls.call import Call
from headrace.calls.controlling import read_controls
from headrace.calls.queues import read_queue_names
from headrace.errors import QueueNotFound
from headrace.formats.codec import MAX_MILLIS, from_millis
from headrace.formats.partitions import Partitions
from headrace.model.page import Page, whole
from headrace.plans.plan import Plan
from headrace.plans.queues import merge_controls
from headrace_worker.inspect.answers import answer_or
from headrace_worker.inspect.tallies import read_stats
from headrace_worker.inspect.workers import WorkerInfo, read_workers
from headrace_worker.protocol.delivery import Stream
from headrace_worker.protocol.inspecting import (
    PendingRun,
    PendingSummary,
    read_next,
    read_pending_runs,
    read_pending_summary,
    waiting_runs,
)
from headrace_worker.protocol.measuring import count_entries
from headrace_worker.protocol.reading import queue_stream

_RATE_OVER = timedelta(minutes=10)
_NOTHING = PendingSummary(0, "", {})


DeclaredLimit = int | Literal["unknown"] | None
"""The limit of a queue that the code of its live workers declares, the lowest if they differ; None for any number."""


class QueueInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A queue of an app, `<app>/<queue>`.

    `canceled` and `waiting` are exact up to a thousand runs in flight in a partition; beyond that they may be too low.

    Attributes:
        waiting: runs that wait for a worker.
        in_flight: runs that a worker has, those of `canceled` included.
        canceled: canceled runs whose functions go on, and which count for the queue's limit until these have ended.
        oldest_at: since when the first of those that wait does.
        workers: the live workers that fetch from it, and of which no operator wants that they cease to.
        ended_per_minute: attempts that ended, in the mean of the last ten minutes, about.
        in_flight_of: how many runs each worker has, by its name.
        canceled_of: how many of them are canceled, by the names of the workers that have any.
        controls: whether it is paused, since when and why, and its limit.
        declared_limit: how many of its runs may be in flight by the code of the workers; None for any number.
    """

    name: str
    waiting: int
    in_flight: int
    canceled: int
    oldest_at: datetime | None
    workers: list[str]
    ended_per_minute: float
    in_flight_of: dict[str, int]
    canceled_of: dict[str, int]
    controls: QueueControls
    declared_limit: DeclaredLimit

    @property
    def is_unserved(self) -> bool:
        """Whether runs wait and no worker fetches them."""
        return self.waiting > 0 and not self.workers


def list_queues(partitions: Partitions) -> Plan[Page[QueueInfo]]:
    """Return the queues of a namespace by name, in at most eight round trips."""
    names, controls = yield from _read_names(partitions)
    return whole((yield from _describe(partitions, sorted(name for name in names if "/" in name), controls)))


def get_queue(partitions: Partitions, queue: str) -> Plan[QueueInfo]:
    """Return one queue, or raise QueueNotFound."""
    names, controls = yield from _read_names(partitions)
    if queue not in names:
        raise QueueNotFound(queue, names)
    (found,) = yield from _describe(partitions, [queue], controls)
    return found


def _read_names(partitions: Partitions) -> Plan[tuple[set[str], dict[str, QueueControls]]]:
    """Return the names of all queues, and what is set for those for which anything is."""
    every = partitions.all
    answers = yield [*map(read_queue_names, every), *map(read_controls, every)]
    names = {name for answer in answers[: len(every)] for name in answer_or([], answer)}
    controls = merge_controls([answer_or({}, answer) for answer in answers[len(every) :]])
    return names, {each.queue: each for each in controls}


def _describe(
    partitions: Partitions, names: Sequence[str], controls: dict[str, QueueControls]
) -> Plan[list[QueueInfo]]:
    if not names:
        return []
    workers = yield from read_workers(partitions)
    stats = yield from read_stats(partitions, _RATE_OVER)
    parts = yield from _read_parts(partitions, names)
    return [
        _info(
            name,
            parts[name],
            serving(workers, name),
            stats.ended.get(name, 0) / (_RATE_OVER.total_seconds() / 60),
            controls.get(name) or QueueControls(queue=name),
        )
        for name in names
    ]


def serving(workers: Sequence[WorkerInfo], queue: str) -> list[WorkerInfo]:
    """Return those that fetch from a queue, and go on to: one that is quiet, or asked to be, does not."""
    return [each for each in workers if queue in each.queues and each.state == "live"]


def declared_by(workers: Sequence[WorkerInfo], queue: str) -> DeclaredLimit:
    """Return the limit of a queue by the code of those that fetch from it."""
    said = [each.limits for each in workers if each.limits is not None]
    return min((limits[queue] for limits in said if queue in limits), default=None) if said else "unknown"


class _Part(msgspec.Struct):
    """A queue in one partition; `oldest` is the entry that waits longest, empty for none."""

    stream: Stream
    length: int
    pending: PendingSummary
    oldest: str = ""
    canceled: Sequence[PendingRun] = ()


def _read_parts(partitions: Partitions, names: Sequence[str]) -> Plan[dict[str, list[_Part]]]:
    """Return what each queue holds in each partition, in two round trips."""
    streams = [queue_stream(keys, *name.split("/", 1)) for name in names for keys in partitions.all]
    counts = yield [call for each in streams for call in (count_entries(each.key), read_pending_summary(each))]
    parts = [
        _Part(stream, answer_or(0, length), answer_or(_NOTHING, pending))
        for stream, length, pending in zip(streams, counts[::2], counts[1::2], strict=True)
    ]
    # A queue without entries may have some pending: those of canceled runs are deleted.
    waiting, held = [each for each in parts if each.length], [each for each in parts if each.pending.count]
    calls: list[Call[Any]] = [read_next(each.stream, each.pending.last) for each in waiting]
    calls += [read_pending_runs(each.stream) for each in held]
    answers = (yield calls) if calls else []
    for part, answer in zip(waiting, answers, strict=False):
        part.oldest = answer_or("", answer)
    for part, answer in zip(held, answers[len(waiting) :], strict=True):
        part.canceled = [each for each in answer_or((), answer) if each.is_canceled]
    found: dict[str, list[_Part]] = {name: [] for name in names}
    for part in parts:
        found[f"{part.stream.app}/{part.stream.name}"].append(part)
    return found


def _info(
    name: str, parts: Sequence[_Part], workers: Sequence[WorkerInfo], ended_per_minute: float, controls: QueueControls
) -> QueueInfo:
    of_worker, canceled_of = Counter[str](), Counter[str]()
    for part in parts:
        of_worker.update(part.pending.by_worker)
        canceled_of.update(each.worker for each in part.canceled)
    since = [min(int(part.oldest.partition("-")[0]), MAX_MILLIS) for part in parts if part.oldest]
    return QueueInfo(
        name=name,
        waiting=sum(waiting_runs(part.length, part.pending.count, len(part.canceled)) for part in parts),
        in_flight=sum(part.pending.count for part in parts),
        canceled=canceled_of.total(),
        oldest_at=from_millis(min(since)) if since else None,
        workers=[each.name for each in workers],
        ended_per_minute=ended_per_minute,
        in_flight_of=dict(of_worker),
        canceled_of=dict(canceled_of),
        controls=controls,
        declared_limit=declared_by(workers, name),
    )
