"""Rules by which workers come, renew their leases, stop and die."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from headrace_worker.protocol import leases, rescuing
from headrace_worker.protocol.leases import Fenced
from headrace_worker.protocol.rescuing import PendingEntry
from tests.properties.model.base import COUNTS, WORKERS, MachineBase
from tests.properties.model.facts import HOUR_MS
from tests.properties.model.living import JOBS, LEASE, Answer
from tests.properties.model.namespace import LOOK_AGAIN, QUEUES

_KEEP_DEAD_MS = 100 * 366 * 86_400_000


class WorkerRules(MachineBase):
    """Lets workers come and go."""

    @rule(version=st.sampled_from(sorted(JOBS)))
    def register(self, version: str) -> None:
        name = f"w{next(self.numbers)}"
        self.names.append(name)
        self.unsent[name], self.in_flight[name] = [], []
        answer = self.ask(leases.register(self.keys, name, LEASE * HOUR_MS, self.registrations[version]))
        assert int(answer) == self.namespace.register(name, version)

    @rule(
        worker=WORKERS,
        movement=st.sampled_from(["moves", "moves", "stuck", "resigns"]),
        dispatchers=st.integers(0, 2),
    )
    def renew(self, worker: int, movement: Any, dispatchers: int) -> None:
        name = self.name(worker)
        lease_ms = LEASE * HOUR_MS
        call = leases.renew(self.keys, name, lease_ms, movement, dispatchers=dispatchers, keep_dead_ms=_KEEP_DEAD_MS)
        answer = self.ask(call)
        expected = self.namespace.renew(name, movement, dispatchers)
        if isinstance(answer, Fenced):
            assert expected is None
        else:
            assert Answer(answer.is_leader, answer.may_dispatch, set(answer.expired), set(answer.dead)) == expected
            assert int(answer.version) == self.namespace.version

    @rule(worker=WORKERS)
    def crash(self, worker: int) -> None:
        name = self.name(worker)
        assert self.ask(leases.end_lease(self.keys, name)) == self.namespace.end_lease(name)

    @rule(worker=WORKERS)
    def crash_and_rescue(self, worker: int) -> None:
        """As the leader does at once with a worker that a supervisor has seen die."""
        self.crash(worker)
        for stream in ("events", *QUEUES):
            self.rescue_from(self.name(worker), stream, dead=True, count=100)

    @rule(worker=WORKERS, stream=st.sampled_from(["events", *QUEUES]), dead=st.booleans(), count=COUNTS)
    def rescue(self, worker: int, stream: str, dead: bool, count: int) -> None:  # noqa: FBT001 - it is drawn
        self.rescue_from(self.name(worker), stream if dead else "events", dead=dead, count=count)

    def rescue_from(self, name: str, stream: str, *, dead: bool, count: int) -> int:
        where = self.stream(stream)
        ids = self.ask(rescuing.read_pending(where, name, "", count))
        entries = [entry for entry in self.namespace.streams[stream] if entry.holder == name][:count]
        assert len(ids) == len(entries)
        held = [self.held(stream, each, entry) for each, entry in zip(ids, entries, strict=True)]
        look_again_ms = LOOK_AGAIN * HOUR_MS
        answer = self.ask(
            rescuing.rescue(self.keys, name, where, held, dead=dead, look_again_ms=look_again_ms, app="app")
        )
        assert answer == self.namespace.rescue(name, stream, entries, dead=dead)
        return int(answer)

    @rule(worker=WORKERS)
    def release(self, worker: int) -> None:
        name = self.name(worker)
        for queue in QUEUES:
            mine = [pair for pair in self.in_flight[name] if pair[0].queue.name == queue]
            held = [self.held(queue, delivery.entry, entry) for delivery, entry in mine]
            answer = self.ask(rescuing.release(self.queues[queue], held))
            assert answer == self.namespace.put_back(queue, [entry for _, entry in mine])
        held = [PendingEntry(event.entry) for event, _ in self.unsent[name]]
        answer = self.ask(rescuing.release(self.events_stream, held))
        assert answer == self.namespace.put_back("events", [entry for _, entry in self.unsent[name]])
        self.unsent[name], self.in_flight[name] = [], []

    @rule(worker=WORKERS, dead=st.booleans())
    def leave(self, worker: int, dead: bool) -> None:  # noqa: FBT001 - it is drawn
        self.forget(self.name(worker), dead=dead)

    def forget(self, name: str, *, dead: bool) -> None:
        queues = [queue.key for queue in self.queues.values()]
        answer = self.ask(leases.leave(self.keys, name, "app", queues, dead=dead))
        assert answer == self.namespace.leave(name, dead=dead)

    @rule(hours=st.integers(1, 4))
    def pass_time(self, hours: int) -> None:
        """As no dispatcher holds an event for as long as its record is kept, time stops before that."""
        waiting = {entry.event for entry in self.namespace.streams["events"]}
        waiting |= {event.event_id for events in self.unsent.values() for event, _ in events}
        ends = [self.namespace.events[event].ends for event in waiting if event in self.namespace.events]
        hours = min([hours, *(end - self.namespace.now - 1 for end in ends if end is not None)])
        self.pass_hours(hours)
