"""A call: one command with its arguments, and the reader of its reply. Pure.

The first three arguments of a call with a script are EVALSHA, the script's SHA1 and the number of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from headrace.scripts import Script, load

T = TypeVar("T")
Argument = str | bytes | int | float


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One command to the server, and how its reply is read.

    Attributes:
        no_group: what is read in place of the error that the stream or its group does not exist, for a call to which
            that is an answer; None where it counts as an outage, which is waited through.
    """

    args: tuple[Argument, ...]
    read: Callable[[Any], T]
    script: Script | None = None
    no_group: Any = None


def script_call(name: str, keys: Sequence[str], argv: Sequence[Argument], read: Callable[[Any], T]) -> Call[T]:
    """Return the call of a script."""
    script = load(name)
    return Call(("EVALSHA", script.sha, len(keys), *keys, *argv), read, script)


def as_text(value: bytes | str) -> str:
    """Return a reply's bytes as text; bytes that are no UTF-8 are kept visible."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def as_fields(reply: Sequence[Any]) -> dict[Any, Any]:
    """Return the values of a reply of names and values in turn, by their names."""
    return dict(zip(reply[::2], reply[1::2], strict=True))
