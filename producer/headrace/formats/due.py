"""Reads the members of `due`: delayed events and waiting runs. Pure."""

from __future__ import annotations

import msgspec

from headrace.formats.keys import is_name

_DIGITS = 6
"""More digits than any length has: an ordering key is at most 1,024 bytes."""


class DueName(msgspec.Struct, frozen=True):
    """What a member of `due` names: an event, or a run's event, queue and job."""

    event_id: str
    queue: str = ""
    job: str = ""
    ordering_key: str = ""

    @property
    def app(self) -> str:
        """The app of the job; empty for an event."""
        return self.job.partition("/")[0]


def split_member(member: str) -> DueName | None:
    """Return what a member of `due` names; None if Headrace did not write the member."""
    kind, _, rest = member.partition(":")
    if kind == "e" and rest:
        return DueName(rest)
    ordering_key = ""
    if kind == "o":
        kind, ordering_key, rest = _split_key(rest)
    queue, _, run = rest.partition(":")
    event_id, _, job = run.rpartition(":")
    app, _, job_id = job.partition("/")
    if kind != "r" or not (event_id and is_name(queue) and is_name(app) and is_name(job_id)):
        return None
    return DueName(event_id, queue, job, ordering_key)


def _split_key(rest: str) -> tuple[str, str, str]:
    """Return `r`, the ordering key, and the rest as in a member without a key; empty texts if there is no key."""
    length, _, tail = rest.partition(":")
    blob = tail.encode("utf-8", "surrogatepass")
    end = int(length) if length.isdecimal() and len(length) < _DIGITS else 0
    if not end or blob[end : end + 1] != b":":
        return "", "", ""
    return "r", blob[:end].decode("utf-8", "replace"), blob[end + 1 :].decode("utf-8", "replace")
