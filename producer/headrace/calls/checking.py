"""Asks what a server is, and into how many partitions a namespace is divided. Pure."""

from __future__ import annotations

from headrace.calls.call import Call, as_text, script_call
from headrace.formats.keys import Keys


def server_info() -> Call[dict[str, str]]:
    """Read what the server says of itself."""
    return Call(("INFO",), _read_info)


def _read_info(reply: bytes | str) -> dict[str, str]:
    lines = as_text(reply).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def divide(keys: Keys, partitions: int) -> Call[int]:
    """Set the number of partitions of a namespace that is used for the first time; read how many it has."""
    return script_call("divide", (keys.meta,), (partitions,), int)


def server_time() -> Call[int]:
    """Read the server's time in milliseconds."""
    return Call(("TIME",), lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000)


def last_lease_end(keys: Keys) -> Call[int]:
    """Read when the last lease of a worker ends, in milliseconds by the server's clock; 0 where there is none."""
    last = ("ZRANGE", keys.workers, -1, -1, "WITHSCORES")
    return Call(last, lambda reply: int(float(reply[1])) if reply else 0)
