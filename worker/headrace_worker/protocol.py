"""What a worker asks of the server: each function builds one call, each reader turns its reply into our types. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headrace.calls import RECENT_ENTRIES, Argument, Call, Retention, as_text, script_call
from headrace.codec import FIRST, INLINE_BYTES
from headrace.keys import Keys, is_name
from headrace_worker.delivery import Delivery, Entry, EventEntry, Stream, entries_of
from headrace_worker.route import Route

MAX_READ = 250
"""Entries a read asks for at most: half of a batch's limit, so that server and worker overlap."""
DISPATCH_GROUP = "dispatch"
WORKERS_GROUP = "workers"
BELL_GROUP = "bell"
_LATEST_MS = 2**53


def _policy(keys: Keys, retention: Retention) -> tuple[Argument, ...]:
    return (*retention.millis(), keys.settled_channel(""))


def _before_id(keys: Keys) -> int:
    """How many bytes stand before the event's id in a record's key, so that no script is given an id twice."""
    return len(keys.event_prefix.encode())


# streams of work


def events_stream(keys: Keys) -> Stream:
    """Returns `events` as a stream of work."""
    return Stream(keys.events, DISPATCH_GROUP, keys.events)


def queue_stream(keys: Keys, app: str, queue: str) -> Stream:
    """Returns a queue as a stream of work."""
    return Stream(keys.queue(app, queue), WORKERS_GROUP, keys.bell(app), app, queue)


# reading


def read_group(group: str, worker: str, stream: str, count: int, block_ms: int | None) -> Call[list[Entry]]:
    """Delivers new entries of a stream to this worker, at most `count`; waits for the first for `block_ms`."""
    block = () if block_ms is None else ("BLOCK", block_ms)
    return Call(("XREADGROUP", "GROUP", group, worker, "COUNT", count, *block, "STREAMS", stream, ">"), entries_of)


def read_own(group: str, worker: str, stream: str, after: str, count: int) -> Call[list[Entry]]:
    """Reads what is already in this worker's hands, from the entry behind `after` on."""
    return Call(("XREADGROUP", "GROUP", group, worker, "COUNT", count, "STREAMS", stream, after), entries_of)


def listen_bell(keys: Keys, app: str, block_ms: int) -> Call[bool]:
    """Waits for the app's bell; one of those who wait gets it. Its readers share a name, as nothing is kept of it."""
    command = ("XREADGROUP", "GROUP", BELL_GROUP, "any", "COUNT", 1, "BLOCK", block_ms, "NOACK", "STREAMS")
    return Call((*command, keys.bell(app), ">"), bool)


def ring_bell(keys: Keys, app: str) -> Call[None]:
    """Wakes one idle worker of the app."""
    return Call(("XADD", keys.bell(app), "MAXLEN", 1, "*", "r", ""), lambda _: None)


def take(worker: str, queues: Sequence[Stream], free: int) -> Call[list[tuple[Stream, list[Entry]]]]:
    """Delivers runs from several queues, asked in their order."""

    def read(reply: list[Any]) -> list[tuple[Stream, list[Entry]]]:
        return [
            (queues[place - 1], [(entry[0], entry[1]) for entry in entries])
            for place, entries in zip(reply[::2], reply[1::2], strict=True)
        ]

    return script_call("take", [queue.key for queue in queues], (worker, free), read)


def read_body(keys: Keys, event_id: str) -> Call[bytes | None]:
    """Reads a body that is only in the record; None when the record is gone."""
    return Call(("HGET", keys.event(event_id), "e"), lambda reply: reply)


# dispatching


class Dispatched(msgspec.Struct, frozen=True):
    """What a dispatch did; `lost` events had no record and no body."""

    events: int
    runs: int
    lost: int


class RoutesStale(msgspec.Struct, frozen=True):
    """Nothing was dispatched: the routes have changed since they were read."""


class QueuesFull(msgspec.Struct, frozen=True):
    """Nothing was dispatched: the server is full and a queue of the event still has entries."""


