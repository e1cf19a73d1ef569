"""Lets a run that has cost several workers their lives execute with nothing beside it, so that it buries only itself.

A run on its last life is alone in this worker's hands: what came with it goes back to its queue, and nothing is
fetched until it is settled.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from headrace_worker import protocol
from headrace_worker.delivery import Delivery
from headrace_worker.hand import Hand
from headrace_worker.protocol import HeldEntry
from headrace_worker.state import WorkerState

log = structlog.get_logger("headrace.last_life")


class LastLife:
    """Sets runs on their last life apart from the others."""

    def __init__(self, state: WorkerState, hand: Hand) -> None:
        self._state = state
        self._hand = hand
        self._chosen: tuple[str, str] | None = None

    @property
    def is_under_way(self) -> bool:
        """A run on its last life is in hand."""
        return self._chosen in self._hand.held

    async def set_apart(self, deliveries: list[Delivery], name: str) -> list[Delivery]:
        """Returns what may start now: all or, if one is on its last life, that one once nothing else is in hand."""
        if self.is_under_way:  # of another queue, or page, of the same read
            await self.release(deliveries)
            return []
        last = [delivery for delivery in deliveries if self._is_last(delivery)]
        if not last:
            return deliveries
        chosen = last[0]
        await self.release([delivery for delivery in deliveries if delivery is not chosen])
        log.warning("run on its last life executes alone", run=chosen.run_id, lost=chosen.state.lost)
        while self._hand.held and name == self._state.name and not self._state.stopping.is_set():
            await self._hand.wait_change()
        if self._state.stopping.is_set() or name != self._state.name:
            await self.release([chosen])
            return []
        self._chosen = (chosen.queue.key, chosen.entry)
        return [chosen]

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Deliveries that have not started are back in their queues, with nothing counted."""
        by_queue: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            by_queue.setdefault(delivery.queue.name, []).append(delivery)
        keys = self._state.keys
        for name, group in by_queue.items():
            held = [HeldEntry(each.entry, keys.event(each.event_id), each.job) for each in group]
            await self._state.commands.run(
                [protocol.release(protocol.queue_stream(keys, self._state.app.name, name), held)]
            )

    def _is_last(self, delivery: Delivery) -> bool:
        lost = delivery.state.lost
        return lost > 0 and lost == self._state.config.max_lost - 1
