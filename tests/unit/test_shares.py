"""A worker's slots are shared by weight, whatever their number at a time, and no queue starves."""

from __future__ import annotations

import pytest

from headrace.formats.keys import Keys
from headrace_worker.protocol.reading import queue_stream
from headrace_worker.streams.shares import Shares, Weighed

_KEYS = Keys("ns")
_QUEUES = {name: queue_stream(_KEYS, "app", name) for name in "abc"}


class _Server:
    """Gives runs as `take` does: shares first, then what is left to the queues that have more."""

    def __init__(self, **weights: int) -> None:
        self.shares = Shares([Weighed(_QUEUES[name], weight) for name, weight in weights.items()])
        self.waiting = dict.fromkeys(weights, 0)
        self.given = dict.fromkeys(weights, 0)

    def take(self, free: int) -> None:
        shares, left = self.shares.of(free), free
        assert sum(share.slots for share in shares) == free
        taken: dict[str, int] = {}
        for is_first in (True, False):
            for share in shares:
                name, key = share.queue.name, share.queue.key
                count = min(share.slots if is_first else left, left, self.waiting[name])
                if count:
                    taken[key] = taken.get(key, 0) + count
                    self.waiting[name] -= count
                    self.given[name] += count
                    left -= count
        self.shares.note(shares, taken, free)


@pytest.mark.parametrize("free", [1, 2, 3, 7, 128])
def test_slots_are_shared_by_weight(free: int) -> None:
    """Also one at a time, as they become free in a busy worker."""
    server = _Server(a=1, b=2, c=5)
    server.waiting = dict.fromkeys("abc", 1_000_000)
    while sum(server.given.values()) < 8_000:
        server.take(free)
    total = sum(server.given.values())
    for name, weight in (("a", 1), ("b", 2), ("c", 5)):
        assert abs(server.given[name] - total * weight / 8) <= max(free, 8)


def test_what_is_left_goes_to_the_others() -> None:
    """No slot stays free while any queue has runs."""
    server = _Server(a=1, b=1, c=8)
    server.waiting |= {"a": 100}
    server.take(50)
    assert server.given == {"a": 50, "b": 0, "c": 0}


def test_a_queue_without_runs_saves_nothing_up() -> None:
    """After a long time without runs it gets its part, as the queue does that has had the slots meanwhile."""
    server = _Server(a=1, b=1)
    server.waiting = {"a": 10_000, "b": 0}
    for _ in range(1_000):
        server.take(1)
    server.waiting["b"], server.given = 10_000, {"a": 0, "b": 0}
    for _ in range(100):
        server.take(1)
    assert abs(server.given["a"] - server.given["b"]) <= 1


def test_a_light_queue_does_not_starve() -> None:
    """Beside the heaviest one its turn comes all the same."""
    server = _Server(a=1, b=1_000)
    server.waiting = {"a": 1, "b": 10_000}
    for _ in range(1_001):
        server.take(1)
    assert server.given["a"] == 1