class Matched(msgspec.Struct, frozen=True):
    """An event with the routes that it matches."""

    entry: EventEntry
    routes: list[Route]


def dispatch(
    keys: Keys, batch: Sequence[Matched], version: str, retention: Retention, *, free_first: bool = False
) -> Call[Dispatched | RoutesStale | QueuesFull]:
    """Makes one run of each event in each matched queue.

    Args:
        free_first: one event only, for a full server.
    """
    places: dict[str, int] = {}
    names: list[str] = [keys.events, keys.routes_version]
    jobs: list[Argument] = []
    events: list[Argument] = []
    for matched in batch:
        where = ""
        for route in matched.routes:
            place = places.get(route.job)
            if place is None:
                place = places[route.job] = len(places) + 1
                names += (keys.queue(route.app, route.queue), keys.bell(route.app))
                jobs += (route.job, route.queue)
            where += f"{place},"
        events += (matched.entry.entry, where)
    names += [keys.event(matched.entry.event_id) for matched in batch]
    head = (*_policy(keys, retention), version, int(free_first), INLINE_BYTES, _before_id(keys), len(places))
    argv = (*head, *jobs, *events)
    return script_call("dispatch", names, argv, _read_dispatched)


def _read_dispatched(reply: list[Any]) -> Dispatched | RoutesStale | QueuesFull:
    match reply[0]:
        case b"done":
            return Dispatched(*reply[1:])
        case b"stale":
            return RoutesStale()
    return QueuesFull()


def read_routes_version(keys: Keys) -> Call[str]:
    """Reads the version of the routes; to be read before the routes themselves."""
    return Call(("GET", keys.routes_version), lambda reply: as_text(reply or b"0"))


def read_apps(keys: Keys) -> Call[list[str]]:
    """Reads the names of all apps that have queues."""
    return Call(("SMEMBERS", keys.queues), lambda reply: sorted({as_text(each).partition("/")[0] for each in reply}))


def read_routes(keys: Keys, app: str) -> Call[dict[bytes, bytes]]:
    """Reads the stored subscriptions of an app."""
    return Call(("HGETALL", keys.routes(app)), lambda reply: dict(zip(reply[::2], reply[1::2], strict=True)))


# settling


class Settled(msgspec.Struct, frozen=True):
    """A run that ends for good; `reason` is why it is dead, empty if it is not."""

    delivery: Delivery
    letter: str
    elapsed_ms: int
    reason: str
    outcome: bytes


class Retried(msgspec.Struct, frozen=True):
    """A run that waits for its next delivery, whose state is `state`."""

    delivery: Delivery
    state: str
    elapsed_ms: int
    delay_ms: int
    outcome: bytes


def settle(keys: Keys, worker: str, runs: Sequence[Settled], retention: Retention) -> Call[list[int]]:
    """Records the ends of runs; the reader returns the places of those that were not this worker's any more."""
    queues: dict[str, int] = {}
    places: dict[tuple[str, str], int] = {}
    jobs: list[Argument] = []
    records: list[str] = []
    ends: list[Argument] = []
    for run in runs:
        delivery = run.delivery
        job, queue = delivery.job, delivery.queue
        place = places.get((job, queue.key))
        if place is None:
            place = places[job, queue.key] = len(places) + 1
            jobs += (job, queue.name, queues.setdefault(queue.key, len(queues) + 1))
        records.append(keys.event(delivery.event_id))
        state = "" if delivery.state is FIRST else delivery.state.text()
        ends += (place, delivery.entry, run.letter, state, run.elapsed_ms, run.reason, run.outcome)
    head = (*_policy(keys, retention), worker, RECENT_ENTRIES, _before_id(keys), len(queues), len(places))
    return script_call("settle", [keys.runs, keys.dead, *queues, *records], (*head, *jobs, *ends), _read_places)


