"""Tries what a worker's user may do, as a starting worker does, on scratch keys that are deleted at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace import PermissionMissing
from headrace.calls.call import Call
from headrace.formats.keys import Keys
from headrace.plans.plan import Plan
from headrace_worker.doctor.finding import Notes
from headrace_worker.startup.permissions import every_key, try_commands, try_keys

_SCRATCH_MS = 60_000
_NAME = "doctor"


def try_rights(keys: Keys, token: str, notes: Notes) -> Plan[None]:
    """Note which rights the user lacks, if it is a worker's: one that may take runs."""
    scratch = Keys(keys.namespace, keys.partition, scratch=f"scratch:{token}:")
    names = [*every_key(scratch, _NAME, [_NAME], _NAME), scratch.event("e")]
    clean_up = [Call(("DEL", *names), _nothing), *(Call(("PEXPIRE", name, _SCRATCH_MS), _nothing) for name in names)]
    lacking = _refused(clean_up[:2], (yield clean_up[:2]))
    if lacking:  # what the tries leave behind would stay for ever
        _note(lacking, is_worker=False, notes=notes)
        return
    calls = [call for call in try_commands(scratch) if call.args != ("DEL", scratch.event("e"))]
    alone = [call for call in calls if not _needs_group(call)]
    grouped = [call for call in calls if _needs_group(call)]
    lacking = _refused(alone, (yield alone))
    if "XGROUP CREATE" not in lacking:
        lacking += _refused(grouped, (yield grouped))
    yield [*clean_up[1:], clean_up[0]]
    is_worker = not {"XGROUP CREATE", "XREADGROUP"} & set(lacking)
    _note(lacking, is_worker=is_worker, notes=notes)
    if is_worker and "PERSIST" not in lacking:
        yield from _try_keys(keys, notes)


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


def _note(lacking: Sequence[str], *, is_worker: bool, notes: Notes) -> None:
    if is_worker and lacking:
        rights = " ".join(f"+{command.lower().replace(' ', '|')}" for command in lacking)
        notes.add(
            "error", "rights", f"the user takes runs, but may not call {', '.join(lacking)}, which a worker needs",
            f"ACL SETUSER <user> {rights}; deploy/acl has the whole list", lacking=list(lacking),
        )  # fmt: skip
    elif not is_worker:
        notes.miss("rights", f"this user may take no runs ({lacking[-1]}); try them with the URL of a worker's user")


def _nothing(_reply: object) -> None:
    """Return None: the reply says nothing."""
