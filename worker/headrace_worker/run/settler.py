"""Records the outcomes of runs: the one place where an outcome becomes a write, in batches of one round trip.

    put → batch → record in one round trip → free slots → promote the next of each line → dead-letter → halve a refusal

The settler must not decide an outcome: the executor does. A note replaces an output that can't be carried. A batch
that the server refuses for its content is halved until the culprit is alone, which is then dead-lettered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec

from headrace import AuthenticationFailed, HeadraceError, PermissionMissing, ServerFull
from headrace.calls.call import Call
from headrace.calls.sending import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from headrace.connect import AnyTransport
from headrace.errors import OUTAGE
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import ENDED, RECORDED, REPORTED, InFlight, InFlightRun
from headrace_worker.membership.member import Member
from headrace_worker.membership.run_counts import ended_of
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol import due, reading, settling
from headrace_worker.protocol.due import Promoted
from headrace_worker.protocol.settling import BadEntry, Ended, Record, Recorded, Retried, Settled
from headrace_worker.run.outcome import Outcome, Recordable, Released
from headrace_worker.run.outcome_memory import OutcomeMemory
from headrace_worker.run.record import record_of
from headrace_worker.run.started_marks import StartedMarks, elapsed
from headrace_worker.streams.dead_letters import bad_delivery, dead_letter
from headrace_worker.streams.isolation import isolate

log = get_logger("headrace.settler")

_RUN_BYTES = 200
_LOGGED_RUNS = 10
_FOREIGN = "the run's record names another entry; this one was not written by Headrace, and settles nothing"


class _Group(msgspec.Struct, frozen=True):
    """The runs of a batch that one script records."""

    runs: list[InFlightRun]
    records: Sequence[Settled] | Sequence[Retried]
    call: Call[Recorded]
    ended: list[Ended]


class Settler:
    """Collects outcomes and records them. A run's slot is free only then, so nothing piles up in an outage.

    Attributes:
        memory: the recent records.
        started: runs whose records will say that they execute.
        limited: the keys of queues whose runs in flight are limited: when one has ended, the next may start.
    """

    def __init__(self, member: Member, in_flight: InFlight) -> None:
        self._member = member
        self._config, self._seal = member.setup.config, member.setup.seal
        self._server = member.server
        self._identity = member.identity
        self._observer = member.observer
        self._counts = member.counts
        self._in_flight = in_flight
        self._waiting: deque[InFlightRun] = deque()
        self._under_way: list[InFlightRun] = []
        self._wake = asyncio.Event()
        self.pulse = Pulse("settler")
        self.memory = OutcomeMemory()
        self.limited: frozenset[str] = frozenset()
        self.started = StartedMarks(member.guard, self._wake.set)

    def put(self, run: InFlightRun, outcome: Outcome) -> None:
        """Record the run's outcome with the next batch; a released run has nothing to record."""
        if isinstance(outcome, Released):
            self._in_flight.mark_recorded(run)
            return
        run.record = self._record_of(run, outcome)
        self._waiting.append(run)
        run.stage = REPORTED
        self._wake.set()

    def settle_again(self, run: InFlightRun) -> bool:
        """Record the run's outcome once more, if it is remembered; return whether it is."""
        known = self.memory.recall(run.delivery)
        if known is None:
            return False
        run.record = known
        run.stage = ENDED
        self._waiting.append(run)
        self._in_flight.take(run)
        self._wake.set()
        return True

    def settle_at_once(self, run: InFlightRun, outcome: Recordable, transport: AnyTransport) -> None:
        """Record an outcome from another thread, before all that wait: this worker is about to end.

        Raises:
            ServerError: the outcome is not recorded, and another worker takes the run.
        """
        record, keys = self._record_of(run, outcome), self._server.keys
        if isinstance(record, Settled):
            transport.run([settling.settle(keys, run.name, [record], self._config.retention)])
        elif isinstance(record, Retried):
            transport.run([settling.retry(keys, run.name, [record])])

    @property
    def is_idle(self) -> bool:
        """Whether every outcome so far is recorded."""
        return not (self._waiting or self._under_way)

    async def tick(self) -> None:
        """Wait for outcomes, and record the next batch."""
        with self.pulse.waiting(lambda: bool(self._waiting)):
            await self._wake.wait()
        self._wake.clear()
        batch = self._under_way = []
        try:
            self._fill(batch)
            await self._settle(batch)
        finally:
            self._waiting.extendleft(reversed([run for run in batch if run.stage < RECORDED]))
            self._under_way = []
            if self._waiting:
                self._wake.set()

    def stop(self) -> None:
        """End the wait for outcomes."""
        self._wake.set()

    async def recover(self, error: HeadraceError | None) -> None:  # noqa: ARG002 - the signature of a loop
        """Retry the failed batch first; pending "started" marks go with it."""
        self._wake.set()

    def _record_of(self, run: InFlightRun, outcome: Recordable) -> Record:
        elapsed_ms = run.elapsed_ms(monotonic())
        max_bytes = self._config.max_output_bytes
        return record_of(
            run.delivery, outcome, elapsed_ms, max_output_bytes=max_bytes, seal=self._seal, sent=run.sent_ids
        )

    def _fill(self, batch: list[InFlightRun]) -> None:
        """Move waiting runs into a batch, as many as it takes; at any moment each run is in at least one of the two."""
        size = 0
        while self._waiting and len(batch) < MAX_BATCH_EVENTS:
            size += _size_of(self._waiting[0].record)
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(self._waiting[0])
            self._waiting.popleft()

    async def _settle(self, batch: Sequence[InFlightRun]) -> None:
        groups = self._groups(batch)
        answers = list(zip(groups, await self._run(groups), strict=True))
        done = [(group, answer) for group, answer in answers if isinstance(answer, Recorded)]
        for group, recorded in done:
            self._note_recorded(group, recorded)
        await self._promote([member for _, recorded in done for member in recorded.in_turn])
        for run in [group.runs[place] for group, recorded in done for place in recorded.foreign]:
            # Not dead-lettered if another worker has re-queued it. Without the ordering key: the run keeps its line.
            each = run.delivery
            bad = BadEntry(each.entry, "foreign", _FOREIGN, each.event_id, each.job_id)
            await dead_letter(self._member, each.queue, bad)
        for group, answer in answers:
            if isinstance(answer, HeadraceError):
                await self._after_refusal(group.runs, answer)
        for run in batch:
            if isinstance(run.record, BadEntry):
                await self._dead_letter(run, run.record)

    def _groups(self, batch: Sequence[InFlightRun]) -> list[_Group]:
        """Return one group for each script: the runs that end, and the runs that wait for their next delivery."""
        keys, name, groups = self._server.keys, self._identity.name, list[_Group]()
        if settled := [(run, run.record) for run in batch if isinstance(run.record, Settled)]:
            ends = [record for _, record in settled]
            call, ended = settling.settle_counted(keys, name, ends, self._config.retention)
            groups.append(_Group([run for run, _ in settled], ends, call, ended))
        if retried := [(run, run.record) for run in batch if isinstance(run.record, Retried)]:
            waits = [record for _, record in retried]
            call = settling.retry(keys, name, waits)
            groups.append(_Group([run for run, _ in retried], waits, call, ended_of(waits)))
        return groups

    async def _run(self, groups: Sequence[_Group]) -> list[Recorded | HeadraceError]:
        """Return the answers to the groups' calls; send "started" marks and wake-ups with them."""
        calls = [group.call for group in groups]
        started = self.started.take()
        wakes = self._wakes(groups)
        marks = [settling.started(self._server.keys, self._identity.name, elapsed(started))] if started else []
        if not (calls or marks):
            return []
        try:
            return (await self._server.commands.run([*calls, *marks, *wakes], partial=True))[: len(calls)]
        except HeadraceError:
            self.started.restore(started)
            raise

    def _wakes(self, groups: Sequence[_Group]) -> list[Call[None]]:
        """Return the wake-up of a worker for the run that a limit may let start now, if there is a limit."""
        if self.limited and any(run.delivery.queue.key in self.limited for group in groups for run in group.runs):
            return [reading.wake_worker(self._server.keys, self._member.setup.app.name)]
        return []

    def _note_recorded(self, group: _Group, recorded: Recorded) -> None:
        for run in group.runs:
            self._in_flight.mark_recorded(run)
        self.memory.remember(group.runs, group.records)
        if recorded.missed:
            runs = [group.runs[place].delivery.run_id for place in recorded.missed[:_LOGGED_RUNS]]
            count = len(recorded.missed)
            log.warning("outcomes dropped: their entries were not pending here any more", count=count, runs=runs)
        ended: Sequence[Ended] = group.ended
        records: Sequence[Settled | Retried] = group.records
        if recorded.missed or recorded.canceled:
            records = [settling.canceled(each) if at in recorded.canceled else each for at, each in enumerate(records)]
            ended = ended_of([each for at, each in enumerate(records) if at not in recorded.missed])
        self._counts.add(ended)
        self._observer.settled(records, recorded.missed)

    async def _promote(self, in_turn: list[str]) -> None:
        """Move the next runs of ordering keys into their queues, without the leader, which may be dead.

        The leader moves runs that are refused here: they are due.
        """
        if in_turn:
            call = due.promote(self._server.keys, in_turn, 0)
            (answer,) = await self._server.commands.run([call], partial=True)
            if isinstance(answer, Promoted):
                self._observer.promoted(answer.moved)

    async def _after_refusal(self, runs: Sequence[InFlightRun], error: HeadraceError) -> None:
        if isinstance(error, (*OUTAGE, ServerFull, PermissionMissing, AuthenticationFailed)):
            raise error
        if len(runs) > 1:
            log.warning("batch of outcomes was refused and is halved", runs=len(runs), error=str(error))
        for half in await isolate(runs, error, self._dead_letter_unsettled):
            await self._settle(half)

    async def _dead_letter_unsettled(self, run: InFlightRun, error: HeadraceError) -> None:
        await self._dead_letter(run, bad_delivery(run.delivery, error, "unsettled"))

    async def _dead_letter(self, run: InFlightRun, bad: BadEntry) -> None:
        line = "entry can't be handled and is moved to dead"
        await dead_letter(self._member, run.delivery.queue, bad, log, line, run=run.delivery.run_id)
        self._in_flight.mark_recorded(run)
        if run.delivery.queue.key in self.limited:
            await self._server.commands.run([reading.wake_worker(self._server.keys, self._member.setup.app.name)])


def _size_of(record: Record | None) -> int:
    """Return about how many bytes a record takes in a batch."""
    if record is None or isinstance(record, BadEntry):
        return _RUN_BYTES
    size = _RUN_BYTES + len(record.outcome)
    return size if record.trail is None else size + len(record.trail.note) + len(record.trail.sent)
