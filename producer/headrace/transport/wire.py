"""What goes over the wire for calls, and what their replies say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hiredis import pack_command

from headrace.calls.call import Call
from headrace.errors import CallError, HeadraceError, ServerNotReady
from headrace.transport.faults import ScriptMissing, translate


def pack(commands: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """Return the commands as one piece, which is sent at once."""
    return [b"".join([pack_command(command) for command in commands])]


def repeated(calls: Sequence[Call[Any]], replies: list[Any]) -> list[tuple[Any, ...]]:
    """Return the commands to send again, from the first lost script on to keep the order, with their scripts whole."""
    for place, reply in enumerate(replies):
        if isinstance(reply, ScriptMissing):
            return [whole(call) for call in calls[place:]]
    return []


def whole(call: Call[Any]) -> tuple[Any, ...]:
    """Return the command with its script, for a server that may not know it."""
    return call.args if call.script is None else ("EVAL", call.script.text, *call.args[2:])


def writes(calls: Sequence[Call[Any]]) -> bool:
    """Tell whether one of the calls may change something: all that do are scripts."""
    return any(call.script is not None for call in calls)


def note_earlier(errors: Iterable[object]) -> None:
    """Say of the errors of a call that an attempt before the one that failed may have been carried out."""
    for error in errors:
        if isinstance(error, CallError):
            error.mark_may_be_done("an attempt before was sent, and whether the server has carried it out is not known")


def read_error(call: Call[Any], exc: Exception) -> Any:
    """Return the error with which the server has answered a call, or what the call takes for it."""
    error = translate(exc)
    is_no_group = isinstance(error, ServerNotReady) and error.code == "NOGROUP"
    return call.no_group if is_no_group and call.no_group is not None else error


def read_replies(calls: Sequence[Call[Any]], replies: list[Any], *, partial: bool) -> list[Any]:
    """Return the results of the calls; errors stand in their places if `partial`, but none that is waited through."""
    for reply in replies:
        if isinstance(reply, ServerNotReady):
            if writes(calls) and not all(isinstance(each, ServerNotReady) for each in replies):
                reply.mark_may_be_done("a part of the call may have been carried out")
            raise reply
    return [read_reply(call, reply, partial=partial) for call, reply in zip(calls, replies, strict=True)]


def read_reply(call: Call[Any], reply: Any, *, partial: bool) -> Any:
    """Return the result of a call; if `partial`, also its error, from the server or found in the reply."""
    try:
        if isinstance(reply, HeadraceError):
            raise reply
        return call.read(reply)
    except HeadraceError as exc:
        if not partial:
            raise
        return exc
