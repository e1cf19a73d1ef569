"""A case: what is there, the call, and what it must give and change. Each is run under several conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from headrace.calls.call import Call
from headrace.model.retention import Retention
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Delivery, Stream, decode_delivery
from tests.scripts.state import Changes, Fact, World

PAST, LONG_PAST, FUTURE = 1_000_000_000_000, 900_000_000_000, 4_000_000_000_000
"""Moments in ms that no test comes near: in 2001, 1998 and 2096."""

IN_60_S: Any = "<now+60s>"
IN_120_S: Any = "<now+120s>"

RETENTION = Retention(success=1_000, failure=5_000, dedupe_client=100, dedupe_sender=2_000)
"""Ids by the client end with success (1,000 s), those of senders with their dedupe, derived ones as failures do."""
NO_RETENTION = Retention(success=0, failure=0, dedupe_client=100, dedupe_sender=2_000)

BODY = "an event"
LARGEST_INLINE, LARGE = "x" * 8_192, "x" * 8_193
"""What travels in an entry to the last byte, and what does not."""


class Step(msgspec.Struct, frozen=True):
    """One call on a world that is seeded for it.

    Attributes:
        gives: what its reader returns or raises.
        changes: every line of the state that is another one afterwards.
        full: what a server at its maxmemory does with the call: `passes`, or `refused` whole.
    """

    call: Call[Any]
    gives: Any
    changes: Changes
    full: Literal["passes", "refused"] = "passes"


class Case(msgspec.Struct, frozen=True):
    """A named case of a script; its sentence is its docstring."""

    script: str
    name: str
    arrange: Callable[[World], Step]

    def __str__(self) -> str:
        return f"{self.script}-{self.name}"


Lines = dict[str, Fact | None]
"""Changes that a case puts together."""

CASES: list[Case] = []


def case(arrange: Callable[[World], Step]) -> Callable[[World], Step]:
    """The function is a case of the script that its module is named for."""
    CASES.append(Case(arrange.__module__.rpartition(".")[2], arrange.__name__, arrange))
    return arrange


# what a namespace in use has; no case may touch it


def seed_bystanders(world: World) -> None:
    """Another event is being dispatched, another run executed, others wait; a live worker leads and sits."""
    for stream, group in (("events", "dispatch"), ("queue:app/default", "workers"), ("wake-up:app", "wake-up")):
        world.seed("XGROUP CREATE", stream, group, "0", "MKSTREAM")
    world.entry("events", "1-0", {"i": "dispatching", "z": 8, "b": BODY})
    world.hold("events", "dispatch", "w0", "1-0")
    seed_record(world, "dispatching")
    world.entry("queue:app/default", "1-0", {"e": "executing", "j": "job", "s": "", "b": BODY})
    world.hold("queue:app/default", "workers", "w0", "1-0")
    seed_record(world, "executing", runs="1", fields={"r:app/job": run_line("x", "1-0", worker="w0", started=PAST)})
    world.seed("ZADD", "due", FUTURE, "e:later", FUTURE, "r:default:waiting:app/job")
    seed_record(world, "later", due=FUTURE, delivered=0)
    seed_record(world, "waiting", runs="1", fields={"r:app/job": run_line("w", "-", state="2 0 0 0", worker="w0")})
    world.entry("recent", "1-0", {"later": "user.new"})
    world.entry("runs", "1-0", {"settled:app/job": "s"})
    world.entry("dead", "1-0", {"run": "failed:app/job", "reason": "failed", "error": ""})
    world.seed("SADD", "queues", "app/default")
    world.seed("ZADD", "workers", FUTURE, "w0")
    world.seed("HSET", "worker:w0", "app", "app", "fingerprint", "f0", "queues", "app/default")
    world.seed("HSET", "routes:app", "n:f0", 1, "s:f0", "subscriptions", "w:w0", "f0")
    world.seed("SET", "routes:version", 1)
    world.seed("SET", "leader", f"w0 {FUTURE}")
    world.seed("ZADD", "dispatchers", FUTURE, "w0")


# what cases are made of


def header(
    token: str = "t.1",
    kind: str = "s",
    due: int | str = 0,
    delivered: int | str = PAST,
    canceled: int | str = 0,
    runs: str = "-",
) -> str:
    """Returns the header of a record; without arguments that of an event that was delivered and is to be dispatched."""
    return f"{token} {kind} {due} {delivered} {canceled} {runs}"


def run_line(
    status: str,
    entry: str,
    *,
    state: str = "1 0 0 0",
    queue: str = "default",
    worker: str = "-",
    started: int | str = 0,
    finished: int | str = 0,
    outcome: str = "",
) -> str:
    """Returns the field of a run."""
    line = f"{status} {state} {queue} {entry} {worker} {started} {finished}"
    return f"{line}\n{outcome}" if outcome else line


def seed_record(
    world: World,
    event_id: str,
    *,
    kind: str = "s",
    due: int = 0,
    delivered: int = PAST,
    canceled: int = 0,
    runs: str = "-",
    body: str | bytes | None = BODY,
    fields: dict[str, str | int] | None = None,
) -> None:
    """The event has a record."""
    head = header(kind=kind, due=due, delivered=delivered, canceled=canceled, runs=runs)
    world.seed("HSET", f"event:{event_id}", "m", head)
    if body is not None:
        world.seed("HSET", f"event:{event_id}", "e", body)
    for field, value in (fields or {}).items():
        world.seed("HSET", f"event:{event_id}", field, value)


def queue(world: World, name: str = "default", app: str = "app") -> Stream:
    """Returns a queue of the world."""
    return reading.queue_stream(world.keys, app, name)


def delivery(
    world: World,
    entry: str,
    event_id: str,
    *,
    state: str = "",
    body: str = BODY,
    job: str = "job",
    name: str = "default",
    ordering_key: str = "",
) -> Delivery:
    """Returns a run in a worker's hands as its fetcher decodes it."""
    fields = [b"e", event_id.encode(), b"j", job.encode(), b"s", state.encode(), b"b", body.encode()]
    fields += [b"k", ordering_key.encode()] if ordering_key else []
    return decode_delivery(queue(world, name), (entry.encode(), fields))


