"""Finds keys that a test has left on the server, and that nothing will ever remove."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import redis

_LASTING = re.compile(
    rb"(events|due|queue:[^/]+/[^/]+|queues|wake-up:[^/]+|wake|recent|runs|dead"
    rb"|fading|routes:[^/]+|workers|worker:.+|leader|dispatchers|meta|controls|audit)\Z"
)
"""The keys that stay as long as the namespace is used."""


def find_leaks(server: redis.Redis, namespace: str) -> list[str]:
    """Return one line for each key of the namespace that should have a TTL, or should not be there.

    A key either has a TTL, or is one of those that last, or is the record of an event that something still
    holds: `events` until it is dispatched, `due` while it or a run of it waits, a queue while a run of it is
    open. A record that nothing holds would never be closed. A wake-up stream, and `wake`, have one element at most.
    """
    prefix = _prefix(namespace)
    keys = {name: _after_partition(name, prefix) for name in _scan(server, prefix + b"*")}
    held = _held_events(server, keys)
    faults = {name: _fault(server, name, rest, held) for name, rest in sorted(keys.items())}
    return [f"{name.decode(errors='replace')}: {fault}" for name, fault in faults.items() if fault]


def find_foreign_keys(server: redis.Redis, namespaces: Iterable[str]) -> list[str]:
    """Return the keys that belong to no namespace of these."""
    prefixes = tuple(_prefix(namespace) for namespace in namespaces)
    return [name.decode(errors="replace") for name in _scan(server, b"*") if not name.startswith(prefixes)]


def _fault(server: redis.Redis, name: bytes, rest: bytes, held: set[bytes]) -> str | None:
    if server.pttl(name) != -1:
        return None
    if rest.startswith(b"event:"):
        is_held = rest.removeprefix(b"event:") in held
        return None if is_held else "a record without TTL that nothing holds any more"
    if not _LASTING.match(rest):
        return "a key without TTL that is none of those that last"
    if rest.startswith(b"wake-up:") and _rows(server.xlen(name)) > 1:
        return "a wake-up stream with more than one element"
    if rest == b"wake" and _rows(server.llen(name)) > 1:
        return "a list with more than one element"
    return None


def _held_events(server: redis.Redis, keys: dict[bytes, bytes]) -> set[bytes]:
    """Return the ids of the events that `events`, `due` or a queue still refers to."""
    held: set[bytes] = set()
    for name, rest in keys.items():
        if rest == b"events" or rest.startswith(b"queue:"):
            field = b"i" if rest == b"events" else b"e"
            entries: list[tuple[bytes, dict[bytes, bytes]]] = _any(server.xrange(name))
            held.update(fields[field] for _, fields in entries if field in fields)
        elif rest == b"due":
            members: list[bytes] = _any(server.zrange(name, 0, -1))
            held.update(_event_of(member) for member in members)
    return held


def _event_of(member: bytes) -> bytes:
    """Return the event's id of a member of `due`.

    That is `e:<event id>`, `r:<queue>:<event id>:<app>/<job id>`, or the latter behind an ordering key.
    """
    kind, _, rest = member.partition(b":")
    if kind == b"o":
        length, _, rest = rest.partition(b":")
        rest = rest[int(length) + 1 :]
    return rest if kind == b"e" else rest.partition(b":")[2].rpartition(b":")[0]


def _prefix(namespace: str) -> bytes:
    return b"headrace:{%b:" % namespace.encode()


def _after_partition(name: bytes, prefix: bytes) -> bytes:
    """Return `events` for `headrace:{<namespace>:0}:events`."""
    return name.removeprefix(prefix).partition(b"}:")[2]


def _scan(server: redis.Redis, pattern: bytes) -> list[bytes]:
    return list(dict.fromkeys(server.scan_iter(match=pattern, count=1000)))


def _rows(count: Any) -> int:
    # redis-py types each reply as one of the sync or the async client.
    return int(count)


def _any(reply: Any) -> Any:
    return reply
