"""What a script needs is what it declares, and a right that is missing leaves nothing half done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace import PermissionMissing
from tests.scripts.cases import CASES, Case
from tests.scripts.limits import Limits, all_but, key_rules, keys_of
from tests.scripts.source import commands_of
from tests.scripts.state import expected
from tests.support.versions import version_of

_CHANNELS = "&headrace:*"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_key_is_declared(case: Case, limits: Limits) -> None:
    """A user who may use the keys of this call alone, and the commands that the script's text names, can run it."""
    step = limits.arrange(case)
    commands = [f"+{name}" for name in sorted(commands_of(case.script))]
    limits.allow("+evalsha", "+eval", *commands, *key_rules(keys_of(step.call)), _CHANNELS)
    ran = limits.run(step.call)
    assert ran.gave == expected(step.gives)
    assert ran.changes == step.changes


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_key_that_is_forbidden(case: Case, limits: Limits) -> None:
    """A user who lacks one of the call's keys is refused with nothing written."""
    for forbidden in keys_of(limits.arrange(case).call):
        step = limits.arrange(case)
        limits.allow("+@all", *key_rules(key for key in keys_of(step.call) if key != forbidden), _CHANNELS)
        ran = limits.run(step.call)
        assert ran.gave[0] is PermissionMissing
        assert ran.changes == {}


_WRITES = {
    "del", "hdel", "hincrby", "hset", "incr", "lpop", "lpush", "lrem", "persist", "pexpire", "publish", "rpush", "sadd",
    "set", "xack", "xadd", "xdel", "xgroup|create", "xgroup|delconsumer", "xgroup|setid", "xreadgroup", "zadd",
    "zrem",
}  # fmt: skip
_OPTIONAL = re.compile(r"(wake 0|wake-up:\S+ \S+|published \S+|recent \S+|runs \S+|\S+ (dispatch|workers) w1)\Z")
"""What rings, tells and lists, and a consumer that holds nothing."""


@pytest.mark.parametrize("case", [case for case in CASES if case.script != "send"], ids=str)
def test_a_command_that_is_forbidden(case: Case, limits: Limits, server_binary: Path) -> None:
    """A user who lacks a command is refused with nothing written, or lacks none that the call comes to.

    Redis asks for the right to a command only when a script comes to it, so each asks for all before its first write.
    Redis 6.2 can't be asked: there a write behind the first one may be refused by itself.
    """
    can_ask = version_of(server_binary)[0] != "redis-6.2"
    for command in sorted(commands_of(case.script)):
        step = limits.arrange(case)
        limits.allow(*all_but(command), "~*", _CHANNELS)
        ran = limits.run(step.call)
        if isinstance(ran.gave, tuple) and ran.gave[0] is PermissionMissing:
            assert ran.changes == {} or (not can_ask and command in _WRITES), command
        else:
            assert ran.gave == expected(step.gives), command
            lines = {*ran.changes, *step.changes}
            missing = {line for line in lines if ran.changes.get(line, "") != step.changes.get(line, "")}
            assert all(_OPTIONAL.match(line) for line in missing), command


@pytest.mark.parametrize("case", [case for case in CASES if case.script == "send"], ids=str)
def test_a_send_that_is_forbidden(case: Case, limits: Limits) -> None:
    """Whatever command a producer lacks, no record says of an event that it was sent that is nowhere."""
    for command in sorted(commands_of(case.script)):
        step = limits.arrange(case)
        limits.allow(*all_but(command), "~*", _CHANNELS)
        changes = limits.run(step.call).changes
        sent = [
            fact["i"] for line, fact in changes.items() if line.startswith("events new-") and isinstance(fact, dict)
        ]
        for line, header in changes.items():
            event_id = line.removeprefix("event:").removesuffix(" m")
            if line == f"event:{event_id} m":
                is_delayed = str(header).split(" ")[3] == "0"
                assert (f"due e:{event_id}" in changes) if is_delayed else (event_id in sent), command
