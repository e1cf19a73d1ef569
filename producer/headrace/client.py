"""The producer's two faces, `Client` and `AsyncClient`: the same operations, called or awaited.

Both run the plans of `operations`; they differ in how a plan's calls get to the server, and in how they wait.
"""

from __future__ import annotations

import asyncio
import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import redis

from headrace import operations, outgoing
from headrace.backoff import RETRIED, Backoff
from headrace.calls import Retention
from headrace.connect import open_async_transport, open_transport
from headrace.errors import ConfigurationError, HeadraceError, WaitTimeout
from headrace.event import DeadEntry, DeadPage, Event, EventRecord, RunPage, RunRecord, SentEvent
from headrace.faults import translate
from headrace.operations import Plan
from headrace.partitions import Partitions
from headrace.seal import PayloadCodec, Seal

T = TypeVar("T")

_REREAD_S = 5.0
"""A waiter reads the record again after this time, in case what was published did not reach it."""


def resolve_url(url: str | None) -> str:
    """Returns the URL given, or HEADRACE_URL; raises ConfigurationError that says what to set."""
    found = url or os.environ.get("HEADRACE_URL", "")
    if not found:
        raise ConfigurationError(
            "no server is named: pass url='redis://host:6379/0', or set HEADRACE_URL; "
            "for one on this machine, `headrace dev` starts its own and prints its URL"
        )
    return found


def resolve_namespace(namespace: str | None) -> str:
    """Returns the namespace given, or HEADRACE_NAMESPACE, or `default`."""
    return namespace or os.environ.get("HEADRACE_NAMESPACE", "") or "default"


def resolve_partitions(partitions: int | None) -> int:
    """Returns the number given, or HEADRACE_PARTITIONS, or 1; raises ConfigurationError for what is no number."""
    if partitions is not None:
        return partitions
    found = os.environ.get("HEADRACE_PARTITIONS", "") or "1"
    if not found.isdecimal():
        raise ConfigurationError(f"HEADRACE_PARTITIONS is {found!r}, which is no number of partitions")
    return int(found)


def resolve(namespace: str | None, partitions: int | None) -> Partitions:
    """Returns the partitions of the namespace that the arguments or the environment name."""
    return Partitions(resolve_namespace(namespace), resolve_partitions(partitions))


