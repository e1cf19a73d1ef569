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
