"""What is in this worker's hands: the runs it has fetched, until each is settled and has ended. No I/O."""

from __future__ import annotations

import asyncio
from typing import Literal

from headrace_worker.clock import monotonic
from headrace_worker.protocol.delivery import Delivery, Key
from headrace_worker.tasks.job_threads import ThreadCall

Cause = Literal["timed_out", "canceled", "released"]


class Held:
    """One run in hand.

    Attributes:
        key: the delivery's.
        name: the worker's name under which it was delivered.
        started_at: by the monotonic clock, in seconds.
        timeout_s: seconds that its function may take; None for as long as it likes.
        cause: why its function was told to end, if it was.
        is_called: its function was called, or is about to be.
        is_told: the settler has its outcome.
        is_settled: its outcome is recorded, or it is not this worker's any more.
        has_ended: its function does not execute any more.
        settled_at: when it was settled while its function went on, by the monotonic clock.
    """

    __slots__ = (
        "cause", "delivery", "has_ended", "is_called", "is_settled", "is_told", "key", "name", "settled_at",
        "started_at", "task", "thread", "timeout_s", "timer",
    )  # fmt: skip

    def __init__(self, delivery: Delivery, name: str, started_at: float) -> None:
        self.delivery = delivery
        self.key = delivery.key
        self.name = name
        self.started_at = started_at
        self.task: asyncio.Task[None] | None = None
        self.thread: ThreadCall | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.timeout_s: float | None = None
        self.cause: Cause | None = None
        self.is_called = False
        self.is_told = False
        self.is_settled = False
        self.has_ended = False
        self.settled_at = 0.0

    @property
    def is_lost(self) -> bool:
        """Its task has ended, and nobody was told of an outcome."""
        return not self.is_told and self.task is not None and self.task.done()

    def elapsed_ms(self, now: float) -> int:
        """Milliseconds since it started."""
        return round((now - self.started_at) * 1000)


class Hand:
    """The runs in hand and the slots that they take: one is free again when its run is settled and has ended.

    Attributes:
        is_clearing: nothing is fetched until what is in hand is settled, as one run is to have nothing beside it.
        alone: the run that had nothing beside it, last.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.held: dict[Key, Held] = {}
        self.is_clearing = False
        self.alone: Key | None = None
        self._reserved: dict[int, int] = {}
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many more runs it can take."""
        return self.slots - len(self.held) - sum(self._reserved.values())

    @property
    def is_closed(self) -> bool:
        """Nothing is to be fetched: a run has nothing beside it, or waits for that."""
        return self.is_clearing or (self.alone is not None and self.is_open(self.alone))

    def reserve(self, partition: int, sharers: int, most: int) -> int:
        """Sets a part of the free slots aside for a read in a partition, at most so many, and returns how many.

        Args:
            sharers: how many share the slots; each gets its part, and one at least if one is free.
        """
        count = min(max(self.free // sharers, 1), max(self.free, 0), most)
        self._reserved[partition] = count
        return count

    def release(self, partition: int) -> None:
        """Slots that are set aside in a partition, if any are, are free, but for what the read has brought."""
        self._reserved.pop(partition, None)
        self.poke()

    @property
    def has_open(self) -> bool:
        """Outcomes of runs in hand are not recorded yet."""
        return any(not held.is_settled for held in self.held.values())

    def is_open(self, key: Key) -> bool:
        """The run of this key is in hand and its outcome not recorded yet."""
        held = self.held.get(key)
        return held is not None and not held.is_settled

    def take(self, held: Held) -> None:
        """The run is in hand."""
        self.held[held.key] = held

    def settled(self, held: Held) -> None:
        """The run's outcome is recorded; its slot is free once its function has ended as well."""
        held.is_settled = True
        if held.has_ended:
            self.drop(held)
        else:
            held.settled_at = monotonic()
            self.poke()

    def ended(self, held: Held) -> None:
        """The run's function has ended; its slot is free once its outcome is recorded as well."""
        held.has_ended = True
        if held.is_settled:
            self.drop(held)

    def drop(self, held: Held) -> None:
        """The run is not in hand any more."""
        if self.held.get(held.key) is held:
            del self.held[held.key]
        self._changed.set()

    def poke(self) -> None:
        """Whoever waits looks again."""
        self._changed.set()

    async def wait_change(self) -> None:
        """Returns after the next change."""
        self._changed.clear()
        await self._changed.wait()
