"""Says what the user may not read, and tries what a worker's may do, as one does that starts.

It is tried on scratch keys, which are deleted at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace import PermissionMissing, ServerFull
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace.plans.plan import Plan
from headrace_worker.doctor.finding import Notes, named
from headrace_worker.doctor.partition import Partition
from headrace_worker.startup.permissions import every_key, try_commands, try_keys

_SCRATCH_MS = 60_000
_NAME = "doctor"


def note_unread(namespace: str, partitions: Sequence[Partition], notes: Notes) -> None:
    """Note what could not be looked at of a namespace: it can't be called well then.

    What a worker's user may not read is among the rights that it lacks, so it is no finding of its own.
    """
    if notes.denied and not notes.has("rights"):
        if all(each.is_closed for each in partitions):
            says = f"the user may read nothing of namespace {namespace!r}: {named(notes.denied)}"
            mend = "name the namespace that this user is for, with --namespace or HEADRACE_NAMESPACE; or "
        else:
            says = f"the user may not read all of namespace {namespace!r}: not {named(notes.denied)}"
            mend = ""
        mend += "look with the URL of a user who may read this one: headrace-viewer or headrace-operator of deploy/acl"
        notes.add("error", "rights", says, mend, namespace=namespace, unread=notes.denied)
    if notes.failed and not notes.has("partitions"):  # where a node is away, that says why
        notes.add(
            "error", "reads", f"not all of namespace {namespace!r} could be looked at: not {named(notes.failed)}",
            "mend what is said of each that was not looked at, and look again",
            namespace=namespace, unread=notes.failed,
        )  # fmt: skip


def try_rights(keys: Keys, token: str, notes: Notes) -> Plan[None]:
    """Note which rights the user lacks, if it is a worker's: one that may take runs."""
    scratch = Keys(keys.namespace, keys.partition, scratch=f"scratch:{token}:")
    (answer,) = yield [_take_runs(scratch)]
    if isinstance(answer, PermissionMissing):
        notes.miss("rights", "this user may take no runs (XREADGROUP); try what a worker may with a worker's URL")
        return
    names = [*every_key(scratch, _NAME, [_NAME], _NAME), scratch.event("e")]
    clean_up = [Call(("DEL", *names), _nothing), *(Call(("PEXPIRE", name, _SCRATCH_MS), _nothing) for name in names)]
    lacking = _refused(clean_up[:2], (yield clean_up[:2]))
    if not lacking:  # else what the tries leave behind would stay for ever
        lacking = yield from _try_commands(scratch, clean_up[1:], notes)
        yield clean_up[:1]
    if lacking:
        rights = " ".join(f"+{command.lower().replace(' ', '|')}" for command in lacking)
        notes.add(
            "error", "rights", f"the user takes runs, but may not call {', '.join(lacking)}, which a worker needs",
            f"ACL SETUSER <user> {rights}; deploy/acl has the whole list", lacking=lacking,
        )  # fmt: skip
    if "PERSIST" not in lacking:
        yield from _try_keys(keys, notes)


def _take_runs(keys: Keys) -> Call[None]:
    """Return a read of a queue that a user without the right is refused, and that does nothing for one who has it."""
    wrong = ("GROUP", "g", "x", "COUNT", "none")
    return Call(("XREADGROUP", *wrong, "STREAMS", keys.events, ">"), _nothing)


def _try_commands(scratch: Keys, expire: Sequence[Call[Any]], notes: Notes) -> Plan[list[str]]:
    """Return the commands that the user may not call; let what the tries leave behind expire, each time."""
    calls = [call for call in try_commands(scratch) if call.args != ("DEL", scratch.event("e"))]
    alone = [call for call in calls if not _needs_group(call)]
    grouped = [call for call in calls if _needs_group(call)]
    answers = (yield [*alone, *expire])[: len(alone)]
    lacking = _refused(alone, answers)
    if any(isinstance(answer, ServerFull) for answer in answers):
        notes.miss("rights", "the server is full, so not every command could be tried")
    elif "XGROUP CREATE" not in lacking and "XADD" not in lacking:
        lacking += _refused(grouped, (yield [*grouped, *expire])[: len(grouped)])
    return lacking


def _try_keys(keys: Keys, notes: Notes) -> Plan[None]:
    """Note which keys and channels the user may not write."""
    names = every_key(keys, _NAME, [_NAME], _NAME)
    channel = keys.settled_channel(_NAME)
    answers = yield try_keys(names, channel)
    denied = [
        name for name, answer in zip([*names, channel], answers, strict=True) if isinstance(answer, PermissionMissing)
    ]
    if denied:
        notes.add(
            "error", "rights", f"the user may not write {denied[0]}", "give it the keys and channels of deploy/acl",
            denied=denied,
        )  # fmt: skip


def _needs_group(call: Call[Any]) -> bool:
    """Return whether a call needs a group; where there is none, it would be waited for."""
    return "g" in call.args and call.args[1] != "CREATE"


def _refused(calls: Sequence[Call[Any]], answers: Sequence[Any]) -> list[str]:
    """Return the commands that the user may not call, each once."""
    pairs = zip(calls, answers, strict=True)
    return list(dict.fromkeys(_command(call) for call, answer in pairs if isinstance(answer, PermissionMissing)))


def _command(call: Call[Any]) -> str:
    has_parts = call.args[0] in ("XGROUP", "XINFO")
    return " ".join(map(str, call.args[: 2 if has_parts else 1]))


def _nothing(_reply: object) -> None:
    """Return None: the reply says nothing."""
