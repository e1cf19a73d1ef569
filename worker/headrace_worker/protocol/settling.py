"""The calls that record the outcomes of runs, and dead-letter entries that can't be handled. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace import RunError
from headrace.calls.call import Argument, Call, script_call
from headrace.calls.sending import RECENT_ENTRIES
from headrace.formats.codec import encode_outcome
from headrace.formats.keys import Keys
from headrace.model.ids import run_id
from headrace.model.retention import Retention
from headrace_worker.protocol.delivery import Delivery, Stream
from headrace_worker.protocol.due import member_of, name_of
from headrace_worker.protocol.policy import before_id, policy


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A run that ends for good; `reason` is why the run is dead, empty if it is not."""

    delivery: Delivery
    letter: str
    elapsed_ms: int
    reason: str
    outcome: bytes


class Retried(msgspec.Struct, frozen=True, gc=False):
    """A run that waits for its next delivery, whose state is `state`."""

    delivery: Delivery
    state: str
    elapsed_ms: int
    delay_ms: int
    outcome: bytes


class Recorded(msgspec.Struct, frozen=True):
    """The result of a batch of outcomes.

    Attributes:
        missed: the places of runs that were not this worker's any more: nothing happened for them.
        foreign: the places among them of runs whose records name other entries.
        in_turn: members of `due` of the runs that are now first in the lines of their ordering keys.
    """

    missed: list[int]
    in_turn: list[str] = []
    foreign: list[int] = []


class BadEntry(msgspec.Struct, frozen=True):
    """An entry that can't be handled, and why.

    Attributes:
        reason: one word, `unreadable`, `unsettled` or `foreign`.
        event_id: of the event that the entry names; empty if it can't be read.
        job_id: of the job that the entry names; empty in `events`.
        ordering_key: of the run, which leaves its line, or of the event, which leaves the order; empty for none.
    """

    entry: str
    reason: str
    error: str
    event_id: str = ""
    job_id: str = ""
    ordering_key: str = ""


Record = Settled | Retried | BadEntry
"""What may be written of a run: the end, a wait for the next delivery, or the entry as a dead letter."""

_ERROR_OF = {"unreadable": "Unreadable", "unsettled": "Unsettled"}


def settle(keys: Keys, worker: str, runs: Sequence[Settled], retention: Retention) -> Call[Recorded]:
    """Record the ends of runs, and make the next runs of their ordering keys due."""
    queues: dict[str, int] = {}
    places: dict[tuple[str, str], int] = {}
    jobs: list[Argument] = []
    alike: dict[tuple[Argument, ...], list[int]] = {}
    for at, run in enumerate(runs):
        delivery = run.delivery
        job, queue = delivery.job, delivery.queue
        place = places.get((job, queue.key))
        if place is None:
            place = places[job, queue.key] = len(places) + 1
            jobs += (job, queue.name, queues.setdefault(queue.key, len(queues) + 1))
        end = (place, run.letter, delivery.state.text(), run.elapsed_ms, run.reason, run.outcome)
        alike.setdefault(end, []).append(at)
    order: list[int] = []
    ends: list[Argument] = []
    for alike_end, those in alike.items():
        order += those
        ends += (*alike_end, len(those), *(runs[at].delivery.entry for at in those))
    records = [keys.event(runs[at].delivery.event_id) for at in order]
    ordered = [place for place, at in enumerate(order, 1) if runs[at].delivery.ordering_key]
    head = (*policy(keys, retention), worker, RECENT_ENTRIES, before_id(keys), len(queues), len(places), len(ordered))
    names = [keys.runs, keys.dead, keys.fading, *queues, *records]
    if ordered:
        in_turn = [runs[order[place - 1]].delivery for place in ordered]
        names += (keys.due, keys.wake, *(keys.line(each.job, each.ordering_key) for each in in_turn))
        for place, each in zip(ordered, in_turn, strict=True):
            ends += (place, each.ordering_key)
    return script_call("settle", names, (*head, *jobs, *ends), lambda reply: _read_settled(reply, order))


def _read_settled(reply: list[int | bytes], order: Sequence[int]) -> Recorded:
    missed = sorted(order[abs(part) - 1] for part in reply if isinstance(part, int))
    foreign = [order[-part - 1] for part in reply if isinstance(part, int) and part < 0]
    names = [name_of(part) for part in reply if isinstance(part, bytes)]
    return Recorded(missed, [name for name in names if name is not None], foreign)


def retry(keys: Keys, worker: str, runs: Sequence[Retried]) -> Call[Recorded]:
    """Let runs wait for their next delivery."""
    names = [keys.due, keys.wake]
    argv: list[Argument] = [worker]
    for run in runs:
        delivery = run.delivery
        member = member_of(delivery.queue.name, delivery.run_id, delivery.ordering_key)
        names += (delivery.queue.key, keys.event(delivery.event_id))
        argv += (
            delivery.entry, member, delivery.job, run.state,
            delivery.queue.name, run.elapsed_ms, run.delay_ms, run.outcome,
        )  # fmt: skip
    return script_call("retry", names, argv, lambda reply: _read_settled(reply, range(len(runs))))


def started(keys: Keys, worker: str, runs: Sequence[tuple[Delivery, int]]) -> Call[int]:
    """Mark the records of runs as executing, each since so many ms."""
    names = [keys.event(delivery.event_id) for delivery, _ in runs]
    argv: list[Argument] = [worker]
    for delivery, elapsed_ms in runs:
        argv += (f"r:{delivery.job}", delivery.entry, elapsed_ms)
    return script_call("started", names, argv, int)


def dead_letter(keys: Keys, stream: Stream, bad: BadEntry, retention: Retention) -> Call[int]:
    """Move an entry that can't be handled to `dead`, as it is; the entry's run or event ends with it."""
    names = [keys.dead, keys.runs, keys.fading]
    if bad.event_id:
        names.append(keys.event(bad.event_id))
    place = ""
    if stream.app and bad.ordering_key:
        run = run_id(bad.event_id, f"{stream.app}/{bad.job_id}")
        place = member_of(stream.name, run, bad.ordering_key)
        names += (keys.due, keys.wake, keys.line(f"{stream.app}/{bad.job_id}", bad.ordering_key))
    elif bad.event_id and bad.ordering_key:
        place = bad.event_id
        names.append(keys.order(bad.ordering_key))
    job = f"{stream.app}/{bad.job_id}" if stream.app else ""
    outcome = encode_outcome(RunError(_ERROR_OF.get(bad.reason, "BadEntry"), bad.error), None)
    argv = (stream.group, bad.entry, bad.reason, bad.error, outcome, bad.event_id, job, place)
    return script_call("dead_letter", (stream.key, *names), (*policy(keys, retention), RECENT_ENTRIES, *argv), int)
