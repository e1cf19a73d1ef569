"""Moves due members into their streams: delayed events into `events`, waiting runs into their queues.

Only the leader does this. It sleeps until the next due time or until an earlier one is set, and does not poll: a rare
look is only for members that a former leader was woken for and did not move.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from headrace import HeadraceError, ServerFull
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.loops import wait_either
from headrace_worker.membership.member import Member
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol import due, reading
from headrace_worker.protocol.due import DueMember, Promoted
from headrace_worker.protocol.settling import BadEntry
from headrace_worker.streams.isolation import is_refusal, isolate, require_foreign_record
from headrace_worker.streams.reader import Reader

log = get_logger("headrace.promoter")

AHEAD = 200
"""How many members of `due` one call reads, so that the next call moves them."""
_SEARCH_LEASES = 2
_SHORTEST_READ_S = 0.003
"""A shorter wait might be over before the server has begun the read that the wait's end has to end."""


class Promoter:
    """Keeps `due` free of members that are due."""

    def __init__(self, member: Member, on_lease_ended: Callable[[], None]) -> None:
        """Promote nothing yet.

        Args:
            on_lease_ended: is called when the leader has to look at once for workers whose lease has ended.
        """
        self._server = member.server
        self._identity = member.identity
        self._observer = member.observer
        self._on_lease_ended = on_lease_ended
        self._upcoming: list[DueMember] | None = None
        self._ordered: dict[str, str] = {}
        self._is_full = False
        self._look_at = 0.0
        self._went_back = False
        lease_s = member.setup.config.lease_s
        self._search_s = _SEARCH_LEASES * lease_s
        # Shorter than it takes until another worker leads, so that a wake-up is not lost with this worker.
        self._longest_read_s = max(lease_s * 2 / 3, _SHORTEST_READ_S)
        self.pulse = Pulse("promoter")
        self.reader = Reader(member.server, member.guard, self.pulse, self._longest_read_s)

    async def tick(self) -> None:
        """Move what is due, once this worker leads, then sleep until the next due time or an earlier one."""
        identity = self._identity
        with self.pulse.waiting(identity.is_leader.is_set):
            await wait_either(identity.is_leader, identity.stopping)
        if identity.stopping.is_set():
            return
        if monotonic() >= self._look_at:
            await self._look()
        wait_s = max(self._look_at - monotonic(), 0)
        if wait_s > _SHORTEST_READ_S:
            if await self._listen(wait_s) == "lease":
                self._on_lease_ended()
        else:
            await asyncio.sleep(wait_s)

    async def recover(self, _error: HeadraceError | None) -> None:
        """Look at `due` anew: it may have changed during an outage."""
        self.forget()

    def forget(self) -> None:
        """Look at `due` anew at the next tick."""
        self._upcoming, self._look_at = None, 0.0

    def set_back(self) -> None:
        """Note that the server's clock has gone back: make waiting runs due as much earlier, before anything else."""
        self._went_back, self._look_at = True, 0.0

    async def _listen(self, wait_s: float) -> str | None:
        """Wait for the time, or until an earlier due time is set; return what ended the wait."""
        longest_s = self._longest_read_s
        call = due.listen_wake(self._server.keys, min(wait_s, longest_s))
        woken_by = await (self.reader.read(call) if wait_s > longest_s else self.reader.read_until(wait_s, call))
        if woken_by:
            self.forget()
        return woken_by

    async def _look(self) -> None:
        """Move due members; set the next look to the next due time."""
        if self._went_back:
            await self._set_back()
        now_ms = await self._promote_due()
        wait_s = self._search_s
        if self._upcoming:
            wait_s = min(wait_s, max(self._upcoming[0].due_ms - now_ms, 0) / 1000)
        if self._is_full:
            wait_s = max(wait_s, 0.5)
        self._look_at = monotonic() + wait_s

    async def _set_back(self) -> None:
        log.warning("the server's clock has gone back; leases and retries are set back with it")
        while (await self._server.commands.run([due.set_back(self._server.keys, AHEAD)]))[0]:
            self.pulse.beat()
        self._went_back, self._upcoming = False, None

    async def _promote_due(self) -> int:
        """Move the due members that were read, and read again until none is due; return the server's time."""
        while True:
            looked = await self._promote([each.member for each in self._upcoming or ()])
            self.pulse.beat()
            for member in looked.foreign:
                await self._dead_letter(member, "Headrace did not write this member of due")
            self._upcoming = looked.ahead
            if self._is_full or not (looked.foreign or (looked.ahead and looked.ahead[0].due_ms <= looked.now_ms)):
                return looked.now_ms

    async def _promote(self, members: Sequence[str]) -> Promoted:
        """Promote runs and events in separate calls: a full server takes the runs, so that they can end."""
        keys = self._server.keys
        events = [member for member in members if member.startswith("e:")]
        runs = [member for member in members if not member.startswith("e:")]
        parts, calls = [runs], [due.promote(keys, runs, AHEAD)]
        if events:
            parts, calls = [events, *parts], [due.promote(keys, events, 0, self._ordered), *calls]
        answers = await self._server.commands.run(calls, partial=True)
        self._is_full = isinstance(answers[0], ServerFull)
        if isinstance(answers[0], Promoted):  # ordering keys are only in records; the next look knows them
            self._ordered = answers[0].ordered
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, Promoted):
                self._report(answer)
            elif is_refusal(answer):
                await self._promote_without_culprit(part, answer)
            elif isinstance(answer, HeadraceError) and not isinstance(answer, ServerFull):
                raise answer
        looked = answers[-1]
        return looked if isinstance(looked, Promoted) else await self._promote([])

    def _report(self, answer: Promoted) -> None:
        self._observer.promoted(answer.moved)
        if answer.dropped:
            log.error("members of due had nothing to deliver any more and are gone", members=answer.dropped)

    async def _promote_without_culprit(self, members: Sequence[str], error: HeadraceError) -> None:
        """Dead-letter members that are refused because of their records, and promote the rest."""
        left = deque(await isolate(members, error, self._dead_letter_foreign))
        while left:
            part = left.popleft()
            call = due.promote(self._server.keys, part, 0, self._ordered)
            (answer,) = await self._server.commands.run([call], partial=True)
            self.pulse.beat()
            if isinstance(answer, Promoted):
                self._report(answer)
            elif is_refusal(answer):
                left.extendleft(reversed(await isolate(part, answer, self._dead_letter_foreign)))
            elif not isinstance(answer, ServerFull):
                raise answer

    async def _dead_letter_foreign(self, member: str, error: HeadraceError) -> None:
        await require_foreign_record(self._server, due.event_of(member), error)
        await self._dead_letter(member, str(error))

    async def _dead_letter(self, member: str | bytes, error: str) -> None:
        log.error("member of due can't be handled and is moved to dead", member=repr(member), error=error)
        keys, run = self._server.keys, self._server.commands.run
        await run(due.dead_letter_due(keys, member, error), partial=True)
        self._observer.dead_lettered(reading.events_stream(keys), BadEntry("", "unreadable", error))
        if isinstance(member, str) and (line := due.line_of(keys, member)):
            _, following = await run(due.leave_line(line, member))
            if following is not None:
                await run([due.make_due(keys, following)])
