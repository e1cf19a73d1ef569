"""Who is measured: Headrace, its peers and the limit, with what each needs and how many jobs it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bench import environments


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One that is measured.

    Attributes:
        name: its module in `bench.peers`, and what `ONLY=` takes.
        title: its name in tables.
        jobs: how many jobs one drain has: some seconds of work.
        one: how many of them are sent one by one; the rest in batches, where it can.
        batches: it has a call that sends many.
        environment: the environment that it runs in; None for one of its own name.
        at_least: the Python that it needs, where not every one will do.
        left: how much of the work is left on the server; where it is given, the drain is over when nothing is left,
            otherwise when the last job begins.
    """

    name: str
    title: str
    jobs: int
    one: int
    batches: bool = False
    environment: str | None = None
    at_least: tuple[int, int] | None = None
    left: Callable[[Any], int] | None = None

    def command(self) -> list[str]:
        """Return the command of its side, with its environment in place; raise Missing or SetupFailed."""
        if self.name == "bullmq":
            return environments.node("bullmq")
        found = environments.python(self.environment or self.name, self.at_least)
        return [str(found), "-m", "bench.side", self.name]


def headrace_left(client: Any, namespace: str = "default", app: str = "bench") -> int:
    """Return how many events and runs of one partition have not settled."""
    prefix = f"headrace:{{{namespace}:0}}:"
    return int(client.xlen(f"{prefix}events")) + int(client.xlen(f"{prefix}queue:{app}/default"))


HEADRACE = Peer(
    name="headrace",
    title="Headrace",
    jobs=150_000,
    one=10_000,
    batches=True,
    environment=environments.RUNNER,
    left=headrace_left,
)
LIMIT = Peer(
    name="limit",
    title="bare loop (the limit)",
    jobs=300_000,
    one=10_000,
    batches=True,
    environment=environments.RUNNER,
)
FIELD = (
    HEADRACE,
    Peer(name="bullmq", title="BullMQ", jobs=40_000, one=5_000, batches=True),
    Peer(name="ardiq", title="ArdiQ", jobs=50_000, one=5_000, batches=True, at_least=(3, 12)),
    Peer(name="taskiq", title="taskiq", jobs=15_000, one=15_000),
    Peer(name="saq", title="SAQ", jobs=8_000, one=8_000),
    Peer(name="arq", title="arq", jobs=8_000, one=8_000),
    Peer(name="streaq", title="streaQ", jobs=8_000, one=4_000, batches=True),
    Peer(name="dramatiq", title="dramatiq", jobs=30_000, one=30_000),
    Peer(name="celery", title="Celery", jobs=6_000, one=6_000),
    Peer(name="huey", title="huey", jobs=30_000, one=30_000),
    Peer(name="rq", title="RQ", jobs=4_000, one=2_000, batches=True),
    LIMIT,
)
"""Everyone, in the order of the rounds."""


def named(names: Sequence[str]) -> list[Peer]:
    """Return those of the field with these names, or all of it for none; raise KeyError for one that is not in it."""
    known = {peer.name: peer for peer in FIELD}
    return [known[name] for name in names] if names else list(FIELD)