def retry(keys: Keys, worker: str, runs: Sequence[Retried]) -> Call[list[int]]:
    """Lets runs wait for their next delivery; the reader returns the places of those that were not ours any more."""
    names = [keys.due, keys.wake]
    argv: list[Argument] = [worker]
    for run in runs:
        delivery = run.delivery
        names += (delivery.queue.key, keys.event(delivery.event_id))
        argv += (
            delivery.entry, delivery.event_id, delivery.job, run.state,
            delivery.queue.name, run.elapsed_ms, run.delay_ms, run.outcome,
        )  # fmt: skip
    return script_call("retry", names, argv, _read_places)


def _read_places(reply: list[int]) -> list[int]:
    return [place - 1 for place in reply]


def started(keys: Keys, worker: str, runs: Sequence[tuple[Delivery, int]]) -> Call[int]:
    """Lets the records of runs say that they execute, each since so many ms."""
    names = [keys.event(delivery.event_id) for delivery, _ in runs]
    argv: list[Argument] = [worker]
    for delivery, elapsed_ms in runs:
        argv += (f"r:{delivery.job}", delivery.entry, elapsed_ms)
    return script_call("started", names, argv, int)


def bury(keys: Keys, stream: Stream, entry: str, reason: str, error: str, retention: Retention) -> Call[int]:
    """Sets an entry that can't be handled aside in `dead`, as it is."""
    argv = (stream.group, entry, reason, error, retention.millis()[1])
    return script_call("bury", (stream.key, keys.dead), argv, int)


# promoting


Wake = Literal["due", "lease"]
"""Why the leader is woken: an earlier due time, or a lease that ended before its time."""


class DueMember(msgspec.Struct, frozen=True):
    """A member of `due` and its time in ms."""

    member: str
    due_ms: int


class Promoted(msgspec.Struct, frozen=True):
    """The server's time, how many members had nothing to deliver any more, and the earliest that are left.

    Attributes:
        foreign: those of them that Headrace did not write.
    """

    now_ms: int
    dropped: int
    ahead: list[DueMember]
    foreign: list[bytes] = []


class _Member(msgspec.Struct, frozen=True):
    """What a member of `due` names: an event, or a run's event, queue and app."""

    event_id: str
    queue: str = ""
    app: str = ""


def _split_member(member: str) -> _Member | None:
    """Returns what a member of `due` names; None for one that Headrace did not write."""
    kind, _, rest = member.partition(":")
    if kind == "e" and rest:
        return _Member(rest)
    queue, _, run = rest.partition(":")
    event_id, _, job = run.rpartition(":")
    app, _, job_id = job.partition("/")
    if kind != "r" or not (event_id and is_name(queue) and is_name(app) and is_name(job_id)):
        return None
    return _Member(event_id, queue, app)


def event_of(member: str) -> str:
    """Returns the id of the event that a member of `due` belongs to; empty for one that Headrace did not write."""
    found = _split_member(member)
    return found.event_id if found else ""


def promote(keys: Keys, members: Sequence[str], ahead: int) -> Call[Promoted]:
    """Moves members that are due into their streams, and looks ahead."""
    names = [keys.due, keys.events]
    argv: list[Argument] = [INLINE_BYTES, ahead]
    for member in members:
        found = _split_member(member)
        if found is None:
            raise ValueError(f"{member!r} is no member of due")
        names.append(keys.event(found.event_id))
        names += (keys.queue(found.app, found.queue), keys.bell(found.app)) if found.app else (keys.events, keys.events)
        argv.append(member)
    return script_call("promote", names, argv, _read_promoted)


def _read_promoted(reply: list[Any]) -> Promoted:
    ahead: list[DueMember] = []
    foreign: list[bytes] = []
    for member, score in zip(reply[2::2], reply[3::2], strict=True):
        name = as_text(member)
        if name.encode() == member and _split_member(name) is not None:
            ahead.append(DueMember(name, int(min(max(float(score), 0), _LATEST_MS))))
        else:
            foreign.append(member)
    return Promoted(int(reply[0]), int(reply[1]), ahead, foreign)