def seed_entry(
    world: World,
    entry: str,
    event_id: str,
    *,
    worker: str | None = "w1",
    state: str = "",
    body: str = BODY,
    job: str = "job",
    name: str = "default",
    ordering_key: str = "",
) -> None:
    """An entry is in its queue, in the hands of the worker if one is named; its state need be none."""
    stream = f"queue:app/{name}"
    world.entry(stream, entry, {"e": event_id, "j": job, "s": state, "b": body} | _key_field(ordering_key))
    if worker is not None:
        world.hold(stream, "workers", worker, entry)


def seed_run(
    world: World,
    entry: str,
    event_id: str,
    *,
    worker: str | None = "w1",
    state: str = "",
    body: str = BODY,
    job: str = "job",
    name: str = "default",
    ordering_key: str = "",
) -> Delivery:
    """A run is in its queue, in the hands of the worker if one is named; returns it as its fetcher decodes it."""
    seed_entry(
        world, entry, event_id, worker=worker, state=state, body=body, job=job, name=name, ordering_key=ordering_key
    )
    return delivery(world, entry, event_id, state=state, body=body, job=job, name=name, ordering_key=ordering_key)


def _key_field(ordering_key: str) -> dict[str, str]:
    return {"k": ordering_key} if ordering_key else {}


def seed_line(world: World, key: str, *elements: str) -> None:
    """The order or the turns of an ordering key are these."""
    world.seed("RPUSH", key, *elements)


TURNS = "line:app/job:user:1"
"""The turns of the ordering key `user:1` for `app/job`."""


def turn(event_id: str, name: str = "default") -> str:
    """Returns the turn of an event's run of `app/job`."""
    return f"o:6:user:1:{name}:{event_id}:app/job"


def seed_queue(world: World, name: str, app: str = "app") -> None:
    """Another queue is there, with its group."""
    world.seed("XGROUP CREATE", f"queue:{app}/{name}", "workers", "0", "MKSTREAM")
