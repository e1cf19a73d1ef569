"""Lets go of what was kept long enough: contents of events whose ids are remembered for longer, and dead letters.

All else ends by itself, on the server. Only the leader does this; the lease's answers tell it when there is anything.
"""

from __future__ import annotations

import asyncio

from headrace import HeadraceError
from headrace_worker import protocol
from headrace_worker.membership.state import WorkerState
from headrace_worker.membership.watch import Pulse

_PAGE = 200


class Forgetter:
    """Forgets in parts that hold nobody up."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._wake = asyncio.Event()
        self.pulse = Pulse("forgetter")

    def tell(self) -> None:
        """Something was kept long enough."""
        self._wake.set()

    def stop(self) -> None:
        """The wait for work ends."""
        self._wake.set()

    async def tick(self) -> None:
        """Forgets all that it is told of, while this worker leads."""
        with self.pulse.waiting(self._wake.is_set):
            await self._wake.wait()
        self._wake.clear()
        state = self._state
        event_ids: list[str] = []
        while state.is_leader.is_set() and not state.stopping.is_set():
            call = protocol.forget(state.keys, event_ids, state.config.retention, _PAGE)
            (forgotten,) = await state.commands.run([call])
            self.pulse.beat()
            event_ids = forgotten.following
            if not event_ids and forgotten.letters < _PAGE:
                return

    async def recover(self, error: HeadraceError | None) -> None:
        """The next answer of the lease tells again of what is left."""
