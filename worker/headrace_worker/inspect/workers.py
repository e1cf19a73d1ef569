"""What the workers of a namespace are, and what each executes now: over all partitions, by name. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from headrace import HeadraceError
from headrace.calls.call import Call
from headrace.calls.checking import server_time
from headrace.formats.codec import from_millis
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.lists import arguments
from headrace.model.ids import run_id
from headrace.model.page import Page, Searched
from headrace.plans.plan import Plan
from headrace_worker.inspect.answers import answer_or
from headrace_worker.protocol.delivery import Stream, named_by
from headrace_worker.protocol.inspecting import (
    MOST_PENDING,
    PendingRun,
    read_ends,
    read_hash,
    read_leader,
    read_pending_runs,
)
from headrace_worker.protocol.reading import queue_stream
from headrace_worker.protocol.rescuing import read_entry

MAX_LEASES = 10_000
MAX_WORKERS = 500
MAX_RUNS = 100
_CURSOR = "behind:"

WorkerState = Literal["live", "quiet_asked", "quiet", "stop_asked", "stopping", "expired", "fenced"]
"""What a worker's name is. quiet: it fetches no more runs, as it says itself. stopping: it stops, as it says.
quiet_asked, stop_asked: an operator wants that, and until the worker has renewed its lease it may still fetch runs.
expired: its lease has ended, and no leader has rescued its runs yet. fenced: they are rescued, and the name is never
used again.
"""


class UnknownWorker(HeadraceError):
    """No worker of this name is known: it was never there, or it has left."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        super().__init__(f"no worker {name!r} is known in namespace {namespace!r}; headrace workers list has them all")


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, as far as the server knows it. A fact that the worker has not reported yet is None.

    Attributes:
        lease_left_s: seconds until its lease ends, in the partition where it ends first; below 0 once it has ended,
            0 if it was ended at once, as the worker was known to be dead.
        leads, dispatches: the partitions in which it leads, or has a dispatcher slot.
        partitions: those in which it is registered under this name.
        limits: of its queues, as its code declares them, by the queue's full name.
        in_flight, memory_bytes: as of its last report, at most a lease ago.
    """

    name: str
    app: str | None
    state: WorkerState
    queues: list[str]
    lease_left_s: float
    leads: list[int]
    dispatches: list[int]
    partitions: list[int]
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    app_version: str | None = None
    python: str | None = None
    started_at: datetime | None = None
    slots: int | None = None
    limits: dict[str, int] | None = None
    in_flight: int | None = None
    memory_bytes: int | None = None


class WorkerRun(msgspec.Struct, frozen=True):
    """A run that a worker has: it executes, or is about to; `age_s` since it was delivered to the worker."""

    run: str
    queue: str
    age_s: float


class WorkerDetail(msgspec.Struct, frozen=True):
    """A worker and the runs that it has.

    Attributes:
        runs: the oldest first, at most a hundred.
        canceled: canceled runs whose functions go on; which runs these are is not known any more. Where the worker has
            more than a thousand runs of a queue it is at least so many.
        is_complete: whether it has no more runs.
    """

    worker: WorkerInfo
    runs: list[WorkerRun]
    canceled: int
    is_complete: bool


class _Leases(msgspec.Struct, frozen=True):
    """What all partitions know of leases, by place: their ends, the leaders, the ends of dispatcher slots."""

    now_ms: int
    ends: list[dict[str, int]]
    leaders: list[str]
    slots: list[dict[str, int]]

    @property
    def names(self) -> set[str]:
        return {name for found in self.ends for name in found}


class _Seen(msgspec.Struct):
    """What one partition knows of a worker."""

    partition: int
    fields: dict[str, str]
    end_ms: int
    leads: bool
    slot_ms: int


def list_workers(partitions: Partitions, cursor: str | None, limit: int) -> Plan[Page[WorkerInfo]]:
    """Return a page of the workers of a namespace, by name, in two round trips; the cursor has the last name.

    It reads the ends of 10,000 leases of each partition at most, those that end last, and of the workers on the page
    what else is known. Where a partition has more leases, no page is complete.
    """
    arguments.check_limit(limit)
    last = _name_of(cursor)
    leases = yield from _read_leases(partitions, MAX_LEASES)
    behind = sorted(name for name in leases.names if last is None or name > last)
    names = behind[:limit]
    workers = yield from _describe(partitions, leases, names)
    is_last = len(names) == len(behind)
    is_complete = is_last and all(len(found) < MAX_LEASES for found in leases.ends)
    return Page(workers, None if is_last else _CURSOR + names[-1], Searched(len(names), None, is_complete))


def _name_of(cursor: object) -> str | None:
    """Return the name behind which a page begins; raise InvalidArgument for a cursor that no page has given."""
    if cursor is None:
        return None
    if not isinstance(cursor, str) or not cursor.startswith(_CURSOR):
        raise arguments.bad_cursor(cursor)
    return cursor.removeprefix(_CURSOR)


def read_workers(partitions: Partitions) -> Plan[list[WorkerInfo]]:
    """Return workers by name, in two round trips: of each partition at most the 500 whose leases end last."""
    leases = yield from _read_leases(partitions, MAX_WORKERS)
    return (yield from _describe(partitions, leases, leases.names))


def _read_leases(partitions: Partitions, most: int) -> Plan[_Leases]:
    count, keys = len(partitions), partitions.all
    now_ms, *answers = yield [
        server_time(),
        *(read_ends(each.workers, most) for each in keys),
        *(read_leader(each) for each in keys),
        *(read_ends(each.dispatchers, most) for each in keys),
    ]
    return _Leases(
        answer_or(0, now_ms),
        [answer_or({}, each) for each in answers[:count]],
        [answer_or("", each) for each in answers[count : 2 * count]],
        [answer_or({}, each) for each in answers[2 * count :]],
    )


def _describe(partitions: Partitions, leases: _Leases, names: Collection[str]) -> Plan[list[WorkerInfo]]:
    """Return the workers of these names, sorted."""
    wanted = [(place, name) for place, found in enumerate(leases.ends) for name in names if name in found]
    hashes = (yield [read_hash(partitions.all[place].worker(name)) for place, name in wanted]) if wanted else []
    seen: dict[str, list[_Seen]] = {}
    for (place, name), answer in zip(wanted, hashes, strict=True):
        fields: dict[str, str] = answer_or({}, answer)
        end_ms, slot_ms = leases.ends[place][name], leases.slots[place].get(name, 0)
        seen.setdefault(name, []).append(_Seen(place, fields, end_ms, leases.leaders[place] == name, slot_ms))
    return [_info(name, parts, leases.now_ms) for name, parts in sorted(seen.items())]


def _info(name: str, seen: Sequence[_Seen], now_ms: int) -> WorkerInfo:
    facts = {field: value for part in seen for field, value in part.fields.items()}
    end_ms = min(part.end_ms for part in seen)
    left_ms = end_ms - now_ms if end_ms else 0  # no time: `end_lease` has ended it
    started = _number(facts, "started")
    return WorkerInfo(
        name=name,
        app=facts.get("app"),
        state=_state(facts, [part.fields.get("state") for part in seen], left_ms),
        queues=sorted(facts.get("queues", "").split()),
        lease_left_s=left_ms / 1000,
        leads=[part.partition for part in seen if part.leads],
        dispatches=[part.partition for part in seen if part.slot_ms > now_ms],
        partitions=[part.partition for part in seen],
        host=facts.get("host"),
        pid=_number(facts, "pid"),
        version=facts.get("version"),
        app_version=facts.get("app_version") or None,
        python=facts.get("python"),
        started_at=None if started is None else from_millis(started),
        slots=_number(facts, "slots"),
        limits=read_limits(facts),
        in_flight=_number(facts, "in_flight"),
        memory_bytes=_number(facts, "rss"),
    )


def _state(facts: dict[str, str], said: Sequence[str | None], left_ms: int) -> WorkerState:
    """Return what a worker is, by what it has said of itself in each partition, and what is wanted of it."""
    if "fenced" in facts:
        return "fenced"
    if left_ms <= 0:
        return "expired"
    if "stopping" in said:
        return "stopping"
    wanted = facts.get("wanted")
    if wanted == "stop":
        return "stop_asked"
    if all(each == "quiet" for each in said):
        return "quiet"
    return "quiet_asked" if wanted == "quiet" else "live"


def _number(facts: dict[str, str], field: str) -> int | None:
    """Return a fact that is a number; None if it is missing, or damaged."""
    text = facts.get(field, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 15 else None


def read_limits(facts: Mapping[str, str]) -> dict[str, int] | None:
    """Return the limits that the worker's code declares; None if it has not said, as older releases do not."""
    if "limits" not in facts:
        return None
    pairs = [pair.partition("=") for pair in facts["limits"].split()]
    return {f"{facts.get('app')}/{name}": int(limit) for name, _, limit in pairs if limit.isdecimal()}


