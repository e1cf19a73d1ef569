"""Shares a worker's free slots between its queues by their weights, over time. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headrace_worker.protocol.delivery import Stream
from headrace_worker.protocol.reading import Share


class Weighed(msgspec.Struct, frozen=True):
    """A queue with its weight, and its limit in this partition; 0 for none."""

    queue: Stream
    weight: int = 1
    limit: int = 0


class Shares:
    """Whose turn it is: a queue that has had less of its part than another comes before that one.

    What a queue has had is counted in runs for each unit of its weight. A queue without runs saves nothing up: when it
    has some again it comes first, and no more than that. So no queue starves.
    """

    def __init__(self, queues: Sequence[Weighed]) -> None:
        """Begin with nothing had."""
        self._queues = list(queues)
        self._weights = {each.queue.key: each.weight for each in queues}
        self._total = sum(self._weights.values())
        self._had = dict.fromkeys(self._weights, 0.0)

    def of(self, free: int) -> list[Share]:
        """Return the queues in the order in which to take from them, each with its part of the free slots."""
        self._queues.sort(key=lambda each: self._had[each.queue.key])
        slots = [free * each.weight // self._total for each in self._queues]
        for place in range(free - sum(slots)):  # fewer than there are queues
            slots[place] += 1
        return [Share(each.queue, count, each.limit) for each, count in zip(self._queues, slots, strict=True)]

    def note(self, shares: Sequence[Share], taken: Mapping[str, int], free: int) -> None:
        """Note how many runs each queue gave, by the keys of those that gave some, for so many free slots."""
        busy, has_all = set(), sum(taken.values()) < free
        for share in shares:
            key, count = share.queue.key, taken.get(share.queue.key, 0)
            self._had[key] += count / self._weights[key]
            if count >= share.slots and not has_all:
                busy.add(key)
        # All count from the queue that has had least and may have more: one without runs must not fall behind that.
        least = min((self._had[key] for key in busy), default=None)
        for key, had in self._had.items():
            self._had[key] = 0.0 if least is None else had - least if key in busy else max(had - least, 0.0)
