"""Finds paused queues, and queues from which no live worker takes: what waits there, and what ends there.

Reads what tells full limits, too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from headrace import HeadraceError
from headrace.calls.controlling import UNKNOWN_MS, QueueControl
from headrace.formats.codec import from_millis
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.plans.plan import Plan
from headrace_worker.doctor.asking import Served, read_served
from headrace_worker.doctor.finding import Notes, runs, runs_are
from headrace_worker.doctor.limits import LimitedQueue, limit_of, look_at_limits
from headrace_worker.doctor.partition import Partition
from headrace_worker.protocol.inspecting import read_pending_runs, read_pending_summary, waiting_runs
from headrace_worker.protocol.measuring import count_entries
from headrace_worker.protocol.reading import queue_stream

_MOST = 1_000
"""How many queues, or live workers, of a partition are asked about."""

_Alive = Mapping[int, set[str]]
"""The workers of each partition that live and are not fenced."""


def look_at_queues(partitions: Partitions, there: Sequence[Partition], notes: Notes) -> Plan[None]:
    """Note each queue that has runs and from which no live worker takes, those that are paused, and full limits.

    Args:
        there: the partitions that answer.
    """
    queues = [(each.keys, name) for each in there for name in (each["queues"] or [])[:_MOST] if "/" in name]
    workers = [(each.keys, name) for each in there for name in each.live[:_MOST]]
    streams = [keys.queue(*name.split("/", 1)) for keys, name in queues]
    answers = yield [*map(count_entries, streams), *(read_served(keys, name) for keys, name in workers)]
    held, serving, alive = Counter[str](), defaultdict[str, list[Served]](list), defaultdict[int, set[str]](set)
    is_known = all(each["leases"] is not None and len(each.live) <= _MOST for each in there)
    for (_, queue), stream, answer in zip(queues, streams, answers, strict=False):
        if isinstance(answer, HeadraceError):
            notes.refused("queues", stream, answer)
        else:
            held[queue] += answer
    for (keys, worker), answer in zip(workers, answers[len(queues) :], strict=True):
        if isinstance(answer, HeadraceError):
            notes.refused("workers", keys.worker(worker), answer)
            is_known = False
        elif answer is not None:
            for queue in answer.queues:
                serving[queue].append(answer)
            alive[keys.partition].add(worker)
    _note_paused(there, held, notes)
    if not is_known or any(len(each["queues"] or ()) > _MOST for each in there):
        notes.miss("backlog", f"the queues of some workers are not known, or there are more than {_MOST:,}")
    if is_known and (unserved := [each for each in queues if held[each[1]] and each[1] not in serving]):
        yield from _look_at_unserved(unserved, alive, notes)
    yield from look_at_limits(partitions, _limited(partitions, there, queues, serving), alive, notes)


def _limited(
    partitions: Partitions,
    there: Sequence[Partition],
    queues: Sequence[tuple[Keys, str]],
    serving: Mapping[str, Sequence[Served]],
) -> list[LimitedQueue]:
    controls: dict[int, dict[str, QueueControl]] = {each.keys.partition: each["controls"] or {} for each in there}
    found = []
    for keys, queue in queues:
        control = controls[keys.partition].get(queue, QueueControl())
        if limit := limit_of(partitions, keys, queue, control, serving.get(queue, ())):
            found.append(LimitedQueue(keys, queue, limit))
    return found


def _look_at_unserved(queues: Sequence[tuple[Keys, str]], alive: _Alive, notes: Notes) -> Plan[None]:
    """Tell what waits from what live workers still have, as a quiet one ends its runs."""
    streams = [queue_stream(keys, *name.split("/", 1)) for keys, name in queues]
    # What is pending first: a run that settles in between would otherwise be one that waits.
    asked = [
        call
        for each in streams
        for call in (read_pending_summary(each), read_pending_runs(each), count_entries(each.key))
    ]
    answers = iter((yield asked))
    waiting, ending = Counter[str](), Counter[str]()
    for (_, queue), stream, pending, page, length in zip(queues, streams, answers, answers, answers, strict=True):
        if error := next((each for each in (pending, page, length) if isinstance(each, HeadraceError)), None):
            notes.refused("backlog", stream.key, error)
            continue
        workers = alive.get(stream.partition, ())
        count = sum(pending.by_worker.get(worker, 0) for worker in workers)
        ending[queue] += count
        waiting[queue] += waiting_runs(length, count, sum(each.is_canceled and each.worker in workers for each in page))
    for queue in dict.fromkeys(name for _, name in queues):
        _note_unserved(queue, waiting[queue], ending[queue], notes)


def _note_unserved(queue: str, waiting: int, ending: int, notes: Notes) -> None:
    start = f"start a worker of app {queue.partition('/')[0]} that takes from it"
    facts: dict[str, Any] = {"queue": queue, "waiting": waiting, "in_flight": ending}
    if waiting:
        notes.add(
            "error", "backlog",
            f"{runs(waiting, 'waits', 'wait')} in queue {queue}, from which no live worker takes",
            f"{start}, as quiet ones do not: headrace worker MODULE:APP; or, if the app is forgotten, "
            f"headrace queues purge {queue}",
            **facts,
        )  # fmt: skip
    elif ending:
        notes.add(
            "warning", "backlog",
            f"{runs(ending, 'ends', 'end')} on workers that are quiet or stop; "
            f"nothing takes new ones from queue {queue}",
            f"{start}: headrace worker MODULE:APP",
            **facts,
        )  # fmt: skip


def _note_paused(partitions: Sequence[Partition], held: Mapping[str, int], notes: Notes) -> None:
    controls = {queue: control for each in partitions for queue, control in (each["controls"] or {}).items()}
    for queue, pause in sorted(controls.items()):
        if not pause.paused_ms:
            continue
        count, why = held.get(queue, 0), f": {pause.reason}" if pause.reason else ""
        since = None if pause.paused_ms == UNKNOWN_MS else from_millis(pause.paused_ms)
        notes.add(
            "warning", "paused", f"queue {queue} is paused, and {runs_are(count)} in it{why}",
            f"headrace queues resume {queue}",
            queue=queue, waiting=count, since=since, reason=pause.reason,
        )  # fmt: skip
