"""Lets a run that has cost several workers execute alone, so that it takes no other run with it.

A run that may cost one more worker is quarantined: runs that came with it are re-queued, and nothing is fetched until
the run is settled. If other runs have not finished within one lease, the quarantined run is delayed by one lease, so
that it stops this worker no longer than that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from headrace import RunError
from headrace.formats.codec import encode_outcome
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.member import Member
from headrace_worker.protocol import reading, rescuing, settling
from headrace_worker.protocol.delivery import Delivery, Key
from headrace_worker.protocol.settling import Retried
from headrace_worker.streams.requeue import release

log = get_logger("headrace.quarantine")


class Quarantine:
    """Quarantines runs of a worker, one at a time in all of its partitions."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._is_clearing = False
        self._alone: Key | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be fetched: a quarantined run is in flight, or waits until other runs are recorded."""
        return self._is_clearing or (self._alone is not None and self._in_flight.is_unrecorded(self._alone))

    async def admit(self, member: Member, deliveries: list[Delivery], name: str) -> list[Delivery]:
        """Return the runs that may start now: all, or a single one to quarantine once nothing else is in flight.

        Args:
            member: of the partition in which the runs were delivered.
            name: the worker's name under which they were delivered.
        """
        if self.is_closed:  # by a run of another queue, or page, of the same read
            await _release(member, deliveries)
            return []
        max_lost = member.setup.config.max_lost
        chosen = next((delivery for delivery in deliveries if _has_one_life_left(delivery, max_lost)), None)
        if chosen is None:
            return deliveries
        await _release(member, [delivery for delivery in deliveries if delivery is not chosen])
        log.warning("quarantined run executes alone", run=chosen.run_id, lost=chosen.state.lost)
        is_alone = await self._wait_until_alone(member, name)
        if member.identity.stopping.is_set() or name != member.identity.name:
            await _release(member, [chosen])
        elif not is_alone:
            await _delay(member, chosen)
        else:
            self._alone = chosen.key
            return [chosen]
        return []

    async def _wait_until_alone(self, member: Member, name: str) -> bool:
        """Wait until every in-flight run is recorded, for a lease at most; return whether every one is."""
        identity = member.identity
        deadline = monotonic() + member.setup.config.lease_s
        self._is_clearing = True
        try:
            while self._in_flight.has_unrecorded and name == identity.name and not identity.stopping.is_set():
                left_s = deadline - monotonic()
                if left_s <= 0:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._in_flight.wait_change(), left_s)
        finally:
            self._is_clearing = False
            self._in_flight.notify()
        return not self._in_flight.has_unrecorded


def _has_one_life_left(delivery: Delivery, max_lost: int) -> bool:
    lost = delivery.state.lost
    return lost > 0 and lost == max_lost - 1


async def _delay(member: Member, delivery: Delivery) -> None:
    """Let the run wait for a lease, with nothing counted; another worker may have no other run in flight then."""
    log.info("quarantined run is delayed: other runs take long", run=delivery.run_id)
    blob = encode_outcome(RunError("Quarantined", "waits for a worker with no other run in flight"), None)
    wait = Retried(delivery, delivery.state.text(), 0, member.setup.config.lease_ms, blob)
    server = member.server
    await server.commands.run([settling.retry(server.keys, member.identity.name, [wait])])


async def _release(member: Member, deliveries: Sequence[Delivery]) -> None:
    """Re-queue deliveries that have not started, with nothing counted."""
    by_queue: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        by_queue.setdefault(delivery.queue.name, []).append(delivery)
    keys = member.server.keys
    for name, group in by_queue.items():
        pending = [rescuing.pending_entry(keys, each) for each in group]
        await release(member, reading.queue_stream(keys, member.setup.app.name, name), pending)
