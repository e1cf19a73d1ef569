"""Stand-ins for what a job's function receives, for tests that call the function itself. No server is needed.

A fake sends nowhere, and is otherwise what a job gets: events are checked and encoded as they are in a real send, and
ids are derived as there, so that a payload which can't be sent fails here, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec

from headrace import EventConflict, SendOptions, SentEvent
from headrace.formats.codec import RunState, decode_event, decode_value, encode_value
from headrace.formats.outgoing import Outgoing
from headrace.model.event import DEFAULT_SOURCE
from headrace.plans.prepare import Item, prepare, split
from headrace_worker.protocol.delivery import Delivery, Stream
from headrace_worker.run.context import Account, Context, EventInfo, JobInfo, RunInfo
from headrace_worker.run.io import JobIO, SyncJobIO
from headrace_worker.run.port import RunPort, ThreadedRunPort

_DERIVED = "d"


class Sent(msgspec.Struct, frozen=True):
    """An event that a fake has sent.

    Attributes:
        key: of the send; None for an event after the first of `send_events`.
        payload: as it was given.
        received: the payload as a job without a schema receives it, once it is encoded and decoded.
        options: with which the event was sent: its own, and else those of the call.
        headers: its own, and else those of the run.
    """

    key: str | None
    id: str
    name: str
    payload: Any
    received: Any
    context: Any
    source: str
    options: SendOptions
    headers: dict[str, str] = {}


class SentEvents(Sequence[Sent]):
    """The events that a fake has sent, in order; by its key, the payload of the event."""

    def __init__(self) -> None:
        self._events: list[Sent] = []
        self._keys: dict[str, str] = {}

    def __getitem__(self, place: Any) -> Any:
        if not isinstance(place, str):
            return self._events[place]
        for each in self._events:
            if each.key == place:
                return each.payload
        raise KeyError(f"nothing was sent with the key {place!r}; {self}")

    def __len__(self) -> int:
        return len(self._events)

    def __str__(self) -> str:
        if not self._events:
            return "nothing was sent"
        return "sent were:" + "".join(f"\n  {each.key!r}: {each.name} {each.payload!r}" for each in self._events)

    __repr__ = __str__

    def note_keys(self, key: str, events: Sequence[Item]) -> None:
        """Remember under which key the first of the events is about to be sent."""
        first, _ = split(events[0])
        self._keys[str(first.id)] = key

    def receive(self, events: Iterable[Item], options: SendOptions, *, numbered: bool) -> list[SentEvent]:
        """Check and keep events, as a server would.

        Raises:
            InvalidEvent: as in a real send.
            EventConflict: an id was sent before with another name or source.
        """
        now, items = datetime.now(UTC), list(events)
        prepared = prepare(items, options, now=lambda: now, id_kind=_DERIVED, numbered=numbered)
        own = (split(item)[1] or options for item in items)
        return [self._receive(event, terms.before(options), now) for event, terms in zip(prepared, own, strict=True)]

    def _receive(self, event: Outgoing, options: SendOptions, now: datetime) -> SentEvent:
        known = next((each for each in self._events if each.id == event.event_id), None)
        if known is not None:
            if (known.name, known.source) != (event.head.name, event.head.source):
                raise EventConflict(event.event_id, status="pending")
            return event.sent(delivered_at=now, duplicate=True)
        stored = decode_event(event.body)
        self._events.append(
            Sent(
                key=self._keys.get(event.event_id),
                id=event.event_id,
                name=event.head.name,
                payload=event.event.payload,
                received=decode_value(stored.p),
                context=decode_value(stored.c),
                source=event.head.source,
                options=options,
                headers=stored.h or {},
            )
        )
        due = _due(options, now)
        return event.sent(delivered_at=now) if due is None else event.sent(deliver_at=due)


def _due(options: SendOptions, now: datetime) -> datetime | None:
    if options.deliver_at is not None:
        return options.deliver_at
    delay = options.deliver_after
    if not delay:
        return None
    return now + (delay if isinstance(delay, timedelta) else timedelta(seconds=delay))


class _Port:
    """Stands for both sides of a run's port to the server."""

    def __init__(self, sent: SentEvents) -> None:
        self._sent = sent


