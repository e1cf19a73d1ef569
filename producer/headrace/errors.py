"""Everything that Headrace raises, as one tree.

    HeadraceError
    ├── ConfigurationError      a setting is missing or wrong; nothing was started
    ├── InvalidArgument         an argument breaks a rule; nothing was done
    │   └── InvalidEvent        an event or an option of its send does; nothing of the call was sent
    │       └── EventTooLarge
    ├── PayloadError            a payload does not fit the type that was asked for
    ├── EventConflict           the id belongs to an event with another name or source
    ├── NotFound
    │   ├── EventNotFound
    │   ├── RunNotFound
    │   ├── DeadLetterNotFound
    │   └── QueueNotFound       no worker has had a queue of that name; `queues` has those that there are
    ├── RunNotQueued            a worker has the run by now, or it waits, so it was not purged
    ├── RunNotRetryable         the run has not failed, so there is nothing to retry
    ├── ContentsGone            nothing but its header is kept of an event
    ├── WaitTimeout             the event has not settled in the time given
    ├── StillExecuting          the function of a canceled run has not ended in the time given
    ├── UndecodableEvent        stored bytes that are not an event of a format we read
    │   └── DamagedRecord       the record of an event has been overwritten, or a part of it
    ├── SealedEvent             what a codec has sealed was not opened here
    └── CallError               a call has failed; `may_be_done` says whether the server may have carried it out
        ├── CallBroken          this process could not carry it out (no memory, no thread, …)
        └── ServerError         the server did not do what was asked
            ├── ServerUnreachable       it was not reached in all attempts, or in the time of the call
            ├── ServerNotReady          it answered that it can't at the moment (loading, read-only, failing over)
            ├── ServerFull              it is full and took nothing
            ├── AuthenticationFailed    it, or a sentinel, does not take the user and password
            ├── PermissionMissing       this user may not
            ├── StreamExhausted         a stream has had the last entry id there is, and takes none any more
            └── UnsupportedServer       it is no Redis or Valkey that Headrace runs on

Each writes its own message, holds the facts as attributes and says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any


class HeadraceError(Exception):
    """Something that Headrace was asked for did not come true; the subclass says what."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Python would call the class with the message alone, which is not what most of ours are made of.
        return _restore, (type(self), self.args), self.__dict__


def _restore(kind: type[HeadraceError], args: tuple[Any, ...]) -> HeadraceError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class ConfigurationError(HeadraceError, ValueError):
    """A setting is missing or wrong, and nothing was started with it."""


class InvalidArgument(HeadraceError, ValueError):
    """An argument breaks a rule, and nothing was done. `field` names it."""

    def __init__(self, field: str, reason: str, message: str | None = None) -> None:
        self.field = field
        self.reason = reason
        super().__init__(message or f"{field}: {reason}")


class InvalidEvent(InvalidArgument):
    """An event breaks a rule, and no event of the call was sent.

    `field` names the field or option at fault, `index` its event's place in the call.
    """

    def __init__(self, field: str, reason: str, index: int | None = None) -> None:
        self.index = index
        where = field if index is None else f"events[{index}].{field}"
        super().__init__(field, reason, f"{where}: {reason}; nothing was sent")


class EventTooLarge(InvalidEvent):
    """An encoded event is over the client's `max_event_bytes`, and no event of the call was sent."""

    def __init__(self, size: int, limit: int, index: int | None = None) -> None:
        self.size = size
        self.limit = limit
        reason = (
            f"the encoded event has {size:,} bytes, more than the {limit:,} that max_event_bytes allows; "
            "keep the data elsewhere and send a reference to it"
        )
        super().__init__("payload", reason, index)


class PayloadError(HeadraceError, ValueError):
    """A payload does not fit a type; the message names the paths at fault, as in `payload.address.city`."""


class EventConflict(HeadraceError):
    """The id belongs to an event with another name or source, which stays as it was.

    `status` says where that one is in its life, `sent` holds what the other events of the same call became.
    """

    def __init__(self, event_id: str, sent: Sequence[Any] = (), status: str = "delayed") -> None:
        self.event_id = event_id
        self.sent = sent
        self.status = status
        way_out = "cancel it first, or use another id" if status == "delayed" else "use another id"
        super().__init__(
            f"event {event_id!r} is already {status} under another name or source and was left unchanged; {way_out}"
        )


_FORMS = {
    "a run": re.compile(r".+:[^:/]+/[^:/]+", re.DOTALL),
    "a dead letter": re.compile(r"[0-9]{1,20}-[0-9]{1,20}(~[0-9]{1,4})?"),
}
"""The ids of runs and dead letters; an event's may be any other text, and these as well."""


class NotFound(HeadraceError, LookupError):
    """Nothing is known under that id: it was never there, or its retention has passed."""

    noun = "thing"
    hint = ""

    def __init__(self, missing_id: str) -> None:
        self.missing_id = missing_id
        super().__init__(
            f"no {self.noun} {missing_id!r} in this namespace: it was never here, or its retention has passed"
            f"{self._look(missing_id)}{self.hint}"
        )

    def _look(self, missing_id: str) -> str:
        """Return what the id looks like, if that is something else."""
        looks = next((noun for noun, form in _FORMS.items() if form.fullmatch(missing_id)), "an event")
        return "" if looks.endswith(self.noun) else f"; that looks like the id of {looks}"


