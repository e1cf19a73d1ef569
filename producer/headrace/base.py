"""What the two faces of the client have in common: settings, the plan of a send, and when a failed call is repeated."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from headrace.config import check_positive, check_retention, resolve, resolve_url
from headrace.errors import OUTAGE, InvalidEvent
from headrace.formats.seal import PayloadCodec, Seal
from headrace.model.event import SentEvent
from headrace.model.retention import Retention
from headrace.plans import send
from headrace.plans.plan import Plan
from headrace.plans.prepare import MAX_EVENT_BYTES, AnyEvent, Replicas, SendOptions, prepare, replicas_of
from headrace.transport.backoff import Backoff
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
        codec: PayloadCodec | None = None,
    ) -> None:
        """Check the settings; the client connects at its first call.

        Args:
            url: `redis://`, `rediss://` or `unix://`; `redis+sentinel://` with a service's sentinels and name;
                `redis+cluster://` with the addresses of some of its nodes; HEADRACE_URL if None.
            namespace: whose keys to use; HEADRACE_NAMESPACE if None, then `default`.
            partitions: into how many the namespace is divided, for good; HEADRACE_PARTITIONS if None, then 1.
            retention: how long a canceled event is remembered.
            max_event_bytes: the size over which an encoded event is refused.
            attempts: how often a call is tried while the server can't be reached or is not ready.
            codec: seals payloads and contexts that are sent, and opens what records hold; None stores them as they are.

        Raises:
            ConfigurationError: no URL, or one that can't be read, a namespace that is no name, a codec that is none, or
                no number of partitions. At the first call: the namespace has another number of partitions.
        """
        self.url = resolve_url(url)
        self.partitions = resolve(namespace, partitions)
        self._retention = check_retention(retention)
        self._max_event_bytes = check_positive("max_event_bytes", max_event_bytes)
        self._seal = Seal.of(codec, self.partitions.namespace)
        self._attempts = check_positive("attempts", attempts)
        self._is_checked = False
        self._transport = self._open_transport()

    def _open_transport(self) -> Any:
        raise NotImplementedError

    def _plan_to_send(
        self, events: Iterable[AnyEvent], options: SendOptions, *, numbered: bool, id_kind: str
    ) -> Plan[list[SentEvent]]:
        """Return the plan that sends the events; raise InvalidEvent where one of them, or an option, breaks a rule."""
        prepared = prepare(
            events,
            options,
            now=lambda: datetime.now(UTC),
            max_event_bytes=self._max_event_bytes,
            numbered=numbered,
            id_kind=id_kind,
            seal=self._seal,
        )
        return send.send(self.partitions, prepared, _new_token(), self._seal, self._replicas_of(options))

    def _replicas_of(self, options: SendOptions) -> Replicas | None:
        """Return the replicas to wait for; refuse a wait that would be taken for a lost line."""
        asked_for = replicas_of(options)
        if asked_for is None:
            return None
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


def _new_token() -> str:
    return urlsafe_b64encode(os.urandom(9)).decode("ascii")
