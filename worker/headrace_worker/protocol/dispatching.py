"""The calls of a dispatcher: read the routes, make runs of events. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec

from headrace.calls.arguments import Policy, before_id, pack, policy
from headrace.calls.call import Call, as_fields, as_text, script_call
from headrace.formats.codec import INLINE_BYTES
from headrace.formats.keys import Keys
from headrace.model.retention import Retention
from headrace_worker.app.routes import Route
from headrace_worker.protocol.delivery import EventEntry


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


class _Arguments(msgspec.Struct, frozen=True):
    """What `dispatch.lua` reads beside its keys; its header says what each is."""

    policy: Policy
    version: str
    free_first: bool
    inline: int
    before_id: int
    jobs: list[tuple[str, str]]
    matches: list[tuple[int, ...]]
    alike: list[tuple[int, int]]
    entries: list[str]
    ordered: dict[int, str]


def dispatch(
    keys: Keys, batch: Sequence[Matched], version: str, retention: Retention, *, free_first: bool = False
) -> Call[Answer]:
    """Make one run of each event in each matched queue.

    Args:
        free_first: for a full server, with one event only.
    """
    places: dict[str, int] = {}
    names: list[str] = [keys.events, keys.routes_version, keys.fading]
    jobs: list[tuple[str, str]] = []
    matches: dict[tuple[int, ...], int] = {}
    matched_by: list[int] = []
    for matched in batch:
        where: tuple[int, ...] = ()
        for route in matched.routes:
            place = places.get(route.job)
            if place is None:
                place = places[route.job] = len(places) + 1
                names += (keys.queue(route.app, route.queue), keys.wake_up(route.app))
                jobs.append((route.job, route.queue))
            where += (place,)
        matched_by.append(matches.setdefault(where, len(matches) + 1))
    alike = [(match, len(list(those))) for match, those in groupby(matched_by)]
    names += [keys.event(matched.entry.event_id) for matched in batch]
    lines, ordered = _ordered(keys, batch)
    args = _Arguments(
        policy(keys, retention), version, free_first, INLINE_BYTES, before_id(keys),
        jobs, list(matches), alike, [matched.entry.entry for matched in batch], ordered,
    )  # fmt: skip
    return script_call("dispatch", names + lines, (pack(args),), _read_dispatched)


def _ordered(keys: Keys, batch: Sequence[Matched]) -> tuple[list[str], dict[int, str]]:
    """Return the keys of the events that have an ordering key, and these ordering keys by the events' places."""
    names: list[str] = []
    ordered: dict[int, str] = {}
    for place, matched in enumerate(batch, 1):
        if key := matched.entry.ordering_key:
            names += (keys.order(key), *(keys.line(route.job, key) for route in matched.routes))
            ordered[place] = key
    return names, ordered


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
