"""The calls that pause queues and limit them at run time, and that read what is paused and limited. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, as_fields, as_text, script_call
from headrace.formats.codec import MAX_MILLIS
from headrace.formats.keys import Keys

Pause = Literal["pause", "resume", ""]
UNKNOWN_MS = 1
"""Stands for a time that can't be read, as something else has written there: the queue is paused all the same."""
_MOST_DIGITS = 15


class QueueControl(msgspec.Struct, frozen=True):
    """What is set at run time for a queue of one partition.

    Attributes:
        paused_ms: since when it is paused; 0 if it is not, UNKNOWN_MS if that can't be read.
        limit: a number, or `none`; empty if nothing is set.
    """

    paused_ms: int = 0
    reason: str = ""
    limit: str = ""


class _Arguments(msgspec.Struct, frozen=True):
    """What `control.lua` reads beside its keys; its header says what each is."""

    queue: str
    pause: Pause
    reason: str
    limit: str
    channel: str


def control(keys: Keys, queue: str, *, pause: Pause = "", reason: str = "", limit: str = "") -> Call[QueueControl]:
    """Pause a queue, `<app>/<queue>`, let it go on, or limit it; read what is set then."""
    app, _, name = queue.partition("/")
    args = _Arguments(queue, pause, reason, limit, keys.controls_channel)
    names = [keys.controls, keys.queue(app, name), keys.wake_up(app)]
    return script_call("control", names, (pack(args),), _read_control)


def read_controls(keys: Keys) -> Call[dict[str, QueueControl]]:
    """Read what is set at run time, by queue."""
    return Call(("HGETALL", keys.controls), _read_controls)


def _read_control(reply: Sequence[bytes | None]) -> QueueControl:
    paused, limit = reply
    return _control_of(None if paused is None else as_text(paused), as_text(limit or b""))


def _read_controls(reply: Iterable[Any]) -> dict[str, QueueControl]:
    fields = {as_text(field): as_text(value) for field, value in as_fields(list(reply)).items()}
    queues = {field[2:] for field in fields if field.startswith(("p:", "l:"))}
    return {queue: _control_of(fields.get(f"p:{queue}"), fields.get(f"l:{queue}", "")) for queue in queues}


def _control_of(paused: str | None, limit: str) -> QueueControl:
    if paused is None:
        return QueueControl(limit=limit)
    since, _, reason = paused.partition(" ")
    is_time = since.isdecimal() and len(since) <= _MOST_DIGITS
    paused_ms = min(int(since), MAX_MILLIS) if is_time else UNKNOWN_MS
    return QueueControl(paused_ms, reason, limit)
