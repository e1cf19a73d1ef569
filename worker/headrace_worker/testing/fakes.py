"""Stand-ins for what a job's function receives, for tests that call the function itself. No server is needed.

A fake sends nowhere, and is otherwise what a job gets: events are checked and encoded as they are in a real send, and
ids are derived as there, so that a payload which can't be sent fails here, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast, overload

import msgspec

from headrace import RunError, RunRecord, SendOptions, SentEvent
from headrace.calls.sending import due_ms_of
from headrace.formats.codec import RunState, decode_event, encode_value, from_millis, to_micros
from headrace.formats.outgoing import Outgoing
from headrace.model.event import DEFAULT_SOURCE, FINAL_STATUSES, RunStatus
from headrace.model.values import decode_value
from headrace.plans.prepare import Item, prepare, split
from headrace_worker.app.retry import Retry
from headrace_worker.protocol.delivery import Delivery, Stream
from headrace_worker.run.context import Account, Context, EventInfo, JobInfo, RunInfo
from headrace_worker.run.io import JobIO, SyncJobIO
from headrace_worker.run.outcome import error_of
from headrace_worker.run.port import RunPort, ThreadedRunPort

_DERIVED = "d"
_MOST_ATTEMPTS = Retry().max_attempts


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
        self._answers: dict[str, SentEvent] = {}

    @overload
    def __getitem__(self, place: int) -> Sent: ...
    @overload
    def __getitem__(self, place: slice) -> list[Sent]: ...
    @overload
    def __getitem__(self, place: str) -> Any: ...
    def __getitem__(self, place: int | slice | str) -> Any:
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

    def receive(
        self, parent_run: str, events: Iterable[Item], options: SendOptions, *, numbered: bool
    ) -> list[SentEvent]:
        """Check and keep events, as a server would: an id that was sent before is a duplicate, whatever comes with it.

        Raises:
            InvalidEvent: as in a real send.
        """
        now, items = datetime.now(UTC), list(events)
        prepared = prepare(items, options, now=lambda: now, id_kind=_DERIVED, numbered=numbered, parent_run=parent_run)
        own = (split(item)[1] or options for item in items)
        return [self._receive(event, terms.before(options), now) for event, terms in zip(prepared, own, strict=True)]

    def _receive(self, event: Outgoing, options: SendOptions, now: datetime) -> SentEvent:
        known = self._answers.get(event.event_id)
        if known is not None:
            return known
        answer, stored = _answer_to(event, now), decode_event(event.body)
        received, context = decode_value(stored.p), decode_value(stored.c)
        self._events.append(
            Sent(
                key=self._keys.get(event.event_id),
                id=event.event_id,
                name=event.head.name,
                payload=event.event.payload,
                received=received,
                context=context,
                source=event.head.source,
                options=options,
                headers=stored.h or {},
            )
        )
        again = msgspec.structs.replace(answer, payload=received, context=context, duplicate=True)
        self._answers[event.event_id] = again
        return answer


def _answer_to(event: Outgoing, now: datetime) -> SentEvent:
    now_ms = to_micros(now) // 1000
    due_ms = due_ms_of(event.terms.when, now_ms) if event.terms.when else 0
    return event.sent(deliver_at=from_millis(due_ms)) if due_ms > now_ms else event.sent(delivered_at=now)


class _Port:
    """Stands for both sides of a run's port to the server."""

    def __init__(self, sent: SentEvents) -> None:
        self._sent = sent


class _AsyncPort(_Port):
    async def send_one(self, parent_run: str, events: Iterable[Item], options: SendOptions) -> SentEvent:
        return self._sent.receive(parent_run, events, options, numbered=False)[0]

    async def send_all(self, parent_run: str, events: Iterable[Item], options: SendOptions) -> list[SentEvent]:
        return self._sent.receive(parent_run, events, options, numbered=True)


class _SyncPort(_Port):
    def send_one(self, parent_run: str, events: Iterable[Item], options: SendOptions) -> SentEvent:
        return self._sent.receive(parent_run, events, options, numbered=False)[0]

    def send_all(self, parent_run: str, events: Iterable[Item], options: SendOptions) -> list[SentEvent]:
        return self._sent.receive(parent_run, events, options, numbered=True)


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
    max_attempts: int = _MOST_ATTEMPTS,
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
        max_attempts: of the job; by default those of a job without a policy of its own.
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


def a_run(  # noqa: PLR0913 - each is a field of the record, and given by name
    *,
    run_id: str = "event:app/job",
    status: RunStatus = "succeeded",
    attempt: int = 1,
    output: Any = None,
    error: RunError | BaseException | None = None,
    event: str = "event",
    queue: str = "default",
) -> RunRecord:
    """Return the record of a run, as a client reads it, for tests of code that looks at runs.

    Args:
        run_id: `<event id>:<app>/<job id>`.
        output: as the function returns it; the record has it as it comes off the wire.
        error: why the last attempt ended without success, or the exception that it raised.
        event: the name of the event.
    """
    delivery, now = _delivery(run_id, attempt), datetime.now(UTC)
    return RunRecord(
        id=run_id,
        event_id=delivery.event_id,
        job=delivery.job,
        status=status,
        attempt=attempt,
        queue=queue,
        event_name=event,
        started_at=None if status == "queued" else now,
        finished_at=now if status in FINAL_STATUSES else None,
        worker=None if status == "queued" else "test",
        error=error_of(error) if isinstance(error, BaseException) else error,
        output=decode_value(encode_value(output)),
    )