class _Settings:
    """What both clients are made of: where to, and by which rules."""

    def __init__(  # noqa: PLR0913 - each is a setting, and given by name
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        partitions: int | None = None,
        retention: Retention = Retention(),  # noqa: B008 - a frozen struct
        max_event_bytes: int = outgoing.MAX_EVENT_BYTES,
        attempts: int = 8,
        codec: PayloadCodec | None = None,
    ) -> None:
        """The client is ready; it connects at its first call.

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
        self._retention = retention
        self._max_event_bytes = max_event_bytes
        self._seal = Seal.of(codec, self.partitions.namespace)
        self._attempts = attempts
        self._is_checked = False

    def _prepare(
        self,
        events: Iterable[Event | Mapping[str, Any]],
        options: outgoing.SendOptions,
        *,
        numbered: bool,
        id_kind: str,
    ) -> list[outgoing.Outgoing]:
        return outgoing.prepare(
            events,
            options,
            now=lambda: datetime.now(UTC),
            max_event_bytes=self._max_event_bytes,
            numbered=numbered,
            id_kind=id_kind,
            seal=self._seal,
        )

    def _delay_s(self, exc: Exception, failures: int) -> float:
        """Returns how long to wait after a failure, or raises it if it is the last."""
        error = translate(exc)
        if failures >= self._attempts or not isinstance(error, RETRIED):
            raise error from exc
        return Backoff(self._attempts).delay_s(failures)


def _new_token() -> str:
    return urlsafe_b64encode(os.urandom(9)).decode("ascii")


class Client(_Settings):
    """Sends events and asks about them. Threads may share one, and it may be used on both sides of a fork."""

    def __init__(  # noqa: PLR0913 - each is a setting, and given by name
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        partitions: int | None = None,
        retention: Retention = Retention(),  # noqa: B008 - a frozen struct
        max_event_bytes: int = outgoing.MAX_EVENT_BYTES,
        attempts: int = 8,
        codec: PayloadCodec | None = None,
    ) -> None:
        super().__init__(
            url,
            namespace=namespace,
            partitions=partitions,
            retention=retention,
            max_event_bytes=max_event_bytes,
            attempts=attempts,
            codec=codec,
        )
        self._transport = open_transport(self.url, attempts=attempts)

    __init__.__doc__ = _Settings.__init__.__doc__

    def send_event(  # noqa: PLR0913 - each is an option, given by name
        self,
        event: Event | Mapping[str, Any],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        wait_replicas: int | None = None,
        wait_replicas_timeout: float | timedelta = 1.0,
        ordering_key: str | None = None,
    ) -> SentEvent:
        """The event is with the server: on its way to every job that it matches, or waiting for its time.

        Sending an id again while it is delayed replaces payload, context and due time; once it is delivered or
        canceled nothing happens and the answer's `duplicate` is true.

        Args:
            event: an Event, or a mapping with the same keys.
            deliver_at: an aware datetime; one in the past delivers now.
            deliver_after: seconds >= 0, or a timedelta; not together with `deliver_at`.
            account_id: reaches the job as `ctx.account.id`.
            wait_replicas: the answer comes once so many replicas have the event, or the time is up; its `replicas`
                says how many have it. Too few are no error: the event is with the master.
            wait_replicas_timeout: how long that may take; at most 5 seconds.
            ordering_key: runs of events with the same key begin in the order in which they were sent, one at a time
                for each job; 1 to 256 characters.

        Raises:
            InvalidEvent: a field or option breaks its rule; nothing was sent.
            EventConflict: the id is delayed under another name or source; nothing changed.
            OutOfMemory: the server is full; nothing was sent.
            ConnectionFailed: the server was not reached in all attempts; whether the event arrived is not
                known, and sending it again with the same id can't deliver it twice.
        """
        options = outgoing.SendOptions(
            deliver_at, deliver_after, account_id, wait_replicas, wait_replicas_timeout, ordering_key
        )
        return self._send([event], options, numbered=False)[0]

    def send_events(  # noqa: PLR0913 - each is an option, given by name
        self,
        events: Iterable[Event | Mapping[str, Any]],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        wait_replicas: int | None = None,
        wait_replicas_timeout: float | timedelta = 1.0,
        ordering_key: str | None = None,
    ) -> list[SentEvent]:
        """Every event is with the server; the answers are in the order of the events. See `send_event`.

        They go in one round trip, in batches of at most 500 events and 4 MB. If the server fills up between two
        batches, the OutOfMemory error's `sent` holds what was sent.
        """
        options = outgoing.SendOptions(
            deliver_at, deliver_after, account_id, wait_replicas, wait_replicas_timeout, ordering_key
        )
        return self._send(events, options, numbered=True)

    def get_event(self, event_id: str) -> EventRecord:
        """Returns what is remembered of the event and of its runs; raises EventNotFound."""
        return self._run(operations.get_event(self.partitions, event_id, self._seal))

    def get_run(self, run_id: str) -> RunRecord:
        """Returns what is remembered of the run; raises RunNotFound."""
        return self._run(operations.get_run(self.partitions, run_id, self._seal))

    def list_runs(
        self, *, job: str | None = None, status: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> RunPage:
        """Returns a page of runs, newest first.

        Args:
            job: only runs of this job, `<app>/<job id>`.
            status: only runs in this state, such as `failed`.
            cursor: the `cursor` of the page before.
            limit: how many runs, about: the runs of one event stay together. 1 to 1000.
        """
        return self._run(operations.list_runs(self.partitions, job, status, cursor, limit, seal=self._seal))

    def cancel_event(self, event_id: str) -> EventRecord:
        """A delayed event is canceled and no job will see it; the record's `status` says whether it is.

        An event that was delivered before stays delivered. Raises EventNotFound.
        """
        return self._run(operations.cancel_event(self.partitions, event_id, self._retention, self._seal))

    def retry_run(self, run_id: str) -> RunRecord:
        """A run that ended without success is queued again from attempt 1, and its dead letter is gone.

        Raises:
            RunNotFound: no such run is known.
            RunNotRetryable: it has not ended without success, or its payload is not kept any more.
        """
        return self._run(operations.retry_run(self.partitions, run_id, self._seal))

    def list_dead(self, *, cursor: str | None = None, limit: int = 100) -> DeadPage:
        """Returns a page of dead letters, newest first."""
        return self._run(operations.list_dead(self.partitions, cursor, limit, self._seal))

    def get_dead(self, entry_id: str) -> DeadEntry:
        """Returns one dead letter; raises DeadEntryNotFound."""
        return self._run(operations.get_dead(self.partitions, entry_id, self._seal))

    def wait_for_event(self, event_id: str, timeout: float | timedelta) -> EventRecord:
        """Returns the event's record once every run of it has ended, or it was canceled.

        Raises:
            WaitTimeout: that is not so after `timeout` seconds; nothing is stopped by it.
            EventNotFound: no such event is known.
        """
        timeout_s, failures = operations.seconds(timeout), 0
        deadline = time.monotonic() + timeout_s
        keys = self._run(operations.find(self.partitions, event_id))
        listener = self._transport.listener(keys.events)
        try:
            while True:
                record = self._run(operations.watch(keys, event_id, self._seal), partial=True)
                left = deadline - time.monotonic()
                if record.is_settled:
                    return record
                if left <= 0:
                    raise WaitTimeout(event_id, timeout_s)
                try:
                    if not listener.subscribed:
                        listener.subscribe(keys.settled_channel(event_id))
                    # The first message says that the subscription stands, so the record is read once more then.
                    listener.get_message(timeout=min(left, _REREAD_S))
                    failures = 0
                except (redis.RedisError, OSError) as exc:
                    failures += 1
                    listener.reset()
                    time.sleep(self._delay_s(exc, failures))
                    listener = self._transport.listener(keys.events)
        finally:
            listener.close()

    def close(self) -> None:
        """The client's connections are closed; a later call opens new ones."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self,
        events: Iterable[Event | Mapping[str, Any]],
        options: outgoing.SendOptions,
        *,
        numbered: bool,
        id_kind: str = "s",
    ) -> list[SentEvent]:
        prepared = self._prepare(events, options, numbered=numbered, id_kind=id_kind)
        replicas = outgoing.replicas(options)
        plan = operations.send(self.partitions, prepared, _new_token(), self._seal, replicas)
        return self._run(plan, partial=True)

    def _run(self, plan: Plan[T], *, partial: bool = False) -> T:
        answers: Any = None
        while True:
            try:
                asked = plan.send(answers)
            except StopIteration as done:
                result: T = done.value
                return result
            if not self._is_checked:
                self._check_server()
            answers = self._transport.run(asked, partial=partial)

    def _check_server(self) -> None:
        self._is_checked = True
        try:
            self._is_checked = self._run(operations.check(self.partitions), partial=True)
        except HeadraceError:
            self._is_checked = False
            raise


