"""Ends the functions of canceled runs.

The server cancels a run at once; what is left is its function. A message names it. As a message may be lost, `look`
finds which in-flight runs are not this worker's any more: the entry of a canceled run is marked, or not pending.
Nothing here writes to the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from headrace_worker.membership.in_flight import REPORTED, InFlight
from headrace_worker.membership.member import Member
from headrace_worker.protocol import rescuing
from headrace_worker.protocol.delivery import Key, Stream
from headrace_worker.tasks.guard import own_task

_PAGE = 1_000
_ON_ITS_WAY_S = 0.5
"""After this time the delivery of a run has arrived that was canceled while it was on its way here."""


class Cancellations:
    """Knows which in-flight runs of a worker are canceled, in all partitions.

    Attributes:
        channels: on which the messages come.
    """

    def __init__(self, members: Sequence[Member], in_flight: InFlight, cancel: Callable[[Key], bool]) -> None:
        """Look at nothing yet.

        Args:
            cancel: ends the function of a run; returns whether the run is in flight.
        """
        self._members = members
        self._in_flight = in_flight
        self._cancel = cancel
        self._guard = members[0].guard
        self.channels = [member.server.keys.canceled_channel for member in members]

    def receive(self, text: str) -> None:
        """End the function of the run that a message names, if one of this worker's names has it."""
        entry, queue, name = (*text.split(" "), "", "", "")[:3]
        is_own = any(name == member.identity.name for member in self._members)
        if is_own and not self._cancel((queue, entry)):
            self._guard.later(_ON_ITS_WAY_S, self._look_soon)

    def _look_soon(self) -> None:
        self._guard.detached("the look for canceled runs", self.look())

    async def look(self) -> None:
        """End the functions of runs that are not this worker's any more; raise once all partitions were looked at."""
        looks = [own_task(self._look_in(member)) for member in self._members]
        for failure in filter(None, await asyncio.gather(*looks, return_exceptions=True)):
            raise failure

    async def _look_in(self, member: Member) -> None:
        name, partition = member.identity.name, member.setup.keys.partition
        runs = [
            run
            for run in self._in_flight.runs.values()
            if run.stage < REPORTED and run.name == name and run.delivery.queue.partition == partition
        ]
        for queue in {run.delivery.queue.key: run.delivery.queue for run in runs}.values():
            pending = await self._pending(member, queue, name)
            for run in runs:
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
