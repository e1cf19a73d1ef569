"""The jobs of an event: the subscriptions of all apps, and the match of one event against them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import msgspec

from headrace import ConfigurationError, HeadraceError
from headrace.formats.codec import StoredEvent
from headrace.formats.keys import check_name
from headrace.model.values import decode_value
from headrace_worker.app.app import App
from headrace_worker.app.filters import compile_filter
from headrace_worker.app.trigger import Trigger
from headrace_worker.errors import FilterError

ROUTES_FORMAT = 1
"""The format that a dispatcher must be able to evaluate; raised when triggers get what older ones do not know."""


_MOST_DIGITS = 18


class StoredTrigger(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trigger as it is stored; see `Trigger`."""

    names: tuple[str, ...]
    sources: tuple[str, ...] = ()
    filter: dict[str, Any] | None = None
    context_filter: dict[str, Any] | None = None

    @classmethod
    def of(cls, trigger: Trigger) -> Self:
        """Return what is stored of a trigger."""
        return cls(trigger.names, trigger.sources, trigger.filter, trigger.context_filter)


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job's trigger, as it is stored with the app's other triggers."""

    job: str
    queue: str
    trigger: StoredTrigger


class Subscriptions(msgspec.Struct, frozen=True):
    """All subscriptions of an app, with the format that their evaluation needs."""

    format: int
    jobs: list[Subscription]


class RoutesTooNew(HeadraceError):
    """An app's routes need a newer release of Headrace to evaluate; this worker must not dispatch."""

    def __init__(self, app: str, needed: int) -> None:
        self.app = app
        super().__init__(
            f"the routes of app {app!r} have format {needed}, this release evaluates {ROUTES_FORMAT}; "
            "this worker dispatches nothing until it is upgraded, workers that can go on"
        )


class Route(msgspec.Struct, frozen=True):
    """The target of a matching event's run: job `<app>/<id>`, queue without its app."""

    job: str
    app: str
    queue: str


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Subscriptions)

_Test = Callable[[object], bool]


def subscriptions_of(app: App) -> bytes:
    """Return an app's subscriptions as they are stored: equal for equal jobs, in whatever order."""
    jobs = [Subscription(job.id, job.queue, StoredTrigger.of(job.trigger)) for job in app.jobs.values()]
    return _encoder.encode(Subscriptions(ROUTES_FORMAT, sorted(jobs, key=lambda each: each.job)))


def fingerprint_of(subscriptions: bytes) -> str:
    """Return the short name under which subscriptions are stored."""
    return hashlib.blake2b(subscriptions, digest_size=8).hexdigest()


class _Candidate(msgspec.Struct, frozen=True):
    route: Route
    names: tuple[str, ...]
    sources: frozenset[str]
    passes: _Test | None
    context_passes: _Test | None


class Routes:
    """The effective subscriptions of all apps at one version, and the match against them."""

    def __init__(self, version: str, stored: Mapping[str, Mapping[bytes, bytes]]) -> None:
        """Make the routes ready to match; `unreadable` names apps and fingerprints that could not be read.

        One app's damaged subscriptions stop no other app's events.

        Args:
            version: of the routes, read before the rest.
            stored: for each app, its hash: `s:<fingerprint>` subscriptions, `n:<fingerprint>` age,
                `w:<worker>` fingerprint of a live worker, `d:<worker>` of a worker whose lease has ended, `last` the
                fingerprint of the last worker that left, `registered` that of subscriptions without a worker yet.

        Raises:
            RoutesTooNew: an app's subscriptions need a newer release.
        """
        self.version = version
        self._by_name: dict[str, list[_Candidate]] = {}
        self._live: set[str] = set()
        self.unreadable: list[str] = []
        for app, fields in stored.items():
            for candidate in self._effective(app, fields):
                for name in candidate.names:
                    self._by_name.setdefault(name, []).append(candidate)

    def _effective(self, app: str, fields: Mapping[bytes, bytes]) -> Iterable[_Candidate]:
        """Return each job's route of the newest fingerprint with a live worker.

        If no worker lives, what is registered counts, else what dead workers had, else what the last one had.
        """
        prints = _prints_of(fields, b"w:")
        alive = bool(prints)
        for kind in (b"registered", b"d:", b"last"):
            prints = prints or _prints_of(fields, kind)
        newest_first = sorted(prints, key=lambda each: _age_of(fields.get(b"n:" + each, b"")), reverse=True)
        jobs: dict[str, _Candidate] = {}
        for fingerprint in newest_first:
            blob = fields.get(b"s:" + fingerprint)
            candidates = None if blob is None else _decode(app, blob)
            if candidates is None:
                self.unreadable.append(f"{app} {fingerprint.decode('utf-8', 'backslashreplace')}")
                continue
            for candidate in candidates:
                jobs.setdefault(candidate.route.job, candidate)
                if alive:
                    self._live.add(candidate.route.job)
        return jobs.values()

    def match(self, event: StoredEvent) -> list[Route]:
        """Return the routes of the jobs that the event matches, each once; raise UndecodableEvent if it is damaged."""
        candidates = self._by_name.get(event.n)
        if not candidates:
            return []
        found = []
        payload = context = _UNREAD
        for candidate in candidates:
            if candidate.sources and event.s not in candidate.sources:
                continue
            if candidate.passes is not None:
                payload = decode_value(event.p) if payload is _UNREAD else payload
                if not candidate.passes(payload):
                    continue
            if candidate.context_passes is not None:
                context = decode_value(event.c) if context is _UNREAD else context
                if not candidate.context_passes(context):
                    continue
            found.append(candidate.route)
        return found

    def match_unopened(self, event: StoredEvent) -> list[Route]:
        """Return the routes of the jobs that subscribe to the name and source of an event that can't be opened here.

        Workers that can open the event apply the filters.
        """
        candidates = self._by_name.get(event.n, ())
        return [each.route for each in candidates if not each.sources or event.s in each.sources]

    def has_live(self, job: str) -> bool:
        """Return whether a live worker has subscribed with this job, `<app>/<id>`."""
        return job in self._live


_UNREAD: object = object()


def _prints_of(fields: Mapping[bytes, bytes], kind: bytes) -> set[bytes]:
    return {value for field, value in fields.items() if field.startswith(kind)}


def _age_of(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else 0


def _decode(app: str, blob: bytes) -> list[_Candidate] | None:
    """Return stored subscriptions, ready to match; None for bytes that are no subscriptions."""
    try:
        needed = _needed_format(blob)
        if needed > ROUTES_FORMAT:
            raise RoutesTooNew(app, needed)
        return [_candidate(app, subscription) for subscription in _decoder.decode(blob).jobs]
    except (msgspec.MsgspecError, ConfigurationError, FilterError, UnicodeDecodeError, RecursionError):
        return None


def _candidate(app: str, subscription: Subscription) -> _Candidate:
    trigger = subscription.trigger
    check_name("app", app)
    route = Route(f"{app}/{check_name('job', subscription.job)}", app, check_name("queue", subscription.queue))
    return _Candidate(
        route,
        trigger.names,
        frozenset(trigger.sources),
        compile_filter(trigger.filter) if trigger.filter else None,
        compile_filter(trigger.context_filter, at="context_filter") if trigger.context_filter else None,
    )


class _Needed(msgspec.Struct):
    format: int


_needed_decoder = msgspec.msgpack.Decoder(_Needed)


def _needed_format(blob: bytes) -> int:
    """Read only the format, as the rest may have a shape that this release does not know."""
    return _needed_decoder.decode(blob).format
