"""Hears that something has changed for queues at run time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headrace import HeadraceError, PermissionMissing
from headrace.transport.faults import translate
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.identity import Identity
from headrace_worker.membership.server import ServerAccess
from headrace_worker.membership.watch import Pulse
from headrace_worker.tasks.guard import own_task

log = get_logger("headrace.worker")

_LOOK_S = 3_600.0
"""A wait ends so often by itself; that costs the server nothing."""
_AGAIN_S = 1.0


class Listener:
    """A loop that is subscribed to the channel of the controls, over a connection of its own.

    It may fail for as long as it likes: each renewal of the lease brings the version of the controls, too.
    """

    def __init__(self, server: ServerAccess, identity: Identity, on_change: Callable[[], None]) -> None:
        """Connect nothing yet.

        Args:
            on_change: is called at each change, and when changes may have been missed.
        """
        self._server = server
        self._identity = identity
        self._on_change = on_change
        self.pulse = Pulse("listener")

    async def tick(self) -> None:
        """Listen until the worker stops."""
        stopping = self._identity.stopping
        with self.pulse.waiting(stopping.is_set):
            listening = own_task(self._listen_again_and_again())
            try:
                await stopping.wait()
            finally:
                listening.cancel()
                await asyncio.wait((listening,))

    async def _listen_again_and_again(self) -> None:
        while True:
            try:
                await self._listen()
            except PermissionMissing:
                log.info("may not subscribe: the worker sees limits that are set at run time a few seconds late")
                return
            except HeadraceError:
                await asyncio.sleep(_AGAIN_S)

    async def _listen(self) -> None:
        keys = self._server.keys
        try:
            listener = self._server.commands.listener(keys.events)
            try:
                await listener.subscribe(keys.controls_channel)
                while True:  # the first message says that the subscription stands
                    if await listener.get_message(timeout=_LOOK_S) is not None:
                        self._on_change()
            finally:
                await listener.aclose()
        except Exception as exc:
            raise translate(exc) from exc

    async def recover(self, error: HeadraceError | None) -> None:
        """Listen again at the next tick."""
