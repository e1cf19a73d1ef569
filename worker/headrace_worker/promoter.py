"""Moves what is due into its stream: delayed events into `events`, runs that waited into their queues.

Only the leader does. It sleeps until the next due time or until an earlier one is set, and never polls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from headrace import HeadraceError, OutOfMemory
from headrace_worker import protocol
from headrace_worker.loops import wait_either
from headrace_worker.protocol import DueMember
from headrace_worker.reading import Reader
from headrace_worker.state import WorkerState

log = structlog.get_logger("headrace.promoter")

AHEAD = 200
"""How many members of `due` are looked at in one call, and so moved by the next."""


class Promoter:
    """Keeps `due` without anything that is due."""

    def __init__(self, state: WorkerState, on_lease_ended: Callable[[], None]) -> None:
        """Nothing is promoted yet.

        Args:
            on_lease_ended: is called when the leader is to look at once for workers whose lease has ended.
        """
        self._state = state
        self._on_lease_ended = on_lease_ended
        self._ahead: list[DueMember] | None = None
        self._is_full = False
        self.reader = Reader(state)

    async def tick(self) -> None:
        """Moves what is due, once this worker leads, then sleeps until the next time or an earlier one."""
        state = self._state
        await wait_either(state.is_leader, state.stopping)
        if state.stopping.is_set():
            return
        now_ms = await self._promote_due()
        wait_s = state.config.block_s
        if self._ahead:
            wait_s = min(wait_s, max(self._ahead[0].due_ms - now_ms, 0) / 1000)
        if self._is_full:
            wait_s = max(wait_s, 0.5)
        if wait_s > 0:
            rung = await self.reader.read(protocol.listen_wake(state.keys, wait_s))
            if rung:
                self._ahead = None
            if rung == "lease":
                self._on_lease_ended()

    async def recover(self, _error: HeadraceError | None) -> None:
        """What was known of `due` may have changed during an outage."""
        self._ahead = None

    async def _promote_due(self) -> int:
        """Moves what was seen ahead and is due by now, and looks again until nothing is; returns the server's time."""
        while True:
            members = [due.member for due in self._ahead or ()]
            looked = await self._promote(members)
            if not looked.ahead or looked.ahead[0].due_ms > looked.now_ms or self._is_full:
                return looked.now_ms

    async def _promote(self, members: Sequence[str]) -> protocol.Promoted:
        """Runs and events go in calls of their own: a full server takes the runs, so that what was begun can end."""
        keys = self._state.keys
        foreign = [member for member in members if protocol.member_key(keys, member) is None]
        events = [member for member in members if member.startswith("e:")]
        runs = [member for member in members if member.startswith("r:") and member not in foreign]
        calls = [protocol.promote(keys, events, 0)] if events else []
        calls.append(protocol.promote(keys, runs, AHEAD))
        answers = await self._state.commands.run(calls, partial=True)
        self._is_full = isinstance(answers[0], OutOfMemory)
        for answer in answers:
            if isinstance(answer, HeadraceError) and not isinstance(answer, OutOfMemory):
                raise answer
            if isinstance(answer, protocol.Promoted) and answer.dropped:
                log.error("members of due had nothing to deliver any more and are gone", members=answer.dropped)
        looked: protocol.Promoted = answers[-1]
        self._ahead = looked.ahead
        if foreign:
            await self._drop_foreign(foreign)
        return looked

    async def _drop_foreign(self, members: Sequence[str]) -> None:
        log.error("members of due that Headrace did not write are taken out", members=list(members))
        await self._state.commands.run([protocol.forget_due(self._state.keys, members)])
