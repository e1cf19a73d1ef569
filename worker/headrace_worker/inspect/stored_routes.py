"""Reads the routes of all apps, which workers live, and what is set for queues; what is damaged stops nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace import HeadraceError, QueueControls
from headrace.calls.call import Call, as_text
from headrace.calls.checking import server_time
from headrace.calls.controlling import read_controls
from headrace.formats.keys import Keys
from headrace.model.page import DamagedEntry
from headrace.plans.plan import Plan
from headrace.plans.queues import merge_controls
from headrace_worker.app.routes import DISABLED, Candidate, Effective, RoutesTooNew, candidates_of, effective
from headrace_worker.protocol.dispatching import read_apps, read_routes
from headrace_worker.protocol.measuring import read_lease_ends
from headrace_worker.protocol.switching import Disabled, decode_disabled


class StoredRoutes(msgspec.Struct, frozen=True):
    """The routes of an app in one partition.

    Attributes:
        fields: the hash itself.
        leased: the workers whose leases run, of all apps.
    """

    app: str
    fields: Mapping[bytes, bytes]
    effective: Effective
    leased: frozenset[str]

    def workers(self, *fingerprints: bytes) -> list[str]:
        """Return the live workers that have one of these subscriptions."""
        names = (
            as_text(field[2:]) for field in self.fields if field[:2] == b"w:" and self.fields[field] in fingerprints
        )
        return sorted(self.leased.intersection(names))

    def disabled(self) -> dict[str, Disabled]:
        """Return what is stored of disabled jobs, by their ids."""
        return {
            as_text(field.removeprefix(DISABLED)): decode_disabled(value)
            for field, value in self.fields.items()
            if field.startswith(DISABLED)
        }

    def earlier(self) -> list[Candidate]:
        """Return the jobs of releases whose subscriptions are stored and do not count any more, as far as readable."""
        counting = {*self.effective.fingerprints, self.fields.get(b"registered")}  # what is registered is yet to count
        prints = [field[2:] for field in self.fields if field[:2] == b"s:" and field[2:] not in counting]
        return [each for name in prints for each in read_jobs(self.app, self.fields[b"s:" + name]) or ()]


class Stored(msgspec.Struct, frozen=True):
    """What some partitions know of apps.

    Attributes:
        routes: those of all apps, sorted by app.
        damaged: by the app's name what can't be read, and where.
        controls: what is set for queues, by `<app>/<queue>`; nothing where that can't be read.
    """

    routes: list[StoredRoutes]
    damaged: list[DamagedEntry]
    controls: Mapping[str, QueueControls]

    def controls_of(self, app: str, queue: str) -> QueueControls:
        """Return what is set for a queue of an app."""
        name = f"{app}/{queue}"
        return self.controls.get(name) or QueueControls(queue=name)


def read_stored(keys: Sequence[Keys]) -> Plan[Stored]:
    """Return the routes of all apps in these partitions. To be run with `partial`."""
    calls: list[Call[Any]] = [call for each in keys for call in (read_apps(each), server_time(), read_lease_ends(each))]
    received = yield [*calls, *map(read_controls, keys)]
    answers, set_for = received[: len(calls)], received[len(calls) :]
    raise_errors(answers)
    controls = merge_controls([{} if isinstance(each, HeadraceError) else each for each in set_for])
    parts = [
        (each, apps, frozenset(name for name, end_ms in ends.items() if end_ms > now_ms))
        for each, apps, now_ms, ends in zip(keys, answers[::3], answers[1::3], answers[2::3], strict=True)
    ]
    wanted = [read_routes(each, app) for each, apps, _ in parts for app in apps]
    stored = iter((yield wanted) if wanted else [])
    routes: list[StoredRoutes] = []
    damaged: list[DamagedEntry] = []
    for each, apps, leased in parts:
        for app in apps:
            found = _read(app, next(stored), leased)
            if isinstance(found, str):
                damaged.append(_damaged(app, each, found))
                continue
            routes.append(found)
            prints = map(as_text, found.effective.unreadable)
            damaged += [_damaged(app, each, f"subscriptions {name} can't be read") for name in prints]
    return Stored(sorted(routes, key=lambda each: each.app), damaged, {each.queue: each for each in controls})


def read_jobs(app: str, subscriptions: bytes) -> list[Candidate] | None:
    """Return the jobs of stored subscriptions; None if they are damaged, or need a newer release."""
    try:
        return candidates_of(app, subscriptions)
    except RoutesTooNew:
        return None


def _damaged(app: str, keys: Keys, why: str) -> DamagedEntry:
    return DamagedEntry(app, f"partition {keys.partition}: {why}")


def _read(app: str, fields: Any, leased: frozenset[str]) -> StoredRoutes | str:
    """Return an app's routes, or why they can't be read."""
    if isinstance(fields, HeadraceError):
        return str(fields)
    try:
        return StoredRoutes(app, fields, effective(app, fields), leased)
    except RoutesTooNew as exc:
        return str(exc)


def raise_errors(answers: Sequence[Any]) -> None:
    """Raise the first error among the answers of calls that were made with `partial`."""
    for answer in answers:
        if isinstance(answer, HeadraceError):
            raise answer
