"""What a job's function gets besides its payload: `ctx`, which says where it is, and `io`, through which it acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec

from headrace import AsyncClient, Client, Event, InvalidEvent, PayloadCodec, SentEvent
from headrace.model.event import DEFAULT_SOURCE
from headrace.model.ids import derived_event_id
from headrace.plans.prepare import SendOptions, as_event
from headrace_worker.current_run import ids_here
from headrace_worker.logs.guarded_logger import guarded_logger


class RunInfo(msgspec.Struct, frozen=True):
    """This run: its id, which attempt of how many this is, and whether it was started again by hand."""

    id: str
    attempt: int
    max_attempts: int
    is_replay: bool
    started_at: datetime

    @property
    def is_retry(self) -> bool:
        """An attempt has failed before this one."""
        return self.attempt > 1


class JobInfo(msgspec.Struct, frozen=True):
    """This job: its id, its app, the version of its app and the queue of this run."""

    id: str
    app: str
    version: str | None
    queue: str


class EventInfo(msgspec.Struct, frozen=True):
    """The event that this run is for; its payload is the function's `payload`."""

    id: str
    name: str
    context: Any
    timestamp: datetime
    source: str = DEFAULT_SOURCE
    ordering_key: str | None = None


class Account(msgspec.Struct, frozen=True):
    """The account that the event was sent for."""

    id: str


class Context(msgspec.Struct, frozen=True):
    """Where a function is: its run, job and event, and who executes it."""

    run: RunInfo
    job: JobInfo
    event: EventInfo
    account: Account | None
    namespace: str
    worker_id: str


class Sender:
    """Sends the events of runs, through clients that all runs of a worker share and that connect when first used.

    Attributes:
        asynchronous: for the worker's event loop.
        plain: for the threads of plain functions.
    """

    def __init__(self, url: str, namespace: str, partitions: int = 1, codec: PayloadCodec | None = None) -> None:
        self.asynchronous = AsyncClient(url, namespace=namespace, partitions=partitions, codec=codec)
        self.plain = Client(url, namespace=namespace, partitions=partitions, codec=codec)

    async def close(self) -> None:
        """The clients are closed."""
        await self.asynchronous.close()
        self.plain.close()  # in no thread of a pool that jobs may have filled


class _Doing:
    """What both kinds of IO know: the run, and how its events get their ids."""

    def __init__(self, run_id: str, sender: Sender) -> None:
        self._run_id = run_id
        self._sender = sender

    @cached_property
    def logger(self) -> Any:
        """A structlog logger whose lines carry the ids of run, job and event, and whose log calls raise nothing."""
        return guarded_logger("headrace.job", ids_here() or {"run": self._run_id})

    def _keyed(self, key: object, events: Sequence[Event | Mapping[str, Any]]) -> list[Event]:
        if not isinstance(key, str) or not key or "\0" in key:
            raise InvalidEvent("key", f"must be a string that is not empty and has no NUL, not {key!r}")
        keyed = []
        for place, given in enumerate(events):
            event = as_event(given, place)
            own = key if place == 0 else f"{key}\0{place}"
            event_id = derived_event_id(self._run_id, own) if event.id is None else event.id
            keyed.append(Event(event.name, event.payload, event.context, event_id, event.timestamp, event.source))
        return keyed


class IO(_Doing):
    """What an `async def` job acts through. Each send has a key, so that a retried run sends its events once."""

    async def send_event(
        self,
        key: str,
        event: Event | Mapping[str, Any],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        ordering_key: str | None = None,
    ) -> SentEvent:
        """The event is with the server, once for this run and key, whatever number of attempts the run takes.

        Its id is derived from the run's id and the key, unless the event brings one. Raises as
        `Client.send_event` does.
        """
        options = SendOptions(deliver_at, deliver_after, account_id, ordering_key=ordering_key)
        client = self._sender.asynchronous
        return (await client._send(self._keyed(key, [event]), options, numbered=False, id_kind="d"))[0]  # noqa: SLF001

    async def send_events(
        self,
        key: str,
        events: Sequence[Event | Mapping[str, Any]],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        ordering_key: str | None = None,
    ) -> list[SentEvent]:
        """The events are with the server, each once for this run, key and place in the list. See `send_event`."""
        options = SendOptions(deliver_at, deliver_after, account_id, ordering_key=ordering_key)
        client = self._sender.asynchronous
        return await client._send(self._keyed(key, events), options, numbered=True, id_kind="d")  # noqa: SLF001


class PlainIO(_Doing):
    """What a plain `def` job acts through: the methods of `IO`, called without await."""

    def send_event(
        self,
        key: str,
        event: Event | Mapping[str, Any],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        ordering_key: str | None = None,
    ) -> SentEvent:
        """See `IO.send_event`."""
        options = SendOptions(deliver_at, deliver_after, account_id, ordering_key=ordering_key)
        client = self._sender.plain
        return client._send(self._keyed(key, [event]), options, numbered=False, id_kind="d")[0]  # noqa: SLF001

    def send_events(
        self,
        key: str,
        events: Sequence[Event | Mapping[str, Any]],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        ordering_key: str | None = None,
    ) -> list[SentEvent]:
        """See `IO.send_events`."""
        options = SendOptions(deliver_at, deliver_after, account_id, ordering_key=ordering_key)
        client = self._sender.plain
        return client._send(self._keyed(key, events), options, numbered=True, id_kind="d")  # noqa: SLF001
