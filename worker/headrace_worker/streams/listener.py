"""Hears over one connection what can't wait for a renewal of the lease: canceled runs, and changed controls.

A message may be lost with its connection. So the truth is read again whenever a subscription stands, and that of
canceled runs once in a lease, too. Each renewal of the lease brings the version of the controls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

from headrace import HeadraceError, PermissionMissing
from headrace.calls.call import as_text
from headrace.transport.faults import translate
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.loops import run_loop
from headrace_worker.membership.member import Member
from headrace_worker.membership.watch import Pulse
from headrace_worker.streams.cancellations import Cancellations

log = get_logger("headrace.worker")

_LONGEST_PAUSE_S = 1.0


class Listener:
    """A loop that is subscribed to the channels of all partitions."""

    def __init__(
        self, members: Sequence[Member], cancellations: Cancellations, on_controls: Mapping[str, Callable[[], None]]
    ) -> None:
        """Connect nothing yet.

        Args:
            members: all of the worker's. Each node of a cluster hears what is published on another one, so their
                servers take turns: one that is away lets the worker miss nothing of the others.
            on_controls: for each channel of controls, what to call when they have changed, or may have.
        """
        self._servers = cycle([each.server for each in members])
        self._guard = members[0].guard
        self._look_s = members[0].setup.config.lease_s
        self._cancellations = cancellations
        self._on_controls = on_controls
        self._subscription: Any = None
        self._may_subscribe = True
        self._over = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self.pulse = Pulse("listener")

    def start(self) -> None:
        """Listen from now on."""
        work = run_loop("listener", self, self._over.is_set, self._over, longest_pause_s=_LONGEST_PAUSE_S)
        self._listening = self._guard.part("listener", work, self._over.is_set)

    async def stop(self) -> None:
        """Listen no more."""
        self._over.set()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait((self._listening,))
        await self._close()

    async def tick(self) -> None:
        """Wait for a message, and do what it asks for."""
        try:
            message = await self._hear()
        except PermissionMissing:
            self._may_subscribe = False
            log.info("may not subscribe: the worker sees canceled runs, and limits set at run time, a little late")
            await self._close()
            return
        channel = "" if message is None else as_text(message["channel"])
        if on_change := self._on_controls.get(channel):
            on_change()
        elif message is not None and message["type"] == "message":
            self._cancellations.receive(as_text(message["data"]))
        else:  # a subscription stands, or nothing was heard for long
            await self._cancellations.look()

    async def recover(self, error: HeadraceError | None) -> None:  # noqa: ARG002 - as `Loop` has it
        """Subscribe again at the next tick."""
        await self._close()

    async def _hear(self) -> dict[str, Any] | None:
        """Return the next message; None if there is none for long."""
        if not self._may_subscribe:
            await asyncio.sleep(self._look_s / 3)
            return None
        try:
            if self._subscription is None:
                server = next(self._servers)
                self._subscription = server.commands.listener(server.keys.events)
                await self._subscription.subscribe(*self._cancellations.channels, *self._on_controls)
            message: dict[str, Any] | None = await self._subscription.get_message(timeout=self._look_s)
        except Exception as exc:
            raise translate(exc) from exc
        return message

    async def _close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.aclose()