class AsyncClient(_Settings):
    """The same operations as `Client`, awaited; for the tasks of one event loop."""

    def __init__(  # noqa: PLR0913 - each is a setting, and given by name
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        partitions: int | None = None,
        retention: Retention = Retention(),  # noqa: B008 - a frozen struct
        max_event_bytes: int = outgoing.MAX_EVENT_BYTES,
        attempts: int = 8,
        codec: PayloadCodec | None = None,
    ) -> None:
        super().__init__(
            url,
            namespace=namespace,
            partitions=partitions,
            retention=retention,
            max_event_bytes=max_event_bytes,
            attempts=attempts,
            codec=codec,
        )
        self._transport = open_async_transport(self.url, attempts=attempts)

    __init__.__doc__ = _Settings.__init__.__doc__

    async def send_event(  # noqa: PLR0913 - each is an option, given by name
        self,
        event: Event | Mapping[str, Any],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        wait_replicas: int | None = None,
        wait_replicas_timeout: float | timedelta = 1.0,
        ordering_key: str | None = None,
    ) -> SentEvent:
        """See `Client.send_event`."""
        options = outgoing.SendOptions(
            deliver_at, deliver_after, account_id, wait_replicas, wait_replicas_timeout, ordering_key
        )
        return (await self._send([event], options, numbered=False))[0]

    async def send_events(  # noqa: PLR0913 - each is an option, given by name
        self,
        events: Iterable[Event | Mapping[str, Any]],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        wait_replicas: int | None = None,
        wait_replicas_timeout: float | timedelta = 1.0,
        ordering_key: str | None = None,
    ) -> list[SentEvent]:
        """See `Client.send_events`."""
        options = outgoing.SendOptions(
            deliver_at, deliver_after, account_id, wait_replicas, wait_replicas_timeout, ordering_key
        )
        return await self._send(events, options, numbered=True)

    async def get_event(self, event_id: str) -> EventRecord:
        """See `Client.get_event`."""
        return await self._run(operations.get_event(self.partitions, event_id, self._seal))

    async def get_run(self, run_id: str) -> RunRecord:
        """See `Client.get_run`."""
        return await self._run(operations.get_run(self.partitions, run_id, self._seal))

    async def list_runs(
        self, *, job: str | None = None, status: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> RunPage:
        """See `Client.list_runs`."""
        return await self._run(operations.list_runs(self.partitions, job, status, cursor, limit, seal=self._seal))

    async def cancel_event(self, event_id: str) -> EventRecord:
        """See `Client.cancel_event`."""
        return await self._run(operations.cancel_event(self.partitions, event_id, self._retention, self._seal))

    async def retry_run(self, run_id: str) -> RunRecord:
        """See `Client.retry_run`."""
        return await self._run(operations.retry_run(self.partitions, run_id, self._seal))

    async def list_dead(self, *, cursor: str | None = None, limit: int = 100) -> DeadPage:
        """See `Client.list_dead`."""
        return await self._run(operations.list_dead(self.partitions, cursor, limit, self._seal))

    async def get_dead(self, entry_id: str) -> DeadEntry:
        """See `Client.get_dead`."""
        return await self._run(operations.get_dead(self.partitions, entry_id, self._seal))

    async def wait_for_event(self, event_id: str, timeout: float | timedelta) -> EventRecord:
        """See `Client.wait_for_event`."""
        timeout_s, failures = operations.seconds(timeout), 0
        deadline = time.monotonic() + timeout_s
        keys = await self._run(operations.find(self.partitions, event_id))
        listener = self._transport.listener(keys.events)
        try:
            while True:
                record = await self._run(operations.watch(keys, event_id, self._seal), partial=True)
                left = deadline - time.monotonic()
                if record.is_settled:
                    return record
                if left <= 0:
                    raise WaitTimeout(event_id, timeout_s)
                try:
                    if not listener.subscribed:
                        await listener.subscribe(keys.settled_channel(event_id))
                    # The first message says that the subscription stands, so the record is read once more then.
                    await listener.get_message(timeout=min(left, _REREAD_S))
                    failures = 0
                except (redis.RedisError, OSError) as exc:
                    failures += 1
                    await listener.aclose()
                    await asyncio.sleep(self._delay_s(exc, failures))
                    listener = self._transport.listener(keys.events)
        finally:
            await listener.aclose()

    async def close(self) -> None:
        """See `Client.close`."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(
        self,
        events: Iterable[Event | Mapping[str, Any]],
        options: outgoing.SendOptions,
        *,
        numbered: bool,
        id_kind: str = "s",
    ) -> list[SentEvent]:
        prepared = self._prepare(events, options, numbered=numbered, id_kind=id_kind)
        replicas = outgoing.replicas(options)
        plan = operations.send(self.partitions, prepared, _new_token(), self._seal, replicas)
        return await self._run(plan, partial=True)

    async def _run(self, plan: Plan[T], *, partial: bool = False) -> T:
        answers: Any = None
        while True:
            try:
                asked = plan.send(answers)
            except StopIteration as done:
                result: T = done.value
                return result
            if not self._is_checked:
                await self._check_server()
            answers = await self._transport.run(asked, partial=partial)

    async def _check_server(self) -> None:
        self._is_checked = True
        try:
            self._is_checked = await self._run(operations.check(self.partitions), partial=True)
        except HeadraceError:
            self._is_checked = False
            raise
