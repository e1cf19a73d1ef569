"""The jobs of an event: the subscriptions of all apps, and the match of one event against them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

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


class Candidate(msgspec.Struct, frozen=True):
    """One job's subscription, ready to match."""

    route: Route
    trigger: StoredTrigger
    sources: frozenset[str]
    passes: _Test | None
    context_passes: _Test | None

    @property
    def job_id(self) -> str:
        """The job's id, without its app."""
        return self.route.job.partition("/")[2]


Why = Literal["live", "registered", "dead", "last"]
"""Why subscriptions count. live: workers that live have them. registered: no worker lives, and they were registered.
dead: workers had them whose leases have expired, and that are not forgotten yet. last: the last worker that left had
them."""
_FIELDS: tuple[tuple[Why, bytes], ...] = (
    ("live", b"w:"),
    ("registered", b"registered"),
    ("dead", b"d:"),
    ("last", b"last"),
)
DISABLED = b"x:"
"""What the field of a disabled job begins with, before its id, in the routes of its app."""


class Effective(msgspec.Struct, frozen=True):
    """Which of an app's stored subscriptions count.

    Attributes:
        why: None if none do.
        fingerprints: theirs, newest first.
        jobs: the subscription of each job's newest fingerprint, by the job's id; disabled jobs too.
        having: the fingerprints that have each job, newest first.
        unreadable: fingerprints whose subscriptions are gone or damaged.
    """

    why: Why | None
    fingerprints: list[bytes]
    jobs: dict[str, Candidate]
    having: dict[str, list[bytes]]
    unreadable: list[bytes]


def effective(app: str, fields: Mapping[bytes, bytes]) -> Effective:
    """Return which of an app's subscriptions count: those of live workers.

    If no worker lives, what is registered counts, else what dead workers had, else what the last one had.

    Raises:
        RoutesTooNew: some of them need a newer release.
    """
    why, newest_first = _counting(fields)
    jobs: dict[str, Candidate] = {}
    having: dict[str, list[bytes]] = {}
    unreadable = []
    for fingerprint in newest_first:
        blob = fields.get(b"s:" + fingerprint)
        candidates = None if blob is None else candidates_of(app, blob)
        if candidates is None:
            unreadable.append(fingerprint)
        for candidate in candidates or ():
            jobs.setdefault(candidate.job_id, candidate)
            having.setdefault(candidate.job_id, []).append(fingerprint)
    return Effective(why, newest_first, jobs, having, unreadable)


def _counting(fields: Mapping[bytes, bytes]) -> tuple[Why | None, list[bytes]]:
    for why, kind in _FIELDS:
        if prints := {value for field, value in fields.items() if field.startswith(kind)}:
            return why, sorted(prints, key=lambda each: _age_of(fields.get(b"n:" + each, b"")), reverse=True)
    return None, []


class Routes:
    """The effective subscriptions of all apps at one version, and the match against them."""

    def __init__(self, version: str, stored: Mapping[str, Mapping[bytes, bytes]]) -> None:
        """Make the routes ready to match; `unreadable` names apps and fingerprints that could not be read.

        One app's damaged subscriptions stop no other app's events.

        Args:
            version: of the routes, read before the rest.
            stored: for each app, its hash: `s:<fingerprint>` subscriptions, `n:<fingerprint>` age,
                `w:<worker>` fingerprint of a live worker, `d:<worker>` of a worker whose lease has ended, `last` the
                fingerprint of the last worker that left, `registered` that of subscriptions without a worker yet,
                `x:<job id>` of a disabled job.

        Raises:
            RoutesTooNew: an app's subscriptions need a newer release.
        """
        self.version = version
        self._by_name: dict[str, list[Candidate]] = {}
        self._by_job: dict[str, Route] = {}
        self._live: set[str] = set()
        self.unreadable: list[str] = []
        for app, fields in stored.items():
            found = effective(app, fields)
            self.unreadable += [f"{app} {each.decode('utf-8', 'backslashreplace')}" for each in found.unreadable]
            if found.why == "live":
                self._live.update(candidate.route.job for candidate in found.jobs.values())
            for job_id, candidate in found.jobs.items():
                if DISABLED + job_id.encode() not in fields:
                    self._add(candidate)

    def _add(self, candidate: Candidate) -> None:
        self._by_job[candidate.route.job] = candidate.route
        for name in candidate.trigger.names:
            self._by_name.setdefault(name, []).append(candidate)

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

    def of_job(self, job: str) -> list[Route]:
        """Return the route of a job, `<app>/<id>`, for an event that was sent to it alone; none if it is disabled."""
        route = self._by_job.get(job)
        return [] if route is None else [route]

    def has_live(self, job: str) -> bool:
        """Return whether a live worker has subscribed with this job, `<app>/<id>`."""
        return job in self._live


_UNREAD: object = object()


def _age_of(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else 0


def candidates_of(app: str, blob: bytes) -> list[Candidate] | None:
    """Return stored subscriptions, ready to match; None for bytes that are no subscriptions.

    Raises:
        RoutesTooNew: they need a newer release.
    """
    try:
        needed = _needed_format(blob)
        if needed > ROUTES_FORMAT:
            raise RoutesTooNew(app, needed)
        return [_candidate(app, subscription) for subscription in _decoder.decode(blob).jobs]
    except (msgspec.MsgspecError, ConfigurationError, FilterError, UnicodeDecodeError, RecursionError):
        return None


def _candidate(app: str, subscription: Subscription) -> Candidate:
    trigger = subscription.trigger
    check_name("app", app)
    route = Route(f"{app}/{check_name('job', subscription.job)}", app, check_name("queue", subscription.queue))
    return Candidate(
        route,
        trigger,
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
