"""The calls of a dispatcher: read the routes, make runs of events. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.calls.call import Argument, Call, as_fields, as_text, script_call
from headrace.formats.codec import INLINE_BYTES
from headrace.formats.keys import Keys
from headrace.model.retention import Retention
from headrace_worker.app.routes import Route
from headrace_worker.protocol.delivery import EventEntry
from headrace_worker.protocol.policy import before_id, policy


class Dispatched(msgspec.Struct, frozen=True):
    """The result of a dispatch; `lost` events had no record and no body."""

    events: int
    runs: int
    lost: int


class RoutesStale(msgspec.Struct, frozen=True):
    """Nothing was dispatched: the routes have changed since they were read."""


class EventsBehind(msgspec.Struct, frozen=True):
    """Nothing was dispatched: earlier events of their ordering keys stand before the events at these places."""

    places: list[int]


class QueuesFull(msgspec.Struct, frozen=True):
    """Nothing was dispatched: the server is full and a queue of the event still has entries."""


class Matched(msgspec.Struct, frozen=True, gc=False):
    """An event with the routes that it matches."""

    entry: EventEntry
    routes: list[Route]


Answer = Dispatched | RoutesStale | QueuesFull | EventsBehind


def dispatch(
    keys: Keys, batch: Sequence[Matched], version: str, retention: Retention, *, free_first: bool = False
) -> Call[Answer]:
    """Make one run of each event in each matched queue.

    Args:
        free_first: for a full server, with one event only.
    """
    places: dict[str, int] = {}
    names: list[str] = [keys.events, keys.routes_version, keys.fading]
    jobs: list[Argument] = []
    matches: dict[str, int] = {}
    alike: list[tuple[int, list[EventEntry]]] = []
    for matched in batch:
        where = ""
        for route in matched.routes:
            place = places.get(route.job)
            if place is None:
                place = places[route.job] = len(places) + 1
                names += (keys.queue(route.app, route.queue), keys.wake_up(route.app))
                jobs += (route.job, route.queue)
            where += f"{place},"
        match = matches.setdefault(where, len(matches) + 1)
        if not alike or alike[-1][0] != match:
            alike.append((match, []))
        alike[-1][1].append(matched.entry)
    events: list[Argument] = []
    for match, entries in alike:
        events += (match, len(entries), *(each.entry for each in entries))
        names += [keys.event(each.event_id) for each in entries]
    lines, ordered = _ordered(keys, batch)
    head = (*policy(keys, retention), version, int(free_first), INLINE_BYTES, before_id(keys))
    argv = (*head, len(places), len(matches), len(ordered) // 2, *jobs, *matches, *events, *ordered)
    return script_call("dispatch", [*names, *lines], argv, _read_dispatched)


def _ordered(keys: Keys, batch: Sequence[Matched]) -> tuple[list[str], list[Argument]]:
    """Return the keys and arguments of the events that have an ordering key."""
    names: list[str] = []
    argv: list[Argument] = []
    for place, matched in enumerate(batch, 1):
        if key := matched.entry.ordering_key:
            names += (keys.order(key), *(keys.line(route.job, key) for route in matched.routes))
            argv += (place, key)
    return names, argv


def _read_dispatched(reply: list[Any]) -> Answer:
    match reply[0]:
        case b"done":
            return Dispatched(*reply[1:])
        case b"stale":
            return RoutesStale()
        case b"behind":
            return EventsBehind([place - 1 for place in reply[1:]])
    return QueuesFull()


def read_order(keys: Keys, ordering_key: str, count: int) -> Call[list[str]]:
    """Read the ids of the first undispatched events of an ordering key."""
    return Call(("LRANGE", keys.order(ordering_key), 0, count - 1), lambda reply: [as_text(each) for each in reply])


def leave_order(keys: Keys, ordering_key: str, event_id: str) -> Call[int]:
    """Take an event that can't be dispatched out of the order of its key, so that later events do not wait for it."""
    return Call(("LREM", keys.order(ordering_key), 1, event_id), int)


def read_routes_version(keys: Keys) -> Call[str]:
    """Read the version of the routes; to be read before the routes themselves."""
    return Call(("GET", keys.routes_version), lambda reply: as_text(reply or b"0"))


def read_apps(keys: Keys) -> Call[list[str]]:
    """Read the names of all apps that have queues."""
    return Call(("SMEMBERS", keys.queues), lambda reply: sorted({as_text(each).partition("/")[0] for each in reply}))


def read_routes(keys: Keys, app: str) -> Call[dict[bytes, bytes]]:
    """Read the stored subscriptions of an app."""
    return Call(("HGETALL", keys.routes(app)), as_fields)
