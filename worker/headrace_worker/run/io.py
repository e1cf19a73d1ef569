"""What a job's function receives as `io`, to act through: it knows the run, and a port to the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec

from headrace import CallError, Event, HeadraceError, InvalidEvent, SendOptions, SentEvent
from headrace.formats.codec import encode_value
from headrace.formats.headers import merge_headers
from headrace.model.ids import derived_event_id
from headrace.plans.prepare import AnyEvent, Item, split
from headrace_worker.logs.guarded_logger import guarded_logger
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.run.port import RunPort, RunPorts, ThreadedRunPort


class _RunIO:
    """What both kinds share: the delivery of the run, and how its events get their ids and headers.

    Attributes:
        sent_ids: the events that were sent so far, for the run's record.
    """

    def __init__(self, delivery: Delivery, headers: dict[str, str] | None) -> None:
        self._delivery = delivery
        self._headers = headers
        self.sent_ids: list[str] = []
        self._contents: dict[str, int | None] = {}

    @cached_property
    def logger(self) -> Any:
        """A structlog logger whose lines carry the ids of run, job and event, and whose log calls raise nothing."""
        return guarded_logger("headrace.job", self._delivery.ids)

    def _keyed(self, key: object, events: Sequence[Item]) -> list[Item]:
        """Return the events: with the headers of the run's event, and ids that are derived from the run and the key.

        What an event gives goes first.

        Raises:
            InvalidEvent: the key is none, or another event has it in this attempt: this one would be lost.
        """
        if not isinstance(key, str) or not key or "\0" in key:
            raise InvalidEvent(
                "key", "must be a string that is not empty and has no NUL, as in io.send_event('key', event)"
            )
        keyed: list[Item] = []
        contents: dict[str, int | None] = {}
        for place, item in enumerate(events):
            event, options = split(item, place)
            if event.id is None:
                own = key if place == 0 else f"{key}\0{place}"
                event = msgspec.structs.replace(event, id=derived_event_id(self._delivery.run_id, own))
                contents[str(event.id)] = _contents_of(event)
            if self._headers:
                headers = merge_headers(self._headers, {} if event.headers is None else event.headers, place)
                event = msgspec.structs.replace(event, headers=headers)
            keyed.append(event if options is None else (event, options))
        if any(self._contents.get(event_id, own) != own for event_id, own in contents.items()):
            raise InvalidEvent(
                "key",
                f"{key!r} has another event in this attempt already; each send needs a key of its own, which in a loop "
                "has what the loop goes over in it",
            )
        self._contents |= contents
        return keyed

    @contextmanager
    def _sending(self, key: object, events: Sequence[Item]) -> Iterator[list[Item]]:
        """Yield the events as they are to be sent; their key is free again if none of them can have been."""
        keyed = self._keyed(key, events)
        try:
            yield keyed
        except HeadraceError as exc:
            if not (isinstance(exc, CallError) and exc.may_be_done):
                for event_id in {str(split(item)[0].id) for item in keyed}.difference(self.sent_ids):
                    self._contents.pop(event_id, None)
            raise

    def _note(self, sent: Sequence[SentEvent]) -> None:
        self.sent_ids += [each.id for each in sent]


def _contents_of(event: Event) -> int | None:
    """Return a number for what an event says, the same for the same; None if it can't be encoded, nor sent."""
    try:
        return hash(encode_value((event.name, event.source, event.payload, event.context)))
    except Exception:  # noqa: BLE001 - what is given may have code of its own; the send says what is wrong
        return None


class JobIO(_RunIO):
    """The `io` of an `async def` job. Each send has a key, so that a retried run sends its events once."""

    def __init__(self, delivery: Delivery, port: RunPort, headers: dict[str, str] | None = None) -> None:
        super().__init__(delivery, headers)
        self._port = port

    async def send_event(
        self,
        key: str,
        event: AnyEvent,
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        ordering_key: str | None = None,
    ) -> SentEvent:
        """Send an event, once for this run and key, however many attempts the run takes.

        The event's id is derived from the run's id and the key, unless the event brings one. The headers of the run's
        event go with it, unless it brings other ones of the same name. To send the same again in one attempt sends
        nothing more. Raises as `Client.send_event` does, and InvalidEvent for a key that has another event, by its
        name, source, payload or context, in this attempt.
        """
        options = SendOptions(
            deliver_at=deliver_at, deliver_after=deliver_after, account_id=account_id, ordering_key=ordering_key
        )
        with self._sending(key, [event]) as keyed:
            sent = await self._port.send_one(self._delivery.run_id, keyed, options)
        self._note([sent])
        return sent

    async def send_events(
        self,
        key: str,
        events: Sequence[Item],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        ordering_key: str | None = None,
    ) -> list[SentEvent]:
        """Send events, each once for this run, key and place in the list. See `send_event`.

        Each of them is an event, or a pair of an event and its `SendOptions`, which go before the call's own.
        """
        options = SendOptions(
            deliver_at=deliver_at, deliver_after=deliver_after, account_id=account_id, ordering_key=ordering_key
        )
        with self._sending(key, events) as keyed:
            sent = await self._port.send_all(self._delivery.run_id, keyed, options)
        self._note(sent)
        return sent


class SyncJobIO(_RunIO):
    """The `io` of a plain `def` job: the methods of `JobIO`, called without await."""

    def __init__(self, delivery: Delivery, port: ThreadedRunPort, headers: dict[str, str] | None = None) -> None:
        super().__init__(delivery, headers)
        self._port = port

    def send_event(
        self,
        key: str,
        event: AnyEvent,
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        ordering_key: str | None = None,
    ) -> SentEvent:
        """See `JobIO.send_event`."""
        options = SendOptions(
            deliver_at=deliver_at, deliver_after=deliver_after, account_id=account_id, ordering_key=ordering_key
        )
        with self._sending(key, [event]) as keyed:
            sent = self._port.send_one(self._delivery.run_id, keyed, options)
        self._note([sent])
        return sent

    def send_events(
        self,
        key: str,
        events: Sequence[Item],
        *,
        deliver_at: datetime | None = None,
        deliver_after: float | timedelta | None = None,
        account_id: str | None = None,
        ordering_key: str | None = None,
    ) -> list[SentEvent]:
        """See `JobIO.send_events`."""
        options = SendOptions(
            deliver_at=deliver_at, deliver_after=deliver_after, account_id=account_id, ordering_key=ordering_key
        )
        with self._sending(key, events) as keyed:
            sent = self._port.send_all(self._delivery.run_id, keyed, options)
        self._note(sent)
        return sent


class IOs:
    """Makes the `io` of each run of a worker; the runs share its ports."""

    def __init__(self, ports: RunPorts) -> None:
        self._ports = ports

    def of(self, delivery: Delivery, headers: dict[str, str] | None, *, is_async: bool) -> JobIO | SyncJobIO:
        """Return the `io` of a run, for the headers of its event and the kind of its job's function."""
        ports = self._ports
        if is_async:
            return JobIO(delivery, ports.asynchronous, headers)
        return SyncJobIO(delivery, ports.threaded, headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._ports.close()
