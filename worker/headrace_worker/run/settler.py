"""Records what runs came to: the one place where an outcome becomes a write, in batches of one round trip.

It must not decide anything: outcomes are made by the executor. An output that can't be carried is replaced by a note;
a batch that the server refuses for its content is halved until the culprit is alone, and that one is set aside.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import assert_never

import msgspec

from headrace import ConnectionFailed, HeadraceError, OutOfMemory, PermissionMissing, RunError, ServerNotReady
from headrace.calls.call import Call
from headrace.calls.sending import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from headrace.connect import AnyTransport
from headrace.formats.codec import encode_outcome, seal_outcome
from headrace.formats.seal import Seal
from headrace.model.values import note_of_uncarried
from headrace_worker import protocol
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import Hand, Held
from headrace_worker.membership.state import WorkerState
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol import BadEntry, Promoted, Recorded, Retried, Settled
from headrace_worker.protocol.delivery import Key
from headrace_worker.run.outcome import (
    Canceled,
    Failed,
    Invalid,
    Outcome,
    Released,
    RetryLater,
    Succeeded,
    TimedOut,
    Unreadable,
    name_of,
)
from headrace_worker.streams.dead_letters import bad_delivery, dead_letter
from headrace_worker.streams.isolation import isolate

log = get_logger("headrace.settler")

_RUN_BYTES = 200
REMEMBERED_S = 30.0
REMEMBERED_RUNS = 10_000
REMEMBERED_BYTES = 1_024
_TELL_STARTED_S = 0.25
_TOLD_RUNS = 10


class _Buried(msgspec.Struct, frozen=True, gc=False):
    error: str
    outcome: bytes = b""


_Record = Settled | Retried | _Buried


class _Item(msgspec.Struct, frozen=True, eq=False, gc=False):
    held: Held
    record: _Record
    size: int


class Settler:
    """Collects outcomes and records them; a run's slot is free only then, so nothing piles up in an outage."""

    def __init__(self, state: WorkerState, hand: Hand) -> None:
        self._state = state
        self._hand = hand
        self._seal = state.seal
        self._waiting: deque[_Item] = deque()
        self._under_way: list[_Item] = []
        self._fresh: list[Held] = []
        self._wake = asyncio.Event()
        self.pulse = Pulse("settler")
        self._remembered: dict[Key, tuple[float, _Record]] = {}
        self._remembered_before: dict[Key, tuple[float, _Record]] = {}

    def put(self, held: Held, outcome: Outcome) -> None:
        """The outcome will be recorded."""
        if isinstance(outcome, Released):
            self._hand.settled(held)
            return
        record = self._record(held, outcome)
        if self._seal is not None:
            record = _sealed(record, self._seal)
        self._waiting.append(_Item(held, record, len(record.outcome) + _RUN_BYTES))
        self._wake.set()

    def settle_at_once(self, held: Held, outcome: Outcome, transport: AnyTransport) -> None:
        """Record an outcome from another thread, past all that waits: this worker is about to end.

        Raises:
            ServerError: it is not recorded, and another worker takes the run.
        """
        record, keys = self._record(held, outcome), self._state.keys
        if self._seal is not None:
            record = _sealed(record, self._seal)
        if isinstance(record, Settled):
            transport.run([protocol.settle(keys, held.name, [record], self._state.config.retention)])
        elif isinstance(record, Retried):
            transport.run([protocol.retry(keys, held.name, [record])])

    def tell_started(self, held: Held) -> None:
        """The record will say that the run executes, if it still does when the next batch goes."""
        if not self._fresh:
            self._state.guard.later(_TELL_STARTED_S, self._wake.set)
        self._fresh.append(held)

    @property
    def is_idle(self) -> bool:
        """Every outcome so far is recorded."""
        return not (self._waiting or self._under_way)

    async def tick(self) -> None:
        """Records the next batch, once there is one."""
        with self.pulse.waiting(lambda: bool(self._waiting)):
            await self._wake.wait()
        self._wake.clear()
        batch = self._under_way = []
        try:
            self._fill(batch)
            await self._settle(batch)
        finally:
            self._waiting.extendleft(reversed([item for item in batch if not item.held.is_settled]))
            self._under_way = []
            if self._waiting:
                self._wake.set()

    def stop(self) -> None:
        """The wait for outcomes ends."""
        self._wake.set()

    async def recover(self, error: HeadraceError | None) -> None:  # noqa: ARG002 - what a loop is told
        """The batch that failed is first in line again, and what was to be told with it is told with the next."""
        self._wake.set()

    def remembers(self, key: Key) -> bool:
        """An entry of this key has had an outcome lately."""
        return key in self._remembered or key in self._remembered_before

    def settle_again(self, held: Held) -> bool:
        """A delivery whose outcome is known has turned up again: that is recorded again, and the job not called."""
        known = self._remembered.get(held.key) or self._remembered_before.get(held.key)
        if known is None or monotonic() - known[0] > REMEMBERED_S:
            return False
        if not isinstance(known[1], _Buried) and known[1].delivery.run_id != held.delivery.run_id:
            return False  # a server that was emptied may give an id once more
        self._hand.take(held)
        self._hand.ended(held)
        self._waiting.append(_Item(held, known[1], len(known[1].outcome) + _RUN_BYTES))
        self._wake.set()
        return True

    def _record(self, held: Held, outcome: Outcome) -> _Record:
        elapsed_ms = held.elapsed_ms(monotonic())
        delivery = held.delivery
        match outcome:
            case Succeeded(output):
                return Settled(delivery, "s", elapsed_ms, "", self._encode_output(output))
            case Failed(error, reason):
                return Settled(delivery, "f", elapsed_ms, reason, encode_outcome(error, None))
            case TimedOut(error):
                return Settled(delivery, "t", elapsed_ms, "timed_out", encode_outcome(error, None))
            case Invalid(error):
                return Settled(delivery, "i", elapsed_ms, "invalid_payload", encode_outcome(error, None))
            case Canceled(error):
                return Settled(delivery, "c", elapsed_ms, "", encode_outcome(error, None))
            case RetryLater(error, delay_s, state):
                blob = encode_outcome(error, None)
                return Retried(delivery, state.text(), elapsed_ms, round(delay_s * 1000), blob)
            case Unreadable(message):
                return _Buried(message)
            case Released():  # pragma: no cover - handled by put
                raise AssertionError("a released run has no record")
            case _:
                assert_never(outcome)

    def _encode_output(self, output: object) -> bytes:
        try:
            blob = encode_outcome(None, output)
        except BaseException as exc:  # noqa: BLE001 - an output's own code may raise anything, and the run has succeeded
            return encode_outcome(None, note_of_uncarried(output, exc))
        if len(blob) > self._state.config.max_output_bytes:
            limit = self._state.config.max_output_bytes
            return encode_outcome(None, f"<an output of {len(blob):,} bytes was not kept: the limit is {limit:,}>")
        return blob

    def _fill(self, batch: list[_Item]) -> None:
        """Move what waits into a batch, as much as goes in one; each item is in one of both at least, at any moment."""
        size = 0
        while self._waiting and len(batch) < MAX_BATCH_EVENTS:
            size += self._waiting[0].size
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(self._waiting[0])
            self._waiting.popleft()

    async def _settle(self, batch: list[_Item]) -> None:
        state = self._state
        settled = [item for item in batch if isinstance(item.record, Settled)]
        retried = [item for item in batch if isinstance(item.record, Retried)]
        groups: list[tuple[list[_Item], list[Settled] | list[Retried]]] = []
        calls: list[Call[Recorded]] = []
        if settled:
            records = [item.record for item in settled if isinstance(item.record, Settled)]
            calls.append(protocol.settle(state.keys, state.name, records, state.config.retention))
            groups.append((settled, records))
        if retried:
            waits = [item.record for item in retried if isinstance(item.record, Retried)]
            calls.append(protocol.retry(state.keys, state.name, waits))
            groups.append((retried, waits))
        results = await self._run(calls)
        answers = list(zip(groups, results, strict=True))
        for (group, told), result in answers:
            if not isinstance(result, HeadraceError):
                self._done(group, result.missed)
                state.observer.settled(told, result.missed)
        recorded = [(group, result) for (group, _), result in answers if isinstance(result, Recorded)]
        await self._promote([member for _, result in recorded for member in result.in_turn])
        await self._set_aside([group[place] for group, result in recorded for place in result.foreign])
        for (group, _), result in answers:
            if isinstance(result, HeadraceError):
                await self._after_refusal(group, result)
        for item in batch:
            if isinstance(item.record, _Buried):
                await self._bury(item, "unreadable", item.record.error)

    async def _promote(self, in_turn: list[str]) -> None:
        """The next runs of ordering keys are in their queues: they wait for no leader, who may be dead.

        What is not moved here for any reason is due, and its leader's to move.
        """
        if in_turn:
            call = protocol.promote(self._state.keys, in_turn, 0)
            (answer,) = await self._state.commands.run([call], partial=True)
            if isinstance(answer, Promoted):
                self._state.observer.promoted(answer.moved)

    async def _run(self, calls: list[Call[Recorded]]) -> list[Recorded | HeadraceError]:
        """Returns what the calls came to; with them goes what there is to tell of runs that have started."""
        now = monotonic()
        fresh = [held for held in self._fresh if not (held.has_ended or held.is_settled)]
        self._fresh = []
        executing = [(held.delivery, held.elapsed_ms(now)) for held in fresh]
        telling = [protocol.started(self._state.keys, self._state.name, executing)] if executing else []
        if not (calls or telling):
            return []
        try:
            return (await self._state.commands.run([*calls, *telling], partial=True))[: len(calls)]
        except HeadraceError:
            self._fresh = fresh + self._fresh
            raise

    async def _after_refusal(self, group: list[_Item], error: HeadraceError) -> None:
        if isinstance(error, ConnectionFailed | ServerNotReady | OutOfMemory | PermissionMissing):
            raise error
        if len(group) > 1:
            log.warning("batch of outcomes was refused and is halved", runs=len(group), error=str(error))
        for half in await isolate(group, error, self._bury_unsettled):
            await self._settle(list(half))

    async def _set_aside(self, foreign: list[_Item]) -> None:
        """Entries that other entries' runs were named in are in `dead`, but for those that others have put back."""
        error = "the run's record names another entry; this one was not written by Headrace, and settles nothing"
        for item in foreign:
            each = item.held.delivery
            bad = BadEntry(each.entry, "foreign", error, each.event_id, each.job_id)
            await dead_letter(self._state, each.queue, bad)

    async def _bury_unsettled(self, item: _Item, error: HeadraceError) -> None:
        await self._bury(item, "unsettled", str(error))

    async def _bury(self, item: _Item, reason: str, error: str) -> None:
        delivery = item.held.delivery
        bad, line = bad_delivery(delivery, error, reason), "entry can't be handled and is set aside in dead"
        await dead_letter(self._state, delivery.queue, bad, log, line, run=delivery.run_id)
        self._hand.settled(item.held)

    def _done(self, group: list[_Item], missed: list[int]) -> None:
        now = monotonic()
        for item in group:
            self._hand.settled(item.held)
            if item.size <= REMEMBERED_BYTES:
                self._remembered[item.held.key] = (now, _without_large_body(item.record))
        if missed:
            runs = [group[place].held.delivery.run_id for place in missed[:_TOLD_RUNS]]
            log.warning("outcomes dropped: their entries were not in our hands any more", count=len(missed), runs=runs)
        if len(self._remembered) > REMEMBERED_RUNS // 2:
            self._remembered_before, self._remembered = self._remembered, {}


def _sealed(record: _Record, seal: Seal) -> _Record:
    """Returns what is recorded of a run, with error and output sealed; what the codec can't seal is left out."""
    if isinstance(record, _Buried) or not record.outcome:
        return record
    run = record.delivery.run_id
    try:
        outcome = seal_outcome(record.outcome, run, seal)
    except BaseException as exc:  # noqa: BLE001 - the application's codec may raise anything
        fault = name_of(exc)  # without its message or traceback, which may show what was to be sealed
        log.error("the codec can't seal what a run came to; it is not kept", run=run, fault=fault)  # noqa: TRY400
        error = RunError("NotSealed", f"not kept: the codec raised {fault}")
        outcome = encode_outcome(error, None)
    return msgspec.structs.replace(record, outcome=outcome)


def _without_large_body(record: _Record) -> _Record:
    """Returns what is worth remembering: an event's body is not needed to record an outcome once more."""
    if isinstance(record, _Buried) or len(record.delivery.body or b"") <= _RUN_BYTES:
        return record
    return msgspec.structs.replace(record, delivery=msgspec.structs.replace(record.delivery, body=None))