def listen_wake(keys: Keys, timeout_s: float) -> Call[Wake | None]:
    """Waits until an earlier due time is set or a lease was ended by hand, or for the time."""

    def read(reply: list[bytes] | None) -> Wake | None:
        return None if reply is None else "lease" if reply[1] == b"lease" else "due"

    # Redis 6.2 makes 0 of 0.001 s, which is for ever.
    return Call(("BLPOP", keys.wake, f"{max(timeout_s, 0.002):.3f}"), read)


# living


class Renewed(msgspec.Struct, frozen=True):
    """The lease holds on.

    Attributes:
        next_ms: until something may have to be done by this worker: a lease or seat that may end.
        lapsed: workers whose seat has ended; only told to the leader.
        dead: workers whose lease has ended; only told to the leader.
    """

    is_leader: bool
    has_seat: bool
    version: str
    next_ms: int
    lapsed: list[str]
    dead: list[str]


class Fenced(msgspec.Struct, frozen=True):
    """The name is fenced or unknown: what it held is given to others, and it must not be used any more."""


Movement = Literal["moves", "stuck", "resigns"]
_MOVEMENT: dict[Movement, int] = {"moves": 1, "stuck": 0, "resigns": -1}


def renew(keys: Keys, worker: str, lease_ms: int, movement: Movement, *, seats: int) -> Call[Renewed | Fenced]:
    """Holds the worker's lease on; its seat and the leadership too while its event loop moves.

    Args:
        movement: `stuck` lets seat and leadership run out, `resigns` gives them up at once.
        seats: how many seats there are; 0: this worker wants none.
    """
    names = (keys.workers, keys.worker(worker), keys.leader, keys.seats, keys.meta, keys.routes_version)
    return script_call("renew", names, (worker, lease_ms, _MOVEMENT[movement], seats), _read_renewed)


def _read_renewed(reply: list[Any]) -> Renewed | Fenced:
    if reply[0] == b"fenced":
        return Fenced()
    _, leader, seat, version, next_ms, lapsed, dead = reply
    return Renewed(
        leader == 1,
        seat == 1,
        as_text(version),
        int(next_ms),
        [as_text(name) for name in lapsed],
        [as_text(name) for name in dead],
    )


class Registration(msgspec.Struct, frozen=True):
    """What a worker makes known of itself at its start."""

    app: str
    fingerprint: str
    subscriptions: bytes
    queues: tuple[str, ...]


def register(keys: Keys, worker: str, lease_ms: int, registration: Registration) -> Call[str]:
    """Gives the worker a lease, stores its subscriptions and makes every group that it reads."""
    app = registration.app
    names = [keys.workers, keys.worker(worker), keys.routes(app), keys.routes_version, keys.queues, keys.events]
    names += [keys.bell(app), *(keys.queue(app, queue) for queue in registration.queues)]
    argv = (worker, lease_ms, app, registration.fingerprint, registration.subscriptions)
    full_names = (f"{app}/{queue}" for queue in registration.queues)
    return script_call("register", names, (*argv, *full_names), as_text)


def leave(keys: Keys, worker: str, app: str, queues: Sequence[str], *, dead: bool) -> Call[bool]:
    """Forgets a worker that holds nothing."""
    names = [keys.workers, keys.worker(worker), keys.seats, keys.leader, keys.routes(app), keys.routes_version]
    names += [keys.events, *queues]
    return script_call("leave", names, (worker, int(dead)), bool)


def end_lease(keys: Keys, worker: str) -> Call[bool]:
    """Ends the lease of a worker that is known to be dead, so that its runs need not wait for it."""
    names = (keys.workers, keys.worker(worker), keys.seats, keys.leader, keys.wake)
    return script_call("end_lease", names, (worker,), bool)


def unseat(keys: Keys, worker: str, still_open_ms: int) -> Call[bool]:
    """Takes a seat away that has run out."""
    return script_call("unseat", (keys.seats, keys.events), (worker, still_open_ms), bool)


# rescuing and releasing


class HeldEntry(msgspec.Struct, frozen=True):
    """An entry in a worker's hands, and the record and job of its run; empty for entries of `events`."""

    entry: str
    record: str = ""
    job: str = ""


