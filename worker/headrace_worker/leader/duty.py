"""A duty that waits until the lease's answers report work."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from headrace_worker.membership.watch import Pulse


class Duty(ABC):
    """A loop that works when woken, and once more at the stop."""

    def __init__(self, name: str) -> None:
        self._wake = asyncio.Event()
        self.pulse = Pulse(name)

    def stop(self) -> None:
        """End the wait for work."""
        self._wake.set()

    async def tick(self) -> None:
        """Wait for work and do it."""
        with self.pulse.waiting(self._wake.is_set):
            await self._wake.wait()
        self._wake.clear()
        await self._work()

    @abstractmethod
    async def _work(self) -> None:
        """Do the reported work; do nothing after a stop, or while another worker leads."""
