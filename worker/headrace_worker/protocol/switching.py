"""The calls that disable and enable a job, and what is stored of a disabled one. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from headrace.calls.call import Call, as_text, script_call
from headrace.formats.codec import MAX_MILLIS, from_millis
from headrace.formats.keys import Keys

_MOST_DIGITS = 15


class Disabled(msgspec.Struct, frozen=True):
    """Since when a job is disabled, and why; None where that is damaged, or was not said."""

    since: datetime | None
    reason: str | None


class Switched(msgspec.Struct, frozen=True):
    """What a call has made of a job in one partition.

    Attributes:
        disabled: None if its app has no subscriptions there; then nothing happened.
        is_new: it was not disabled before.
    """

    disabled: Disabled | None
    is_new: bool = False


def disable(keys: Keys, app: str, job_id: str, reason: str) -> Call[Switched]:
    """Let no event that is dispatched from now on make a run of a job; an empty reason leaves a stored one."""

    def read(reply: list[Any]) -> Switched:
        answer, *said = reply
        return Switched(decode_disabled(said[0]) if said else None, answer == b"disabled")

    return script_call("disable", [keys.routes(app), keys.routes_version], (job_id, reason), read)


def enable(keys: Keys, app: str, job_id: str) -> Call[Disabled | None]:
    """Let events make runs of a job again; return what was stored, None if it was not disabled."""

    def read(reply: bytes | None) -> Disabled | None:
        return None if reply is None else decode_disabled(reply)

    return script_call("enable", [keys.routes(app), keys.routes_version], (job_id,), read)


def decode_disabled(stored: bytes) -> Disabled:
    """Return what is stored of a disabled job; something that is no time is none."""
    since, _, reason = as_text(stored).partition(" ")
    is_time = since.isascii() and since.isdigit() and len(since) <= _MOST_DIGITS and int(since) <= MAX_MILLIS
    return Disabled(from_millis(int(since)) if is_time else None, reason or None)
