"""Lets a run that has cost several workers their lives execute with nothing beside it, so that it buries only itself.

A run on its last life is alone in this worker's hands: what came with it goes back to its queue, and nothing is
fetched until it is settled. If the worker's hands do not get empty for it within a lease, it waits elsewhere for a
lease, so that it stops this worker no longer than that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from headrace import RunError
from headrace.formats.codec import encode_outcome
from headrace_worker import protocol
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import Hand
from headrace_worker.membership.state import WorkerState
from headrace_worker.protocol import Retried
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.streams.requeue import release

log = get_logger("headrace.last_life")


class LastLife:
    """Sets runs on their last life apart from the others."""

    def __init__(self, state: WorkerState, hand: Hand) -> None:
        self._state = state
        self._hand = hand

    @property
    def is_under_way(self) -> bool:
        """A run on its last life is in hand, in any partition, or waits for empty hands; nothing is beside it."""
        return self._hand.is_closed

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
        is_alone = await self._wait_until_alone(name)
        if self._state.stopping.is_set() or name != self._state.name:
            await self.release([chosen])
        elif not is_alone:
            await self._postpone(chosen)
        else:
            self._hand.alone = chosen.key
            return [chosen]
        return []

    async def _wait_until_alone(self, name: str) -> bool:
        """Returns whether nothing is in hand that this process could take with it; waits for that for a lease."""
        deadline = monotonic() + self._state.config.lease_s
        self._hand.is_clearing = True
        try:
            while self._hand.has_open and name == self._state.name and not self._state.stopping.is_set():
                left_s = deadline - monotonic()
                if left_s <= 0:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hand.wait_change(), left_s)
        finally:
            self._hand.is_clearing = False
            self._hand.poke()
        return not self._hand.has_open

    async def _postpone(self, delivery: Delivery) -> None:
        """The run waits for a lease, with nothing counted; another worker may have its hands free then."""
        log.info("run on its last life is put off: other runs take long", run=delivery.run_id)
        blob = encode_outcome(RunError("LastLife", "waits for a worker with nothing else in its hands"), None)
        wait = Retried(delivery, delivery.state.text(), 0, self._state.config.lease_ms, blob)
        await self._state.commands.run([protocol.retry(self._state.keys, self._state.name, [wait])])

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Deliveries that have not started are back in their queues, with nothing counted."""
        by_queue: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            by_queue.setdefault(delivery.queue.name, []).append(delivery)
        keys = self._state.keys
        for name, group in by_queue.items():
            held = [protocol.held_entry(keys, each) for each in group]
            await release(self._state, protocol.queue_stream(keys, self._state.app.name, name), held)

    def _is_last(self, delivery: Delivery) -> bool:
        lost = delivery.state.lost
        return lost > 0 and lost == self._state.config.max_lost - 1