def get_worker(partitions: Partitions, name: str) -> Plan[WorkerDetail]:
    """Return a worker with its runs, in at most four round trips.

    Raises:
        UnknownWorker: no partition knows it.
    """
    leases = yield from _read_leases(partitions, MAX_LEASES)
    if name not in leases.names:
        raise UnknownWorker(name, partitions.namespace)
    (worker,) = yield from _describe(partitions, leases, [name])
    streams = [_stream_of(partitions.all[place], queue) for place in worker.partitions for queue in worker.queues]
    answers = (yield [read_pending_runs(stream, name) for stream in streams]) if streams else []
    pages: list[list[PendingRun]] = [answer_or([], answer) for answer in answers]
    pending = [(stream, each) for stream, page in zip(streams, pages, strict=True) for each in page]
    held = sorted((pair for pair in pending if not pair[1].is_canceled), key=lambda pair: -pair[1].age_ms)
    runs = yield from _read_runs(held[:MAX_RUNS])
    is_complete = len(held) <= MAX_RUNS and all(len(page) < MOST_PENDING for page in pages)
    return WorkerDetail(worker, runs, len(pending) - len(held), is_complete)


def _stream_of(keys: Keys, queue: str) -> Stream:
    app, _, name = queue.partition("/")
    return queue_stream(keys, app, name)


def _read_runs(pending: Sequence[tuple[Stream, PendingRun]]) -> Plan[list[WorkerRun]]:
    """Return the runs of pending entries; of those only that are in their queue still."""
    calls: list[Call[Any]] = [read_entry(stream, each.entry) for stream, each in pending]
    runs: list[WorkerRun] = []
    for (stream, each), answer in zip(pending, (yield calls) if calls else [], strict=True):
        entry = answer_or((b"", None), answer)
        event_id, job_id, _ = named_by(entry)
        if entry[1] is not None:
            run = run_id(event_id, f"{stream.app}/{job_id}") if event_id and job_id else f"entry {each.entry}"
            runs.append(WorkerRun(run, f"{stream.app}/{stream.name}", each.age_ms / 1000))
    return runs
