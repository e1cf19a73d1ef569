"""A case: what is there, the call, and what it must give and change. Each is run under several conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from headrace.calls.call import Call
from headrace.model.retention import Retention
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Delivery, Stream, decode_delivery
from tests.scripts.state import Changes, Fact, Keyspace

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
    """One call on a keyspace that is seeded for it.

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
    arrange: Callable[[Keyspace], Step]

    def __str__(self) -> str:
        return f"{self.script}-{self.name}"


Lines = dict[str, Fact | None]
"""Changes that a case puts together."""

CASES: list[Case] = []


def case(arrange: Callable[[Keyspace], Step]) -> Callable[[Keyspace], Step]:
    """Add a case of the script that the module, or its folder, is named for."""
    script = arrange.__module__.removeprefix(f"{__package__}.").partition(".")[0]
    CASES.append(Case(script, arrange.__name__, arrange))
    return arrange


# what a namespace in use has; no case may touch it


def seed_bystanders(keyspace: Keyspace) -> None:
    """Another event is being dispatched, another run executed, others wait; a live worker leads and sits.

    Another job is disabled.
    """
    for stream, group in (("events", "dispatch"), ("queue:app/default", "workers"), ("wake-up:app", "wake-up")):
        keyspace.seed("XGROUP CREATE", stream, group, "0", "MKSTREAM")
    keyspace.entry("events", "1-0", {"i": "dispatching", "z": 8, "b": BODY})
    keyspace.hold("events", "dispatch", "w0", "1-0")
    seed_record(keyspace, "dispatching")
    keyspace.entry("queue:app/default", "1-0", {"e": "executing", "j": "job", "s": "", "b": BODY})
    keyspace.hold("queue:app/default", "workers", "w0", "1-0")
    seed_record(keyspace, "executing", runs="1", fields={"r:app/job": run_line("x", "1-0", worker="w0", started=PAST)})
    keyspace.seed("ZADD", "due", FUTURE, "e:later", FUTURE, "r:default:waiting:app/job")
    seed_record(keyspace, "later", due=FUTURE, delivered=0)
    seed_record(keyspace, "waiting", runs="1", fields={"r:app/job": run_line("w", "-", state="2 0 0 0", worker="w0")})
    keyspace.entry("recent", "1-0", {"later": "user.new"})
    keyspace.entry("runs", "1-0", {"settled:app/job": "s"})
    keyspace.entry("dead", "1-0", {"run": "failed:app/job", "reason": "failed", "error": ""})
    keyspace.seed("SADD", "queues", "app/default")
    keyspace.seed("ZADD", "workers", FUTURE, "w0")
    keyspace.seed("HSET", "worker:w0", "app", "app", "fingerprint", "f0", "queues", "app/default")
    keyspace.seed("HSET", "routes:app", "n:f0", 1, "s:f0", "subscriptions", "w:w0", "f0", "x:other", f"{PAST} why")
    keyspace.seed("SET", "routes:version", 1)
    keyspace.seed("SET", "leader", f"w0 {FUTURE}")
    keyspace.seed("ZADD", "dispatchers", FUTURE, "w0")


# what cases are made of


def header(
    token: str = "t.1",
    kind: str = "s",
    due: int | str = 0,
    delivered: int | str = PAST,
    canceled: int | str = 0,
    runs: str = "-",
) -> str:
    """Return the header of a record; without arguments that of an event that was delivered and is to be dispatched."""
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
    """Return the field of a run."""
    line = f"{status} {state} {queue} {entry} {worker} {started} {finished}"
    return f"{line}\n{outcome}" if outcome else line


def seed_record(
    keyspace: Keyspace,
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
    keyspace.seed("HSET", f"event:{event_id}", "m", head)
    if body is not None:
        keyspace.seed("HSET", f"event:{event_id}", "e", body)
    for field, value in (fields or {}).items():
        keyspace.seed("HSET", f"event:{event_id}", field, value)


def queue(keyspace: Keyspace, name: str = "default", app: str = "app") -> Stream:
    """Return a queue of the keyspace."""
    return reading.queue_stream(keyspace.keys, app, name)


def delivery(
    keyspace: Keyspace,
    entry: str,
    event_id: str,
    *,
    state: str = "",
    body: str = BODY,
    job: str = "job",
    name: str = "default",
    ordering_key: str = "",
) -> Delivery:
    """Return a worker's pending run as its fetcher decodes it."""
    fields = [b"e", event_id.encode(), b"j", job.encode(), b"s", state.encode(), b"b", body.encode()]
    fields += [b"k", ordering_key.encode()] if ordering_key else []
    return decode_delivery(queue(keyspace, name), (entry.encode(), fields))


def seed_entry(
    keyspace: Keyspace,
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
    """Seed an entry in its queue, pending under the worker if one is named; its state may be invalid."""
    stream = f"queue:app/{name}"
    keyspace.entry(stream, entry, {"e": event_id, "j": job, "s": state, "b": body} | _key_field(ordering_key))
    if worker is not None:
        keyspace.hold(stream, "workers", worker, entry)


def seed_run(
    keyspace: Keyspace,
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
    """Seed a run in its queue, pending under the worker if one is named; return it as its fetcher decodes it."""
    seed_entry(
        keyspace, entry, event_id, worker=worker, state=state, body=body, job=job, name=name, ordering_key=ordering_key
    )
    return delivery(keyspace, entry, event_id, state=state, body=body, job=job, name=name, ordering_key=ordering_key)


def _key_field(ordering_key: str) -> dict[str, str]:
    return {"k": ordering_key} if ordering_key else {}


def seed_line(keyspace: Keyspace, key: str, *elements: str) -> None:
    """The order or the turns of an ordering key are these."""
    keyspace.seed("RPUSH", key, *elements)


TURNS = "line:app/job:user:1"
"""The turns of the ordering key `user:1` for `app/job`."""


def turn(event_id: str, name: str = "default") -> str:
    """Return the turn of an event's run of `app/job`."""
    return f"o:6:user:1:{name}:{event_id}:app/job"


def seed_queue(keyspace: Keyspace, name: str, app: str = "app") -> None:
    """Another queue is there, with its group."""
    keyspace.seed("XGROUP CREATE", f"queue:{app}/{name}", "workers", "0", "MKSTREAM")