class EventNotFound(NotFound):
    """No event is known under that id."""

    noun = "event"


class RunNotFound(NotFound):
    """No run is known under that id; a run's id is `<event id>:<app>/<job id>`."""

    noun = "run"
    hint = "; a run's id is <event id>:<app>/<job id>"


class DeadLetterNotFound(NotFound):
    """No dead letter is known under that id."""

    noun = "dead letter"
    hint = "; a dead letter has an id of its own, as in 1764000000000-0, beside that of its run"


class QueueNotFound(NotFound):
    """No app that was registered or had a worker has a queue of that name; `queues` has those that there are."""

    def __init__(self, missing_id: str, queues: Iterable[str]) -> None:
        self.missing_id = missing_id
        self.queues = sorted(queues)
        there = f"there is {', '.join(self.queues)}" if self.queues else "there is none at all"
        HeadraceError.__init__(self, f"no queue {missing_id!r} in this namespace: {there}; name it as APP/QUEUE")


class RunNotQueued(HeadraceError):
    """The run is not queued any more, or a worker has it, so a purge of its queue leaves it as it is."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id!r} is not queued any more, or a worker has it; cancel it if it is to end")


class RunNotRetryable(HeadraceError):
    """The run has not ended without success, or its payload is gone, so it stays as it is."""

    def __init__(self, run_id: str, status: str, reason: str) -> None:
        self.run_id = run_id
        self.status = status
        super().__init__(f"run {run_id!r} is {status} and can't be retried: {reason}")


class ContentsGone(HeadraceError):
    """The contents of the event are not kept any more (retention)."""

    def __init__(self, event_id: str) -> None:
        self.event_id = event_id
        super().__init__(
            f"the contents of event {event_id!r} are not kept any more, so it can't be sent again or tried on triggers"
        )


class WaitTimeout(HeadraceError, TimeoutError):
    """The event, or the run, has not settled in the time given; nothing is stopped."""

    def __init__(self, event_id: str, timeout_s: float, run_id: str | None = None) -> None:
        self.event_id = event_id
        self.timeout_s = timeout_s
        self.run_id = run_id
        what = f"event {event_id!r}" if run_id is None else f"run {run_id!r}"
        super().__init__(f"{what} has not settled within {timeout_s:g} s; it goes on")


class StillExecuting(HeadraceError, TimeoutError):
    """The run is canceled, and its function has not ended in the time given; what it comes to is dropped."""

    def __init__(self, run_id: str, wait_s: float) -> None:
        self.run_id = run_id
        self.wait_s = wait_s
        super().__init__(f"run {run_id!r} is canceled, but its function has not ended within {wait_s:g} s; it goes on")


class UndecodableEvent(HeadraceError, ValueError):
    """Stored bytes are not an event of a format that this release reads."""


class DamagedRecord(UndecodableEvent):
    """The record of an event is none that Headrace has written, or a part of it is not.

    `reason` says why; `sent` holds what the other events of a send became.
    """

    WRITTEN = ". Something other than Headrace has written to "

    def __init__(self, event_id: str, key: str, reason: str, sent: Sequence[Any] = ()) -> None:
        self.event_id = event_id
        self.key = key
        self.reason = reason
        self.sent = sent
        super().__init__(
            f"the record of event {event_id!r} can't be read: {reason}{self.WRITTEN}{key!r}: "
            "look at it there, delete it to forget the event, and send that again if it is needed"
        )


class SealedEvent(HeadraceError):
    """What a codec has sealed was not opened here: there is no codec, or it could not do it."""


class CallError(HeadraceError):
    """A call has failed on its way to the server, there, or on the way back.

    Attributes:
        sent: the events of the call that are known to be with the server all the same.
        may_be_done: the call was sent, by this attempt or an earlier one, and no answer says what became of it.
    """

    may_be_done: bool = False

    def __init__(self, message: str, sent: Sequence[Any] = ()) -> None:
        self.sent = sent
        super().__init__(message)

    def mark_may_be_done(self, why: str) -> None:
        """Say that the server may have carried the call out, where the error does not say that yet."""
        if not self.may_be_done:
            self.may_be_done = True
            self.add(why)

    def add(self, fact: str) -> None:
        """Add what became known of the call only later to the message."""
        self.args = (f"{self}; {fact}",)


class CallBroken(CallError):
    """This process could not carry a call out: it has no memory, can start no thread, or has another fault."""


class ServerError(CallError):
    """The server did not do what was asked."""


class ServerUnreachable(ServerError):
    """The server was not reached, or the line was cut, in all attempts or until the time of the call was over."""


class ServerNotReady(ServerError):
    """The server answered that it can't at the moment; `code` is its word (LOADING, READONLY …)."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


OUTAGE = (ServerUnreachable, ServerNotReady)
"""What is waited through: the server is away, or says that it can't at the moment."""


class ServerFull(ServerError):
    """The server is at its `maxmemory` and took nothing of the call, except what `sent` holds."""


class PermissionMissing(ServerError):
    """The server's user has no right to a command, key or channel that Headrace needs."""


class AuthenticationFailed(ServerError):
    """The server, or a sentinel, does not take the user and password."""


class StreamExhausted(ServerError):
    """A stream has had the last entry id there is, so it takes no entry any more, and nothing was done."""


class UnsupportedServer(ServerError):
    """The server is no Redis or Valkey that Headrace runs on."""