def read_held(stream: Stream, worker: str, after: str, count: int) -> Call[list[str]]:
    """Reads the ids of entries in a worker's hands, whoever asks."""
    start = f"({after}" if after else "-"
    return Call(
        ("XPENDING", stream.key, stream.group, start, "+", count, worker),
        lambda reply: [as_text(row[0]) for row in reply],
    )


def read_entry(stream: Stream, entry: str) -> Call[Entry]:
    """Reads one entry, whoever holds it; its fields are None when it is gone."""
    return Call(("XRANGE", stream.key, entry, entry), lambda reply: (entry.encode(), reply[0][1] if reply else None))


class WorkerFacts(msgspec.Struct, frozen=True):
    """What is stored of a worker: its app and its queues' full names."""

    app: str
    queues: tuple[str, ...]


def read_worker(keys: Keys, worker: str) -> Call[WorkerFacts | None]:
    """Reads what is stored of a worker; None when nothing is."""

    def read(reply: list[bytes | None]) -> WorkerFacts | None:
        app, queues = reply
        return None if app is None else WorkerFacts(as_text(app), tuple(as_text(queues or b"").split()))

    return Call(("HMGET", keys.worker(worker), "app", "queues"), read)


def read_queues(keys: Keys) -> Call[list[str]]:
    """Reads the full names of all queues, `<app>/<queue>`."""
    return Call(("SMEMBERS", keys.queues), lambda reply: sorted(map(as_text, reply)))


class Consumer(msgspec.Struct, frozen=True):
    """One name that a group knows; `held` entries are in its hands, and it has asked for none for `idle_ms`."""

    name: str
    held: int
    idle_ms: int


def read_consumers(stream: Stream) -> Call[list[Consumer]]:
    """Reads every name that the stream's group knows."""

    def read(reply: list[list[Any]]) -> list[Consumer]:
        rows = [dict(zip(row[::2], row[1::2], strict=True)) for row in reply]
        return [Consumer(as_text(row[b"name"]), row[b"pending"], row[b"idle"]) for row in rows]

    return Call(("XINFO", "CONSUMERS", stream.key, stream.group), read)


def read_workers(keys: Keys) -> Call[set[str]]:
    """Reads the names of all workers that have a lease, or are looked at again."""
    return Call(("ZRANGE", keys.workers, 0, -1), lambda reply: set(map(as_text, reply)))


def _held_arguments(held: Sequence[HeldEntry]) -> tuple[list[str], list[Argument]]:
    argv: list[Argument] = []
    for each in held:
        argv += (each.entry, each.job)
    return [each.record for each in held if each.record], argv


def rescue(
    keys: Keys, worker: str, stream: Stream, held: Sequence[HeldEntry], *, dead: bool, look_again_ms: int
) -> Call[int]:  # fmt: skip
    """Fences a dead worker (or, if not `dead`, minds a lapsed seat) and puts its entries back; see the script."""
    records, entries = _held_arguments(held)
    names = [keys.workers if dead else keys.seats, keys.worker(worker), keys.meta, stream.key, stream.bell, *records]
    argv = (worker, stream.group, int(dead), look_again_ms, stream.name, *entries)
    return script_call("rescue", names, argv, int)


def release(stream: Stream, held: Sequence[HeldEntry]) -> Call[int]:
    """Puts this worker's own entries back, with nothing counted."""
    records, entries = _held_arguments(held)
    return script_call("release", [stream.key, stream.bell, *records], (stream.group, stream.name, *entries), int)


def unblock(client_id: int) -> Call[int]:
    """Ends a blocked read as if its time had run out: what it might have been handed stays with the server."""
    return Call(("CLIENT", "UNBLOCK", client_id), int)


def set_aside_due(keys: Keys, member: str | bytes, error: str) -> tuple[Call[str], Call[int]]:
    """Moves a member of `due` that can't be handled into `dead`, as it is."""
    letter = ("reason", "unreadable", "error", error, "raw.member", member)
    return Call(("XADD", keys.dead, "*", *letter), as_text), Call(("ZREM", keys.due, member), int)
