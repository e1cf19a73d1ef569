"""Turns an outcome into the record of its run: encoded, bounded and sealed. Pure, as far as the codec is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

import msgspec

from headrace import RunError
from headrace.formats.codec import FIRST, STATUS_OF, RunState, encode_outcome, seal_outcome
from headrace.formats.seal import Seal
from headrace.formats.trails import encode_note, encode_sent
from headrace.model.event import AttemptKind
from headrace.model.values import note_of_uncarried
from headrace_worker.logs.logger import get_logger
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.settling import STOPPED, BadEntry, Record, Retried, Settled, Trail
from headrace_worker.run.outcome import (
    Canceled,
    Failed,
    Invalid,
    Recordable,
    RetryLater,
    Stopped,
    Succeeded,
    TimedOut,
    Unreadable,
    name_of,
)
from headrace_worker.streams.dead_letters import bad_delivery

log = get_logger("headrace.settler")


def record_of(
    delivery: Delivery,
    outcome: Recordable,
    elapsed_ms: int,
    *,
    max_output_bytes: int,
    seal: Seal | None,
    sent: Sequence[str] | None = None,
) -> Record:
    """Return what is written of a run with this outcome.

    Args:
        max_output_bytes: a longer output is replaced by a note.
        seal: seals error and output; None stores them as they are.
        sent: the ids of the events that the attempt has sent.
    """
    record = _encoded(delivery, outcome, elapsed_ms, max_output_bytes)
    if seal is not None:
        record = _sealed(record, seal)
    if not sent and delivery.state is FIRST and type(outcome) is Succeeded:
        return record
    return _with_trail(record, outcome, sent or (), seal)


def _with_trail(record: Record, outcome: Recordable, sent: Sequence[str], seal: Seal | None) -> Record:
    """Return the record with what the attempt leaves behind beside it, if it leaves anything."""
    if isinstance(record, BadEntry):
        return record
    kind = _kind_of(outcome, record.delivery.state)
    if not (kind or sent):
        return record
    note = _note_of(getattr(outcome, "error", None), record.delivery.run_id, seal) if kind else "-"
    return msgspec.structs.replace(record, trail=Trail(kind, note, encode_sent(sent) if sent else ""))


def _kind_of(outcome: Recordable, state: RunState) -> AttemptKind | Literal[""]:
    """Return the kind of an attempt; empty if it is not listed, as its run has ended with it or it was none."""
    match outcome:
        case RetryLater(_, _, following, timed_out):
            return "" if following.attempt == state.attempt else "timed_out" if timed_out else "failed"
        case Unreadable() | Stopped():
            return ""
    return STATUS_OF[outcome.letter] if state.attempt > 1 or state.lost or state.replay else ""  # type: ignore[return-value] # a final status is one


def _note_of(error: RunError | None, run: str, seal: Seal | None) -> str:
    try:
        return encode_note(error, run, seal)
    except BaseException:  # noqa: BLE001 - the application's codec may raise anything, and `_sealed` has said so
        return "-"


def _encoded(delivery: Delivery, outcome: Recordable, elapsed_ms: int, max_output_bytes: int) -> Record:
    match outcome:
        case Succeeded():  # nearly every run: a pattern that takes the output out costs three times as much
            blob = _encode_output(outcome.output, max_output_bytes)
            return Settled(delivery, outcome.letter, elapsed_ms, outcome.reason, blob)
        case Failed(error) | TimedOut(error) | Invalid(error) | Canceled(error):
            return Settled(delivery, outcome.letter, elapsed_ms, outcome.reason, encode_outcome(error, None))
        case RetryLater(error, delay_s, state):
            blob = encode_outcome(error, None)
            return Retried(delivery, state.text(), elapsed_ms, round(delay_s * 1000), blob)
        case Stopped():
            return Settled(delivery, STOPPED, elapsed_ms, "", b"")
        case Unreadable(message):
            return bad_delivery(delivery, message)
        case _:
            assert_never(outcome)


def _encode_output(output: object, max_bytes: int) -> bytes:
    try:
        blob = encode_outcome(None, output)
    except BaseException as exc:  # noqa: BLE001 - an output's own code may raise anything; the run has succeeded
        return encode_outcome(None, note_of_uncarried(output, exc))
    if len(blob) > max_bytes:
        return encode_outcome(None, f"<an output of {len(blob):,} bytes was not kept: the limit is {max_bytes:,}>")
    return blob


def _sealed(record: Record, seal: Seal) -> Record:
    """Return the record with error and output sealed; leave out what the codec can't seal."""
    if isinstance(record, BadEntry) or not record.outcome:
        return record
    run = record.delivery.run_id
    try:
        outcome = seal_outcome(record.outcome, run, seal)
    except BaseException as exc:  # noqa: BLE001 - the application's codec may raise anything
        fault = name_of(exc)  # without message and traceback, which may show the secret
        log.error("the codec can't seal what a run came to; it is not kept", run=run, fault=fault)  # noqa: TRY400
        error = RunError("NotSealed", f"not kept: the codec raised {fault}")
        outcome = encode_outcome(error, None)
    return msgspec.structs.replace(record, outcome=outcome)
