"""The streams of work, and the calls that deliver their entries. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.calls.call import Call, script_call
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


def take(worker: str, queues: Sequence[Stream], free: int) -> Call[list[tuple[Stream, list[Entry]]]]:
    """Deliver at most `free` runs from several queues, in the order of the queues."""

    def read(reply: list[Any]) -> list[tuple[Stream, list[Entry]]]:
        return [
            (queues[place - 1], [(entry[0], entry[1]) for entry in entries])
            for place, entries in zip(reply[::2], reply[1::2], strict=True)
        ]

    return script_call("take", [queue.key for queue in queues], (worker, free), read)


def read_body(keys: Keys, event_id: str) -> Call[bytes | None]:
    """Read a body that is only in the record; None if the record is gone."""
    return Call(("HGET", keys.event(event_id), "e"), lambda reply: reply)


def unblock(client_id: int) -> Call[int]:
    """End a blocked read as if its time had run out: entries that it might have received stay with the server."""
    return Call(("CLIENT", "UNBLOCK", client_id), int)
