"""Says which server meets which Python, and with how much of the tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from tests.matrix.pythons import OWN, PYTHONS
from tests.matrix.servers import SERVERS, USUAL


class Meeting(msgspec.Struct, frozen=True):
    """A server and a Python that the tests run on together."""

    server: str
    python: str

    @property
    def scope(self) -> Literal["all", "core"]:
        """All tests on the usual server; on any other the core, which is every test that uses it."""
        return "all" if self.server == USUAL else "core"


def plan(servers: Sequence[str], pythons: Sequence[str]) -> list[Meeting]:
    """Return who meets whom: each named server each named Python; if none is named, each is there once.

    Raises:
        ValueError: a name is unknown; the text has those that are known.
    """
    _must_be_known("server", servers, tuple(SERVERS))
    _must_be_known("Python", pythons, PYTHONS)
    return list(dict.fromkeys(_meetings(servers, pythons)))


def _meetings(servers: Sequence[str], pythons: Sequence[str]) -> Iterator[Meeting]:
    if servers and pythons:
        yield from (Meeting(server, python) for server in servers for python in pythons)
        return
    if servers or not pythons:
        yield from (Meeting(server, OWN) for server in servers or SERVERS)
    if pythons or not servers:
        yield from (Meeting(USUAL, python) for python in pythons or PYTHONS)


def _must_be_known(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{name} is no {kind} of the matrix; there are {', '.join(known)}")
