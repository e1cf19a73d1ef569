"""Cancels and reschedules delayed events, and cancels runs. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from headrace.calls.arguments import Policy, pack, policy
from headrace.calls.call import Call, as_text, script_call
from headrace.calls.indexing import MOST_INDEX_ENTRIES
from headrace.errors import EventNotFound
from headrace.formats.codec import encode_outcome, from_millis
from headrace.formats.keys import Keys
from headrace.formats.trails import encode_note
from headrace.model.event import RunError
from headrace.model.ids import run_id
from headrace.model.retention import Retention

_PENDING_MS = 30 * 86_400_000
STOP_MS = 2_000
"""How long the function of a canceled run may take to stop, before the next run of its ordering key may begin."""


CANCELED_DELIVERIES = 1_000_000
"""The delivery count of a canceled run's pending entry, by which its worker knows it; no other entry comes near."""


class _Arguments(msgspec.Struct, frozen=True):
    """What `cancel.lua` reads beside its keys; its header says what each is."""

    policy: Policy
    id: str
    pending: bool
    keep: int


def cancel(keys: Keys, event_id: str, retention: Retention, *, pending: bool = False) -> Call[datetime | None]:
    """Cancel a delayed event; read when it was canceled, None if it is not. Raise EventNotFound.

    Args:
        pending: cancel also one that no dispatcher has handled yet.
    """

    def read(reply: list[bytes]) -> datetime | None:
        if reply[0] == b"missing":
            raise EventNotFound(event_id)
        return from_millis(int(reply[1])) if reply[0] == b"canceled" else None

    args = _Arguments(policy(keys, retention), event_id, pending, max(_PENDING_MS, *retention.millis()))
    return script_call("cancel", (keys.due, keys.event(event_id), keys.fading), (pack(args),), read)


class _RescheduleArguments(msgspec.Struct, frozen=True):
    """What `reschedule.lua` reads beside its keys; its header says what each is."""

    id: str
    when: str


def reschedule(keys: Keys, event_id: str, when: str) -> Call[str]:
    """Let a delayed event be due at another time; read the script's answer.

    Args:
        when: as the `when` of `Terms`; not empty.
    """
    args = _RescheduleArguments(event_id, when)
    return script_call("reschedule", (keys.due, keys.event(event_id), keys.wake), (pack(args),), as_text)


class _RunArguments(msgspec.Struct, frozen=True):
    """What `cancel_run.lua` reads beside its keys; its header says what each is."""

    policy: Policy
    listed: int
    id: str
    job: str
    queue: str
    ordering_key: str
    queued: bool
    channel: str
    grace: int
    note: str
    mark: int


def cancel_run(  # noqa: PLR0913 - which run, and how
    keys: Keys,
    event_id: str,
    job: str,
    queue: str,
    ordering_key: str,
    retention: Retention,
    *,
    reason: str = "",
    queued: bool = False,
) -> Call[tuple[str, str]]:
    """Cancel an open run; read the script's answer.

    Args:
        reason: becomes the message of the run's error; empty for a run without one.
        queued: cancel it only while it is queued, and no worker has it, or waits behind another one of its line.
    """
    app, error = job.partition("/")[0], RunError("Canceled", reason) if reason else None
    names = [keys.event(event_id), keys.queue(app, queue), keys.due, keys.runs, keys.fading]
    if ordering_key:
        names += (keys.wake, keys.line(job, ordering_key))
    args = _RunArguments(
        policy(keys, retention), MOST_INDEX_ENTRIES, event_id, job, queue, ordering_key, queued,
        keys.canceled_channel, STOP_MS, encode_note(error, run_id(event_id, job), None), CANCELED_DELIVERIES,
    )  # fmt: skip
    outcome = b"" if error is None else encode_outcome(error, None)
    return script_call("cancel_run", names, (pack(args), outcome), lambda reply: (as_text(reply[0]), as_text(reply[1])))


def is_pending(keys: Keys, job: str, queue: str, entry: str) -> Call[bool]:
    """Read whether an entry of a run's queue is still pending."""
    stream = keys.queue(job.partition("/")[0], queue)
    return Call(("XPENDING", stream, "workers", entry, entry, 1), bool)
