"""Hears which runs are canceled, and ends their functions.

The server cancels a run at once; what is left is its function. A message may be lost with its connection. So whenever a
subscription stands, and now and then, the worker looks which of its in-flight runs are still its own: the entry of a
canceled run is marked, or not pending any more. It must not write to the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from headrace import HeadraceError, PermissionMissing
from headrace.calls.call import as_text
from headrace.transport.faults import translate
from headrace_worker.membership.in_flight import REPORTED, InFlight
from headrace_worker.membership.member import Member
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol import rescuing
from headrace_worker.protocol.delivery import Key, Stream
from headrace_worker.tasks.guard import own_task

_PAGE = 1_000
_ON_ITS_WAY_S = 0.5
"""After this time the delivery of a run has arrived that was canceled while it was on its way here."""


class Cancellations:
    """A loop that is subscribed to the channels of all partitions, over one connection.

    Attributes:
        over: ends the loop when set.
    """

    def __init__(self, members: Sequence[Member], in_flight: InFlight, cancel: Callable[[Key], bool]) -> None:
        """Connect nothing yet.

        Args:
            cancel: ends the function of a run; returns whether the run is in flight.
        """
        self._members = members
        self._in_flight = in_flight
        self._cancel = cancel
        self._guard = members[0].guard
        self._look_s = members[0].setup.config.lease_s
        self._may_listen = True
        self.over = asyncio.Event()
        self.pulse = Pulse("cancellations")

    async def tick(self) -> None:
        """Listen until the loop is over, or the connection is lost."""
        listening = own_task(self._listen() if self._may_listen else self._look_now_and_then())
        ending = own_task(self.over.wait())
        try:
            await asyncio.wait((listening, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, ending):
                task.cancel()
            await asyncio.wait((listening, ending))
        if not listening.cancelled():
            listening.result()

    async def recover(self, error: HeadraceError | None) -> None:
        """Listen again at the next tick; if this user may not, only look now and then."""
        self._may_listen = self._may_listen and not isinstance(error, PermissionMissing)

    async def _listen(self) -> None:
        first = self._members[0].server
        try:
            listener = first.commands.listener(first.keys.events)
            try:
                await listener.subscribe(*(member.server.keys.canceled_channel for member in self._members))
                while True:  # the first messages say that the subscriptions stand
                    message = await listener.get_message(timeout=self._look_s)
                    if message is not None and message["type"] == "message":
                        self._receive(as_text(message["data"]))
                    else:
                        await self._look()
            finally:
                await listener.aclose()
        except HeadraceError:
            raise
        except Exception as exc:
            raise translate(exc) from exc

    def _receive(self, text: str) -> None:
        """End the function of a run that one of this worker's names has."""
        entry, queue, name = (*text.split(" "), "", "", "")[:3]
        is_own = any(name == member.identity.name for member in self._members)
        if is_own and not self._cancel((queue, entry)):
            self._guard.later(_ON_ITS_WAY_S, self._look_soon)

    def _look_soon(self) -> None:
        self._guard.detached("the look for canceled runs", self._look())

    async def _look_now_and_then(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(self._look_s / 3)

    async def _look(self) -> None:
        """End the functions of runs that are not this worker's any more."""
        runs = [run for run in self._in_flight.runs.values() if run.stage < REPORTED]
        for member in self._members:
            name, partition = member.identity.name, member.setup.keys.partition
            mine = [run for run in runs if run.name == name and run.delivery.queue.partition == partition]
            for queue in {run.delivery.queue.key: run.delivery.queue for run in mine}.values():
                pending = await self._pending(member, queue, name)
                for run in mine:
                    if run.key[0] == queue.key and run.key[1] not in pending:
                        self._cancel(run.key)

    async def _pending(self, member: Member, queue: Stream, name: str) -> set[str]:
        found: set[str] = set()
        after = ""
        while True:
            (page,) = await member.server.commands.run([rescuing.read_held(queue, name, after, _PAGE)])
            found.update(entry for entry, is_canceled in page.items() if not is_canceled)
            if len(page) < _PAGE:
                return found
            after = next(reversed(page))
