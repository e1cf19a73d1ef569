"""Rules by which runs are taken, settled, tried again and run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from headrace.calls import rerunning
from headrace.formats.codec import decode_event
from headrace.model.values import decode_value
from headrace_worker.protocol import reading, settling
from headrace_worker.protocol.delivery import Delivery, decode_delivery
from headrace_worker.protocol.delivery import Entry as RawEntry
from headrace_worker.protocol.settling import BadEntry, Retried, Settled
from tests.properties.model.base import COUNTS, IDS, WORKERS, MachineBase
from tests.properties.model.facts import HOUR_MS
from tests.properties.model.namespace import QUEUES, Entry, State

_REASONS = {"s": "", "c": "", "f": "failed", "t": "timed_out", "i": "invalid_payload"}
_UNKNOWN_SINCE = 7


def _some_hold_runs(machine: Any) -> bool:
    return any(machine.in_flight.values())


class RunRules(MachineBase):
    """Lets workers take runs and settle them."""

    @rule(worker=WORKERS, free=COUNTS, other_first=st.booleans())
    def take(self, worker: int, free: int, other_first: bool) -> None:  # noqa: FBT001 - it is drawn
        self.take_as(self.name(worker), free, QUEUES[::-1] if other_first else QUEUES)

    def take_as(self, name: str, free: int, queues: Sequence[str]) -> None:
        shares = [reading.Share(self.queues[queue], free) for queue in queues]
        reply = self.ask(reading.take(self.keys, name, shares, free))
        taken = {queue.name: entries for queue, entries in reply.entries}
        for queue in queues:
            entries = self.namespace.take(queue, name, free)
            free -= len(entries)
            self.hold(name, queue, taken.get(queue, []), entries)

    @rule(worker=WORKERS, queue=st.sampled_from(QUEUES), count=COUNTS)
    def read_plainly(self, worker: int, queue: str, count: int) -> None:
        """As a worker does that has one queue: it knows of no pause and of no limit, and may not have heard yet."""
        name = self.name(worker)
        found = self.ask(reading.read_group(reading.WORKERS_GROUP, name, self.queues[queue].key, count, None))
        is_closed = self.namespace.is_closed(queue)
        self.hold(name, queue, found, [] if is_closed else self.namespace.deliver(queue, name, count))

    def hold(self, name: str, queue: str, found: Sequence[RawEntry], entries: Sequence[Entry]) -> None:
        """The worker has what it was given, which is what the model says: runs that are open, so none is canceled."""
        assert len(found) == len(entries)
        for raw, entry in zip(found, entries, strict=True):
            delivery = decode_delivery(self.queues[queue], raw)
            assert (delivery.event_id, delivery.job_id) == (entry.event, entry.job)
            assert self.payload_of(delivery) == self.namespace.events[entry.event].payload
            assert self.namespace.events[entry.event].runs[entry.job].status == "q"
            self.in_flight[name].append((delivery, entry))

    def payload_of(self, delivery: Delivery) -> Any:
        body = delivery.body or self.ask(reading.read_body(self.keys, delivery.event_id))
        return decode_value(decode_event(body).p)

    @precondition(_some_hold_runs)
    @rule(worker=WORKERS, count=COUNTS)
    def start(self, worker: int, count: int) -> None:
        name = self.holder(worker, self.in_flight)
        pairs = self.in_flight[name][:count]
        answer = self.ask(settling.started(self.keys, name, [(delivery, 5) for delivery, _ in pairs]))
        assert answer == self.namespace.start([entry for _, entry in pairs])

    @precondition(_some_hold_runs)
    @rule(worker=WORKERS, letters=st.lists(st.sampled_from("ssftci"), min_size=1, max_size=4))
    def settle(self, worker: int, letters: list[str]) -> None:
        self.settle_as(self.holder(worker, self.in_flight), letters)

    def settle_as(self, name: str, letters: Sequence[str]) -> None:
        pairs = self.in_flight[name][: len(letters)]
        del self.in_flight[name][: len(letters)]
        ends = [(entry, letter, _REASONS[letter]) for (_, entry), letter in zip(pairs, letters, strict=False)]
        runs = [
            Settled(delivery, letter, 5, reason, b"")
            for (delivery, _), (_, letter, reason) in zip(pairs, ends, strict=True)
        ]
        if runs:
            answer = self.ask(settling.settle(self.keys, name, runs, self.retention))
            assert sorted(answer.missed) == self.namespace.settle(ends)

    @precondition(_some_hold_runs)
    @rule(worker=WORKERS, count=COUNTS, hours=st.integers(1, 3), is_unknown=st.booleans())
    def retry(self, worker: int, count: int, hours: int, is_unknown: bool) -> None:  # noqa: FBT001 - it is drawn
        """After an attempt, or to wait for a worker that has their job."""
        name = self.holder(worker, self.in_flight)
        pairs = self.in_flight[name][:count]
        del self.in_flight[name][:count]
        states = [_next_state(entry.state, is_unknown=is_unknown) for _, entry in pairs]
        runs = [
            Retried(delivery, " ".join(map(str, state)), 5, hours * HOUR_MS, b"")
            for (delivery, _), state in zip(pairs, states, strict=True)
        ]
        answer = self.ask(settling.retry(self.keys, name, runs))
        assert answer.missed == self.namespace.retry([entry for _, entry in pairs], hours, states)

    @precondition(_some_hold_runs)
    @rule(worker=WORKERS)
    def dead_letter(self, worker: int) -> None:
        delivery, entry = self.in_flight[self.holder(worker, self.in_flight)].pop(0)
        bad = BadEntry(delivery.entry, "unreadable", "no event", delivery.event_id, delivery.job_id)
        answer = self.ask(settling.dead_letter(self.keys, delivery.queue, bad, self.retention))
        assert answer == self.namespace.dead_letter(entry)

    @precondition(lambda self: bool(self.namespace.dead))
    @rule(place=st.integers(0, 9))
    def rerun_a_dead_run(self, place: int) -> None:
        """One that is in `dead`, of this life of its event or of one before."""
        run, _ = self.namespace.dead[place % len(self.namespace.dead)]
        event_id, _, job = run.rpartition(":app/")
        event = self.namespace.events.get(event_id)
        if event is not None and job in event.runs:
            self.rerun(event_id, job, event.runs[job].queue)

    @rule(event_id=IDS, job=st.sampled_from("ab"), queue=st.sampled_from(QUEUES), canceled=st.booleans())
    def rerun(self, event_id: str, job: str, queue: str, *, canceled: bool = False) -> None:
        answer = self.ask(rerunning.rerun(self.keys, event_id, f"app/{job}", queue, canceled=canceled))
        assert answer[0] == self.namespace.rerun(event_id, job, queue, canceled=canceled)


def _next_state(state: State, *, is_unknown: bool) -> State:
    attempt, lost, since, replay = state
    return (attempt, lost, since or _UNKNOWN_SINCE, replay) if is_unknown else (attempt + 1, lost, since, replay)
