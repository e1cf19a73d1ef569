"""The calls that record the outcomes of runs, and dead-letter entries that can't be handled. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace import RunError
from headrace.calls.arguments import Policy, before_id, pack, policy
from headrace.calls.call import Call, script_call
from headrace.calls.indexing import MOST_INDEX_ENTRIES
from headrace.formats.codec import FIRST, encode_outcome
from headrace.formats.keys import Keys
from headrace.model.ids import run_id
from headrace.model.retention import Retention
from headrace_worker.protocol.delivery import Delivery, Stream
from headrace_worker.protocol.due import member_of, name_of


class Trail(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt leaves behind in its run's record, beside the run's state; see `formats.trails`.

    Attributes:
        kind: an AttemptKind; empty: it is not listed among the attempts.
        sent: the events that it has sent; empty for none.
    """

    kind: str
    note: str
    sent: str


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A run that ends for good; `reason` is why the run is dead, empty if it is not."""

    delivery: Delivery
    letter: str
    elapsed_ms: int
    reason: str
    outcome: bytes
    trail: Trail | None = None


STOPPED = "-"
"""The letter of a run of which nothing is recorded, as `settle.lua` has it."""


class Retried(msgspec.Struct, frozen=True, gc=False):
    """A run that waits for its next delivery, whose state is `state`."""

    delivery: Delivery
    state: str
    elapsed_ms: int
    delay_ms: int
    outcome: bytes
    trail: Trail | None = None


def canceled(record: Settled | Retried) -> Settled:
    """Return the record of an attempt whose run was canceled before its outcome came."""
    return Settled(record.delivery, "c", record.elapsed_ms, "", b"")


class Recorded(msgspec.Struct, frozen=True):
    """The result of a batch of outcomes.

    Attributes:
        missed: the places of runs that were not this worker's any more: nothing happened for them.
        foreign: the places among them of runs whose records name other entries.
        canceled: the places of runs that were canceled meanwhile, with whatever outcome; their functions have ended.
        in_turn: members of `due` of the runs that are now first in the lines of their ordering keys.
    """

    missed: list[int]
    in_turn: list[str] = []
    foreign: list[int] = []
    canceled: list[int] = []


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

_FIRST = FIRST.text()
_ERROR_OF = {"unreadable": "Unreadable", "unsettled": "Unsettled"}


class _SettleArguments(msgspec.Struct, frozen=True):
    """What `settle.lua` reads beside its keys and outcomes; its header says what each is."""

    policy: Policy
    worker: str
    listed: int
    before_id: int
    queues: int
    jobs: list[tuple[str, str, int]]
    ends: list[tuple[int, str, str, int, str, int]]
    entries: list[str]
    ordered: dict[int, str]
    trails: dict[int, Trail]


class Ended(msgspec.Struct, frozen=True, gc=False):
    """Attempts that ended alike: their job, without its app, their queue, the letter of their run, ms, and how many."""

    job_id: str
    queue: str
    letter: str
    elapsed_ms: int
    count: int


def settle(keys: Keys, worker: str, runs: Sequence[Settled], retention: Retention) -> Call[Recorded]:
    """Record the ends of runs, and make the next runs of their ordering keys due."""
    return settle_counted(keys, worker, runs, retention)[0]


def settle_counted(
    keys: Keys, worker: str, runs: Sequence[Settled], retention: Retention
) -> tuple[Call[Recorded], list[Ended]]:
    """Return the call of `settle`, and what ended alike: few of the runs of a batch differ."""
    queues: dict[str, int] = {}
    places: dict[tuple[str, str], int] = {}
    jobs: list[tuple[str, str, int]] = []
    alike: dict[tuple[int, str, str, int, str, bytes], list[int]] = {}
    for at, run in enumerate(runs):
        delivery = run.delivery
        job, queue = delivery.job, delivery.queue
        place = places.get((job, queue.key))
        if place is None:
            place = places[job, queue.key] = len(places) + 1
            jobs.append((job, queue.name, queues.setdefault(queue.key, len(queues) + 1)))
        end = (
            place, run.letter, _FIRST if delivery.state is FIRST else delivery.state.text(), run.elapsed_ms,
            run.reason, run.outcome,
        )  # fmt: skip
        alike.setdefault(end, []).append(at)
    ends = [(*end[:-1], len(those)) for end, those in alike.items()]
    order = [at for those in alike.values() for at in those]
    settled = [runs[at].delivery for at in order]
    trails = _trails_of([runs[at] for at in order])
    ordered = {place: each.ordering_key for place, each in enumerate(settled, 1) if each.ordering_key}
    names = [keys.runs, keys.dead, keys.fading, *queues, *[keys.event(each.event_id) for each in settled]]
    if ordered:
        names += (keys.due, keys.wake)
        names += [keys.line(each.job, each.ordering_key) for each in settled if each.ordering_key]
    args = _SettleArguments(
        policy(keys, retention), worker, MOST_INDEX_ENTRIES, before_id(keys), len(queues),
        jobs, ends, [each.entry for each in settled], ordered, trails,
    )  # fmt: skip
    outcomes = [end[-1] for end in alike]
    call = script_call("settle", names, (pack(args), *outcomes), lambda reply: _read_settled(reply, order))
    return call, [_ended(*jobs[place - 1][:2], letter, elapsed, count) for place, letter, _, elapsed, _, count in ends]


def _ended(job: str, queue: str, letter: str, elapsed_ms: int, count: int) -> Ended:
    return Ended(job.partition("/")[2], queue, letter, elapsed_ms, count)


def _trails_of(runs: Sequence[Settled | Retried]) -> dict[int, Trail]:
    return {place: run.trail for place, run in enumerate(runs, 1) if run.trail is not None}


def _read_settled(reply: list[int | bytes], order: Sequence[int]) -> Recorded:
    places = [part for part in reply if isinstance(part, int)]
    missed = sorted(order[abs(part) - 1] for part in places if part <= len(order))
    foreign = [order[-part - 1] for part in places if part < 0]
    canceled = sorted(order[part - len(order) - 1] for part in places if part > len(order))
    names = [name_of(part) for part in reply if isinstance(part, bytes)]
    return Recorded(missed, [name for name in names if name is not None], foreign, canceled)


class _RetryArguments(msgspec.Struct, frozen=True):
    """What `retry.lua` reads beside its keys and errors; its header says what each is."""

    worker: str
    runs: list[tuple[str, str, str, str, str, int, int]]
    attempts: list[int]
    trails: dict[int, Trail]


def retry(keys: Keys, worker: str, runs: Sequence[Retried]) -> Call[Recorded]:
    """Let runs wait for their next delivery."""
    names = [keys.due, keys.wake]
    described: list[tuple[str, str, str, str, str, int, int]] = []
    for run in runs:
        delivery = run.delivery
        member = member_of(delivery.queue.name, delivery.run_id, delivery.ordering_key)
        names += (delivery.queue.key, keys.event(delivery.event_id))
        described.append((
            delivery.entry, member, delivery.job, run.state,
            delivery.queue.name, run.elapsed_ms, run.delay_ms,
        ))  # fmt: skip
    attempts = [run.delivery.state.attempt for run in runs]
    argv = (pack(_RetryArguments(worker, described, attempts, _trails_of(runs))), *(run.outcome for run in runs))
    return script_call("retry", names, argv, lambda reply: _read_settled(reply, range(len(runs))))


class _StartedArguments(msgspec.Struct, frozen=True):
    """What `started.lua` reads beside its keys; its header says what each is."""

    worker: str
    fields: list[str]
    entries: list[str]
    elapsed: list[int]


def started(keys: Keys, worker: str, runs: Sequence[tuple[Delivery, int]]) -> Call[int]:
    """Mark the records of runs as executing, each since so many ms."""
    names = [keys.event(delivery.event_id) for delivery, _ in runs]
    fields = [f"r:{delivery.job}" for delivery, _ in runs]
    entries = [delivery.entry for delivery, _ in runs]
    args = _StartedArguments(worker, fields, entries, [elapsed_ms for _, elapsed_ms in runs])
    return script_call("started", names, (pack(args),), int)


class _DeadLetterArguments(msgspec.Struct, frozen=True):
    """What `dead_letter.lua` reads beside its keys and the outcome; its header says what each is."""

    policy: Policy
    listed: int
    group: str
    entry: str
    reason: str
    error: str
    id: str
    job: str
    member: str


def dead_letter(keys: Keys, stream: Stream, bad: BadEntry, retention: Retention) -> Call[int]:
    """Move an entry that can't be handled to `dead`, as it is; the entry's run or event ends with it."""
    names = [keys.dead, keys.runs, keys.fading]
    if bad.event_id:
        names.append(keys.event(bad.event_id))
    member = ""
    if stream.app and bad.ordering_key:
        run = run_id(bad.event_id, f"{stream.app}/{bad.job_id}")
        member = member_of(stream.name, run, bad.ordering_key)
        names += (keys.due, keys.wake, keys.line(f"{stream.app}/{bad.job_id}", bad.ordering_key))
    elif bad.event_id and bad.ordering_key:
        member = bad.event_id
        names.append(keys.order(bad.ordering_key))
    job = f"{stream.app}/{bad.job_id}" if stream.app else ""
    outcome = encode_outcome(RunError(_ERROR_OF.get(bad.reason, "BadEntry"), bad.error), None)
    args = _DeadLetterArguments(
        policy(keys, retention), MOST_INDEX_ENTRIES, stream.group,
        bad.entry, bad.reason, bad.error, bad.event_id, job, member,
    )  # fmt: skip
    return script_call("dead_letter", (stream.key, *names), (pack(args), outcome), int)
