"""What the two faces of the client have in common: settings, the plan of a send, and when a failed call is repeated."""

from __future__ import annotations

import getpass
import os
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from headrace.config import (
    Lazy,
    call_timeout_s,
    check_headers,
    check_positive,
    check_retention,
    check_source,
    check_timeout,
    resolve,
    resolve_namespace,
    resolve_partitions,
    resolve_url,
)
from headrace.errors import OUTAGE, InvalidArgument, InvalidEvent
from headrace.formats.headers import MadeHeaders, headers_now
from headrace.formats.partitions import Partitions
from headrace.formats.seal import PayloadCodec, Seal, check_codec
from headrace.model.event import SentEvent
from headrace.model.retention import Retention
from headrace.plans import send
from headrace.plans.plan import Plan
from headrace.plans.prepare import MAX_EVENT_BYTES, Item, Replicas, SendOptions, prepare, replicas_of, when
from headrace.plans.replay import replay_event
from headrace.transport.backoff import Backoff
from headrace.transport.deadline import Deadline
from headrace.transport.faults import translate
from headrace.transport.urls import read_url


class BaseClient:
    """What both faces share: where the server is, and the rules by which it is used."""

    _reread_s = 5.0
    """After this time a wait reads the record again, in case what was published did not arrive."""
    _follow_s = 0.5
    """After this time a follower asks again; and a wait for one run, as only the end of its event is published."""

    def __init__(  # noqa: PLR0913 - each is a setting, and given by name
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        partitions: int | None = None,
        retention: Retention = Retention(),  # noqa: B008 - a frozen struct
        max_event_bytes: int = MAX_EVENT_BYTES,
        attempts: int = 8,
        timeout: float | timedelta | None = 10.0,
        codec: PayloadCodec | None = None,
        source: str | None = None,
        headers: Mapping[str, str] | MadeHeaders | None = None,
    ) -> None:
        """Check the settings; the client connects at its first call.

        What is left to the environment is read then, too, or when `url` or `partitions` is first asked for; it stays
        for good, also after `close`. So a module may make its client before the environment is known.

        Args:
            url: `redis://`, `rediss://` or `unix://`; `redis+sentinel://` with a service's sentinels and name;
                `redis+cluster://` with the addresses of some of its nodes; HEADRACE_URL if None.
            namespace: whose keys to use; HEADRACE_NAMESPACE if None, then `default`.
            partitions: into how many the namespace is divided, for good; HEADRACE_PARTITIONS if None, then 1.
            retention: how long a canceled event is remembered.
            max_event_bytes: the size over which an encoded event is refused.
            attempts: how often a call is tried while the server can't be reached or is not ready.
            timeout: how long a call may take, with all its attempts and the waits between them, in seconds or as a
                timedelta; ServerUnreachable or ServerNotReady then. None: until the attempts are used up. A method's
                own `timeout` comes before it.
            codec: seals payloads and contexts that are sent, and opens what records hold; None stores them as they are.
            source: of the events that give none; 1 to 256 characters, `trigger.dev` if None.
            headers: of all events that are sent, beside their own; a mapping, or a function that is called at each send
                and returns one: for tracing. See `Event.headers`.

        Raises:
            ConfigurationError: a URL that can't be read, a namespace that is no name, a codec that is none, no number
                of partitions, a source or headers that are none, or no timeout. At the first call: one of them in the
                environment, no URL at all, or the namespace has another number of partitions.
        """
        self._given = url, namespace, partitions
        self._retention = check_retention(retention)
        self._max_event_bytes = check_positive("max_event_bytes", max_event_bytes)
        self._codec = None if codec is None else check_codec(codec)
        self._attempts = check_positive("attempts", attempts)
        self._timeout_s = check_timeout(timeout)
        self._source = check_source(source)
        self._headers = check_headers(headers)
        self._is_checked = False
        if namespace is not None and namespace != "":
            resolve_namespace(namespace)
        if partitions is not None:
            resolve_partitions(partitions)
        if url is not None and url != "":
            _ = self._transport  # at once: it says what is wrong with the URL

    @Lazy
    def url(self) -> str:
        """Where the server is: as given, or HEADRACE_URL; raise ConfigurationError where neither says it."""
        return resolve_url(self._given[0])

    @Lazy
    def partitions(self) -> Partitions:
        """The namespace, as it is divided: as given, or HEADRACE_NAMESPACE and HEADRACE_PARTITIONS."""
        _ = self.url  # first: an environment that names no server is not known yet
        return resolve(*self._given[1:])

    @Lazy
    def _seal(self) -> Seal | None:
        return Seal.of(self._codec, self.partitions.namespace)

    @Lazy
    def _transport(self) -> Any:
        return self._open_transport()

    def _open_transport(self) -> Any:
        raise NotImplementedError

    @property
    def _has_transport(self) -> bool:
        return "_transport" in vars(self)

    def _until(self, timeout: float | timedelta | None, replicas: Replicas | None = None) -> Deadline | None:
        """Return the deadline of a call that begins now; of a send, what replicas may take comes on top."""
        timeout_s = self._timeout_s if timeout is None else call_timeout_s(timeout)
        if timeout_s is None:
            return None
        now = monotonic()
        end = now + timeout_s
        if replicas is not None:
            end += 2 * replicas.timeout_ms / 1000  # the server waits twice if it has lost the script
        return Deadline(now, end, timeout_s)

    def _plan_to_send(
        self,
        events: Iterable[Item],
        options: SendOptions,
        replicas: Replicas | None,
        *,
        numbered: bool,
        parent_run: str | None,
        job: str | None = None,
    ) -> Plan[list[SentEvent]]:
        """Return the plan that sends the events; raise InvalidEvent where one of them, or an option, breaks a rule."""
        prepared = prepare(
            events,
            options,
            now=lambda: datetime.now(UTC),
            max_event_bytes=self._max_event_bytes,
            numbered=numbered,
            id_kind="s" if parent_run is None else "d",
            seal=self._seal,
            source=self._source,
            headers=None if self._headers is None else headers_now(self._headers),
            job=job,
            parent_run=parent_run,
        )
        return send.send(self.partitions, prepared, _new_token(), self._seal, replicas)

    @staticmethod
    def _due_of(deliver_at: datetime | None, deliver_after: float | timedelta | None) -> str:
        if deliver_at is None and deliver_after is None:
            raise InvalidArgument("deliver_at", "is missing; give it or deliver_after")
        try:
            return when(SendOptions(deliver_at=deliver_at, deliver_after=deliver_after))
        except InvalidEvent as exc:  # which would say that nothing was sent
            raise InvalidArgument(exc.field, f"{exc.reason}; nothing was changed") from exc

    def _plan_to_replay(
        self, event_id: str, deliver_after: float | timedelta | None, *, if_no_runs: bool, job: str | None = None
    ) -> Plan[SentEvent | None]:
        due = when(SendOptions(deliver_after=deliver_after))
        return replay_event(
            self.partitions, event_id, _new_token(), when=due, job=job, if_no_runs=if_no_runs, seal=self._seal
        )

    def _replicas_of(self, count: object, timeout: object) -> Replicas | None:
        """Return the replicas to wait for, if any; refuse a wait that would be taken for a lost line."""
        if count is None:
            return None
        asked_for = replicas_of(count, timeout)
        limit_s = read_url(self.url).options.get("socket_timeout")
        if limit_s is not None and asked_for.timeout_ms >= limit_s * 1000:
            reason = f"must be less than the {limit_s:g} s that socket_timeout of the URL lets a reply take"
            raise InvalidEvent("wait_replicas_timeout", reason)
        return asked_for

    def _delay_s(self, exc: Exception, failures: int) -> float:
        """Return how long to wait after a failure, or raise it if it is the last."""
        error = translate(exc)
        if failures >= self._attempts or not isinstance(error, OUTAGE):
            raise error from exc
        return Backoff(self._attempts).delay_s(failures)


def whoami() -> str:
    """Return the user of this process and its machine, as far as they are known."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"


def _new_token() -> str:
    return urlsafe_b64encode(os.urandom(9)).decode("ascii")
