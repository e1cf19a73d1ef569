"""What the call of a script holds: its keys, its named arguments, and the bytes beside them."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.calls.call import Argument, Call


def keys_of(call: Call[Any]) -> list[str]:
    """Return the keys of a script's call, in their order."""
    return [str(key) for key in call.args[3 : 3 + int(call.args[2])]]


def argv_of(call: Call[Any]) -> tuple[Argument, ...]:
    """Return ARGV of a script's call."""
    return call.args[3 + int(call.args[2]) :]


def arguments_of(call: Call[Any]) -> dict[str, Any]:
    """Return the named arguments of a script's call."""
    packed = argv_of(call)[0]
    assert isinstance(packed, bytes)
    found: dict[str, Any] = msgspec.msgpack.decode(packed)
    return found


def members_of(call: Call[Any]) -> list[str]:
    """Return the members of `due` that a call promotes; none for a call of another script."""
    is_promotion = call.script is not None and call.script.name == "promote"
    return list(arguments_of(call)["members"]) if is_promotion else []


def with_argument(call: Call[Any], name: str, value: object) -> Call[Any]:
    """Return the call with another value of a named argument."""
    packed = msgspec.msgpack.encode(arguments_of(call) | {name: value})
    before = 3 + int(call.args[2])
    return msgspec.structs.replace(call, args=(*call.args[:before], packed, *call.args[before + 1 :]))
