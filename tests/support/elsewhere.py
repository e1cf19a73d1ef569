"""A job's function of another module, whose annotations only that module can resolve."""

from __future__ import annotations

import msgspec


class Visitor(msgspec.Struct):
    name: str


def takes_a_visitor(payload: Visitor) -> None: ...