class _AsyncPort(_Port):
    async def send_one(self, events: Iterable[Item], options: SendOptions) -> SentEvent:
        return self._sent.receive(events, options, numbered=False)[0]

    async def send_all(self, events: Iterable[Item], options: SendOptions) -> list[SentEvent]:
        return self._sent.receive(events, options, numbered=True)


class _SyncPort(_Port):
    def send_one(self, events: Iterable[Item], options: SendOptions) -> SentEvent:
        return self._sent.receive(events, options, numbered=False)[0]

    def send_all(self, events: Iterable[Item], options: SendOptions) -> list[SentEvent]:
        return self._sent.receive(events, options, numbered=True)


class FakeIO(JobIO):
    """The `io` of an `async def` job, without a server.

    Attributes:
        sent: what was sent so far: `io.sent["welcomed"]` is the payload that was sent with that key.
    """

    def __init__(self, *, run_id: str = "event:app/job", headers: dict[str, str] | None = None) -> None:
        """Send nothing yet.

        Args:
            run_id: of the run that this stands for; the ids of sent events are derived from it.
            headers: of the run's event; sent events have them, too.
        """
        self.sent = SentEvents()
        super().__init__(_delivery(run_id), cast("RunPort", _AsyncPort(self.sent)), headers)

    def _keyed(self, key: object, events: Sequence[Item]) -> list[Item]:
        return _note(self.sent, key, super()._keyed(key, events))


class SyncFakeIO(SyncJobIO):
    """The `io` of a plain `def` job, without a server; see `FakeIO`."""

    def __init__(self, *, run_id: str = "event:app/job", headers: dict[str, str] | None = None) -> None:
        """See `FakeIO`."""
        self.sent = SentEvents()
        super().__init__(_delivery(run_id), cast("ThreadedRunPort", _SyncPort(self.sent)), headers)

    def _keyed(self, key: object, events: Sequence[Item]) -> list[Item]:
        return _note(self.sent, key, super()._keyed(key, events))


def _note(sent: SentEvents, key: object, events: list[Item]) -> list[Item]:
    if events:
        sent.note_keys(str(key), events)
    return events


def _delivery(run_id: str, attempt: int = 1) -> Delivery:
    event_id, _, job = run_id.rpartition(":")
    app, _, job_id = job.partition("/")
    if not (event_id and app and job_id):
        raise ValueError(f"run_id must be <event id>:<app>/<job id>, such as 'e1:shop/charge', not {run_id!r}")
    queue = Stream("queue", "workers", "wake-up", app, "default")
    return Delivery(queue, "0-1", event_id, job_id, RunState(attempt), None, 0)


def a_context(  # noqa: PLR0913 - each is a field of the context, and given by name
    *,
    run_id: str = "event:app/job",
    attempt: int = 1,
    max_attempts: int = 6,
    is_replay: bool = False,
    event: str = "event",
    context: Any = None,
    source: str = DEFAULT_SOURCE,
    timestamp: datetime | None = None,
    ordering_key: str | None = None,
    headers: dict[str, str] | None = None,
    account_id: str | None = None,
    version: str | None = None,
    namespace: str = "test",
) -> Context:
    """Return the `ctx` of a run, as a worker makes it.

    Args:
        run_id: `<event id>:<app>/<job id>`.
        event: the name of the event.
        context: the context of the event, as the sender gives it; the function receives it as it comes off the wire.
        timestamp: of the event; now if None.
    """
    delivery, now = _delivery(run_id, attempt), datetime.now(UTC)
    return Context(
        run=RunInfo(run_id, attempt, max_attempts, is_replay, now),
        job=JobInfo(delivery.job_id, delivery.queue.app, version, delivery.queue.name),
        event=EventInfo(
            delivery.event_id,
            event,
            decode_value(encode_value(context)),
            timestamp or now,
            source,
            ordering_key,
            headers or {},
        ),
        account=None if account_id is None else Account(account_id),
        namespace=namespace,
        worker_id="test",
    )
