"""Queues runs again that ended without success, or whose entry is gone. Pure."""

from __future__ import annotations

import msgspec

from headrace.calls.arguments import pack
from headrace.calls.call import Call, as_text, script_call
from headrace.formats.codec import INLINE_BYTES
from headrace.formats.keys import Keys


class _Arguments(msgspec.Struct, frozen=True):
    """What `rerun.lua` reads beside its keys; its header says what each is."""

    id: str
    job: str
    queue: str
    inline: int
    ordering_key: str
    canceled: bool
    ended: int
    note: str


def rerun(  # noqa: PLR0913 - which run, and as it was read
    keys: Keys,
    event_id: str,
    job: str,
    queue: str,
    ordering_key: str = "",
    ended_ms: int = 0,
    *,
    note: str = "-",
    canceled: bool = False,
) -> Call[tuple[str, str]]:
    """Queue a run again that is lost or ended without success; read the script's answer.

    Args:
        ended_ms: the run must have ended at this time; 0 for any.
        note: the note of the attempt that ended then; a dash for none.
        canceled: queue it also if it was canceled.
    """
    app = job.partition("/")[0]
    names = [keys.event(event_id), keys.queue(app, queue), keys.wake_up(app), keys.dead]
    if ordering_key:
        names.append(keys.line(job, ordering_key))
    args = _Arguments(event_id, job, queue, INLINE_BYTES, ordering_key, canceled, ended_ms, note)
    return script_call("rerun", names, (pack(args),), lambda reply: (as_text(reply[0]), as_text(reply[1])))
