"""What is sent and what is remembered of it: plain frozen structs, without behaviour that needs a server."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self, TypeVar, get_args

import msgspec

from headrace.errors import InvalidEvent, SealedEvent
from headrace.model.schema import parser_of
from headrace.model.typed import TypedEvent, event_name_of, unnamed
from headrace.model.values import encode

T = TypeVar("T")

DEFAULT_SOURCE = "trigger.dev"

EventStatus = Literal["delayed", "pending", "dispatched", "settled", "canceled"]
"""Where an event is in its life.

delayed: it waits for its time. pending: it was accepted, and no worker has looked at it yet. dispatched: its runs are
there. settled: every run of it has ended for good, or no job matched it. canceled: no job has seen it, and none will.
"""
EventState = Literal[EventStatus, "unmatched"]
"""What a list of events can be asked for. unmatched: settled, and no job matched it."""
EVENT_STATES: tuple[EventState, ...] = get_args(EventState)
RunStatus = Literal["queued", "executing", "waiting", "succeeded", "failed", "timed_out", "canceled", "invalid_payload"]

AttemptKind = Literal["succeeded", "failed", "timed_out", "canceled", "invalid_payload", "lost", "released"]
"""What an attempt came to. lost: its worker died. released: its worker stopped before its end."""

FINAL_STATUSES: frozenset[str] = frozenset({"succeeded", "failed", "timed_out", "canceled", "invalid_payload"})
FAILED_STATUSES: frozenset[str] = frozenset({"failed", "timed_out", "invalid_payload"})


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happened, as it is given to a send.

    Attributes:
        name: 1 to 256 characters; triggers match it exactly, case-sensitively.
        payload: any value that msgpack carries; reaches the job as `payload`.
        context: any value that msgpack carries; reaches the job as `ctx.event.context`.
        id: 1 to 256 characters, unique in the namespace; the client makes a ULID when it is None. Sending an id again
            triggers nothing twice, for as long as the id is remembered: while its event is open and, once that has
            settled, for 24 hours (`Retention.dedupe_sender` and `--dedupe` of the workers), for `dedupe_for` of its
            send, or for as long as its record is kept, whichever is longest.
        timestamp: when it happened, an aware datetime; the client takes now when it is None. It never
            changes the delivery.
        source: what sent it, 1 to 256 characters; triggers can match on it. The client's own when it is None, which is
            `trigger.dev` unless the client says another.
        headers: strings by their names, for tracing and the like; reach the job as `ctx.event.headers`, never sealed
            and not seen by filters. At most 4,096 bytes together, those that the client adds included.
    """

    name: str
    payload: Any = None
    context: Any = None
    id: str | None = None
    timestamp: datetime | None = None
    source: str | None = None
    headers: Mapping[str, str] | None = None

    @classmethod
    def of(
        cls,
        payload: TypedEvent,
        *,
        context: Any = None,
        id: str | None = None,  # noqa: A002 - the name of the field
        timestamp: datetime | None = None,
        source: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the event of a typed payload, whose class has the name in `__event__`; raise InvalidEvent if not."""
        name = event_name_of(type(payload))
        if name is None:
            raise InvalidEvent("payload", f"is no typed event: {unnamed(type(payload))}")
        return cls(name, payload, context, id, timestamp, source, headers)


class SentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What a send has made true.

    Attributes:
        deliver_at: when it is due, if it was sent for later; otherwise None.
        delivered_at: when it went on its way by the server's clock, if it was sent for now; otherwise None.
        duplicate: the id was known, and its event is not delayed any more: nothing happened, and the other fields are
            what is stored.
        replicas: how many replicas have it, if the send asked (`wait_replicas`); otherwise None.
        status: where the event is in its life; of a duplicate, `dispatched` also where its runs have ended. A duplicate
            that is `canceled` will reach no job.
    """

    id: str
    name: str
    payload: Any
    context: Any
    timestamp: datetime
    deliver_at: datetime | None
    delivered_at: datetime | None
    duplicate: bool = False
    replicas: int | None = None
    status: EventStatus = "pending"


class RunError(msgspec.Struct, frozen=True, array_like=True):
    """Why an attempt ended without success."""

    type: str
    message: str
    traceback: str = ""


SEALED = "Sealed"
"""The type of the error that stands for one that can't be opened here."""


class Sealed(msgspec.Struct, frozen=True):
    """Stands for a payload, context or output that can't be opened here.

    Attributes:
        sealed: what is stored.
        reason: why it was not opened.
    """

    sealed: bytes
    reason: str

    def as_error(self) -> RunError:
        """Return the error that stands for a sealed error of a run."""
        return RunError(SEALED, f"{len(self.sealed):,} bytes: {self.reason}")


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One of the last attempts of a run that did not succeed at once.

    Attributes:
        number: from 1; an attempt that was lost or released has the number of the one that took its place.
        started_at: None if its worker died, or the run was canceled, before the worker had said so.
        ended_at: of a canceled one, when the run was canceled; its function may have gone on.
        error: its type and the begin of its message, without the traceback.
    """

    number: int
    kind: AttemptKind
    worker: str | None
    started_at: datetime | None
    ended_at: datetime
    error: RunError | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one run.

    Attributes:
        id: `<event id>:<app>/<job id>`.
        event_name: the name of its event; None once the event's contents are dropped.
        job: `<app>/<job id>`.
        attempt: the attempt under way or, where the run is queued or waits, the one to come; from 1.
        lost: how many workers died with this run in flight.
        error: why the last attempt ended without success.
        attempts: the last ten that ended, oldest first; none if the run ended with its first attempt by itself.
        sent_events: the ids of the first 100 events that its function's `io` has sent, as of the end of its last
            attempt that sent any.
    """

    id: str
    event_id: str
    job: str
    status: RunStatus
    attempt: int
    queue: str
    event_name: str | None = None
    lost: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = None
    error: RunError | None = None
    output: Any = None
    attempts: list[Attempt] = []
    sent_events: list[str] = []

    @property
    def is_settled(self) -> bool:
        """The run has ended for good."""
        return self.status in FINAL_STATUSES


CancelAnswer = Literal["canceled", "asked", "stopped", "already_finished"]
"""What the cancellation of a run has come to.

canceled: no worker has it; its function will not be called any more. So is a run that was canceled before, once its
function has ended. asked: it is canceled, whatever its function does; the worker that has it ends an async function,
and tells a plain one. stopped: asked and, as the call has waited for it, its function has ended. already_finished: the
run has ended before, by itself.
"""


class CanceledRun(msgspec.Struct, frozen=True):
    """A run after its cancellation.

    Attributes:
        answer: what happened.
        run: its record since then.
        entry: its entry in the queue, which is pending until its function has ended; empty where no worker had it.
    """

    answer: CancelAnswer
    run: RunRecord
    entry: str = ""


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of an event and of its runs.

    Attributes:
        status: once it is `dispatched`, `runs` is complete.
        to_job: the one job that gets it, `<app>/<job id>`, whatever its trigger; None for every job that it matches.
        replay_of: the id of the event that it repeats; None if it is none's replay.
        parent_run: the id of the run whose `io` sent it; None if no run did.
        sent_at: when it was first sent, as lists by that time know it; None elsewhere: in the list of delayed events
            alone, which is by when they are due, and where one event is read.
    """

    id: str
    name: str
    payload: Any
    context: Any
    timestamp: datetime
    source: str
    account_id: str | None
    status: EventStatus
    deliver_at: datetime | None
    delivered_at: datetime | None
    canceled_at: datetime | None
    runs: list[RunRecord]
    ordering_key: str | None = None
    to_job: str | None = None
    replay_of: str | None = None
    headers: dict[str, str] = {}
    parent_run: str | None = None
    sent_at: datetime | None = None

    def payload_as(self, kind: type[T]) -> T:
        """Return the payload as a value of a type: a typed event's class, or any other that a job's `payload` may have.

        Raises:
            PayloadError: it does not fit; the message names the paths.
            SealedEvent: it is sealed, and was not opened here.
            TypeError: nothing can be decoded into such a type.
        """
        if isinstance(self.payload, Sealed):
            raise SealedEvent(self.payload.reason)
        value: T = parser_of(kind)(msgspec.Raw(encode(self.payload)))
        return value

    @property
    def is_settled(self) -> bool:
        """Nothing more will happen for this event: it was canceled, or every run of it has ended."""
        return self.status in {"settled", "canceled"}


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter: a run that ended for good without success, or an entry that could not be read.

    Attributes:
        id: the dead letter's own id, from which its time can be read.
        run_id: the run, or None for an entry that belongs to no run.
        reason: the run's final status, `unknown_job`, `sealed`, `lost`, `unreadable` or `foreign`: the run that the
            entry names has another entry.
        error_type: the type of the error of a run, such as `ValueError`.
        raw: the fields of an entry that was set aside as it was.
    """

    id: str
    run_id: str | None
    job: str | None
    reason: str
    error: str
    dead_at: datetime
    error_type: str | None = None
    raw: dict[str, bytes] = {}


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters that are alike: of one job, for one reason, with errors of one type.

    Attributes:
        error_type: the type of their errors; None where they have none.
        newest, oldest: when the last and the first of those that were looked at failed.
        newest_id: the id of the last dead letter.
    """

    job: str | None
    reason: str
    error_type: str | None
    count: int
    newest: datetime
    oldest: datetime
    newest_id: str


class DelayedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of what is delayed: an event before its time, or a run that waits for its next attempt or its turn.

    Attributes:
        id: the event's id, or the run's.
        due_at: when it goes on; a time in the past is overdue.
        event_name: None once the event's contents are dropped.
        job, queue, attempt: of a run; None for an event.
    """

    kind: Literal["event", "run"]
    id: str
    due_at: datetime
    event_id: str
    event_name: str | None
    job: str | None = None
    queue: str | None = None
    attempt: int | None = None
    ordering_key: str | None = None


class ListedEvent(msgspec.Struct, frozen=True):
    """An event as the list of sent events names it.

    Attributes:
        sent_at: when it was first sent.
    """

    id: str
    name: str
    sent_at: datetime
