"""The streams of work, and the calls that deliver their entries. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, as_text, script_call
from headrace.formats.keys import Keys
from headrace_worker.protocol.delivery import Entry, Stream, entries_of

MAX_READ = 128
"""The most entries of a read. A batch should stay in the processor's cache while the server works on it, hold up
other clients for a millisecond at most, and leave the worker something to do in the meantime."""
DISPATCH_GROUP = "dispatch"
WORKERS_GROUP = "workers"
WAKE_UP_GROUP = "wake-up"


def events_stream(keys: Keys) -> Stream:
    """Return `events` as a stream of work."""
    return Stream(keys.events, DISPATCH_GROUP, keys.events)


def queue_stream(keys: Keys, app: str, queue: str) -> Stream:
    """Return a queue as a stream of work."""
    return Stream(keys.queue(app, queue), WORKERS_GROUP, keys.wake_up(app), app, queue, keys.partition)


def read_group(group: str, worker: str, stream: str, count: int, block_ms: int | None) -> Call[list[Entry]]:
    """Deliver at most `count` new entries of a stream to this worker; wait for the first entry for `block_ms`."""
    block = () if block_ms is None else ("BLOCK", block_ms)
    return Call(("XREADGROUP", "GROUP", group, worker, "COUNT", count, *block, "STREAMS", stream, ">"), entries_of)


def read_own(group: str, worker: str, stream: str, after: str, count: int) -> Call[list[Entry]]:
    """Read the entries that are pending under this worker's name, from the entry behind `after` on."""
    return Call(("XREADGROUP", "GROUP", group, worker, "COUNT", count, "STREAMS", stream, after), entries_of)


def listen_wake_up(keys: Keys, app: str, block_ms: int) -> Call[bool]:
    """Wait for the app's wake-up stream; one worker gets each entry. All read under one name: nothing stays pending."""
    command = ("XREADGROUP", "GROUP", WAKE_UP_GROUP, "any", "COUNT", 1, "BLOCK", block_ms, "NOACK", "STREAMS")
    return Call((*command, keys.wake_up(app), ">"), bool)


def wake_worker(keys: Keys, app: str) -> Call[None]:
    """Wake one idle worker of the app."""
    return Call(("XADD", keys.wake_up(app), "MAXLEN", 1, "*", "r", ""), lambda _: None)


class Taken(msgspec.Struct, frozen=True):
    """What a worker has taken from its queues.

    Attributes:
        controls: the version of what is set for queues at run time.
        limited: the keys of its queues whose runs in flight are limited, by the code or at run time.
        entries: those of each queue that had any; a queue may be there twice.
    """

    controls: str
    limited: frozenset[str]
    entries: list[tuple[Stream, list[Entry]]]


class Share(msgspec.Struct, frozen=True):
    """What a worker wants of one queue: as many of its free slots, and never more runs in flight than the limit.

    Attributes:
        limit: what the code declares for the queue in this partition; 0 for none.
    """

    queue: Stream
    slots: int
    limit: int = 0


class _TakeArguments(msgspec.Struct, frozen=True):
    """What `take.lua` reads beside its keys; its header says what each is."""

    worker: str
    free: int
    shares: list[int]
    limits: list[int]


def take(keys: Keys, worker: str, shares: Sequence[Share], free: int) -> Call[Taken]:
    """Deliver at most `free` runs from several queues, in their order; what one leaves of its share the others get."""

    def read(reply: list[Any]) -> Taken:
        version, limited, *found = reply
        entries = [
            (shares[place - 1].queue, [(entry[0], entry[1]) for entry in entries])
            for place, entries in zip(found[::2], found[1::2], strict=True)
        ]
        return Taken(as_text(version), frozenset(shares[place - 1].queue.key for place in limited), entries)

    names = [keys.controls, *(share.queue.key for share in shares)]
    args = _TakeArguments(worker, free, [share.slots for share in shares], [share.limit for share in shares])
    return script_call("take", names, (pack(args),), read)


def read_body(keys: Keys, event_id: str) -> Call[bytes | None]:
    """Read a body that is only in the record; None if the record is gone."""
    return Call(("HGET", keys.event(event_id), "e"), lambda reply: reply)


def unblock(client_id: int) -> Call[int]:
    """End a blocked read as if its time had run out: entries that it might have received stay with the server."""
    return Call(("CLIENT", "UNBLOCK", client_id), int)
