"""Says which slot of a Redis Cluster a command belongs to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.crc import key_slot

from headrace.calls.call import Argument, Call

ANY = -1
"""The slot of calls that any node can answer."""
_KEYLESS = frozenset({"INFO", "CLIENT", "TIME", "PING", "WAIT", "CONFIG", "CLUSTER"})


def slot_of(args: Sequence[Argument]) -> int | None:
    """Return the slot of a command's first key; None for a command without one."""
    command = args[0]
    if command in _KEYLESS:
        return None
    if command in ("EVALSHA", "EVAL"):
        key = args[3]
    elif command == "XREADGROUP":
        key = args[args.index("STREAMS") + 1]
    else:
        key = args[2 if command in ("XINFO", "XGROUP") else 1]
    return key_slot(key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass"))


def slots_of(calls: Sequence[Call[Any]], home: int | None) -> list[int]:
    """Return the slot of each call; one without a key has the slot of the previous call or, if first, of the next."""
    own = [slot_of(call.args) for call in calls]
    last = next((slot for slot in own if slot is not None), ANY if home is None else home)
    found = []
    for slot in own:
        last = last if slot is None else slot
        found.append(last)
    return found
