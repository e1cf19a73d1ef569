"""Pauses queues, lets them go on, limits them, and reads which are paused or limited. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.calls import controlling
from headrace.calls.controlling import Pause, QueueControl
from headrace.calls.queues import read_queue_names
from headrace.errors import InvalidArgument, QueueNotFound
from headrace.formats.codec import from_millis
from headrace.formats.partitions import Partitions
from headrace.model.queue import Limit, QueueControls
from headrace.plans.plan import Plan

MAX_REASON = 200
MAX_LIMIT = 1_000_000


def pause_queue(partitions: Partitions, queue: str, reason: str | None) -> Plan[QueueControls]:
    """Let no run of a queue start any more."""
    return _control(partitions, queue, pause="pause", reason=_checked_reason(reason))


def resume_queue(partitions: Partitions, queue: str) -> Plan[QueueControls]:
    """Let the runs of a paused queue start again."""
    return _control(partitions, queue, pause="resume")


def limit_queue(partitions: Partitions, queue: str, limit: Limit) -> Plan[QueueControls]:
    """Set how many runs of a queue may be in flight at once; each partition gets an equal part."""
    if limit == "declared":
        return _control(partitions, queue, limits=["declared"] * len(partitions))
    if limit is None:
        return _control(partitions, queue, limits=["none"] * len(partitions))
    number = _checked_limit(limit, len(partitions))
    return _control(partitions, queue, limits=[str(partitions.part_of(number, keys)) for keys in partitions.all])


def list_queue_controls(partitions: Partitions) -> Plan[list[QueueControls]]:
    """Return what is set, by the names of the queues."""
    return merge_controls((yield [controlling.read_controls(keys) for keys in partitions.all]))


def merge_controls(found: Sequence[Mapping[str, QueueControl]]) -> list[QueueControls]:
    """Return what is set in all partitions together, by the names of the queues."""
    queues = sorted(set().union(*found))
    return [_merged(queue, [each.get(queue, QueueControl()) for each in found]) for queue in queues]


def _control(
    partitions: Partitions, queue: str, *, pause: Pause = "", reason: str = "", limits: Sequence[str] = ()
) -> Plan[QueueControls]:
    known = set[str]().union(*(yield [read_queue_names(keys) for keys in partitions.all]))
    if queue not in known:
        raise QueueNotFound(queue, known)
    parts = limits or [""] * len(partitions)
    found = yield [
        controlling.control(keys, queue, pause=pause, reason=reason, limit=limit)
        for keys, limit in zip(partitions.all, parts, strict=True)
    ]
    return _merged(queue, found)


def _merged(queue: str, found: Sequence[QueueControl]) -> QueueControls:
    """Return what several partitions say of a queue; a call that was broken off may have reached some of them only."""
    paused = [each for each in found if each.paused_ms]
    numbers = [int(each.limit) for each in found if each.limit.isdecimal()]
    return QueueControls(
        queue=queue,
        paused_at=from_millis(min(each.paused_ms for each in paused)) if paused else None,
        reason=paused[0].reason if paused else "",
        limit=sum(numbers) if numbers else None if any(each.limit for each in found) else "declared",
    )


def _checked_limit(limit: object, partitions: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        rule = f"must be a whole number from 1 to {MAX_LIMIT:,}, None or 'declared', not {limit!r}"
        raise InvalidArgument("limit", f"{rule}; to let no run start, pause the queue")
    if limit < partitions:
        few = f"{limit} can't be divided among the {partitions} partitions of the namespace: each needs 1 or more"
        raise InvalidArgument("limit", few)
    return limit


def _checked_reason(reason: object) -> str:
    if reason is None:
        return ""
    if not isinstance(reason, str) or len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidArgument("reason", f"must be one line of at most {MAX_REASON} characters, not {reason!r}")
    return reason
