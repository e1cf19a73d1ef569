"""Draws what happens in a namespace, lets it happen on a real server and in the model, and compares them.

The scripts are called as the packages call them. A worker here is a name and what was delivered to it; it may go on
with that whatever has become of its lease, as one that stood still and comes back would.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headrace import Event as SentEvent
from headrace import EventConflict, EventNotFound, Retention
from headrace.calls import canceling, records, rerunning, sending
from headrace.formats.codec import INLINE_BYTES, decode_event, decode_value
from headrace.formats.keys import Keys
from headrace.formats.outgoing import Outgoing
from headrace.plans.prepare import SendOptions, prepare
from headrace.transport.single import Transport
from headrace_worker import App, event_trigger
from headrace_worker.app.routes import Routes, fingerprint_of, subscriptions_of
from headrace_worker.protocol import dispatching, due, leases, reading, rescuing, settling
from headrace_worker.protocol.delivery import Delivery, EventEntry, Stream, decode_delivery, decode_event_entry
from headrace_worker.protocol.dispatching import Dispatched, Matched, QueuesFull
from headrace_worker.protocol.leases import Fenced, Registration
from headrace_worker.protocol.rescuing import HeldEntry
from headrace_worker.protocol.settling import BadEntry, Retried, Settled
from tests.properties.model.facts import HOUR_MS, Seen
from tests.properties.model.living import JOBS, LEASE, Answer
from tests.properties.model.namespace import LOOK_AGAIN, QUEUES, Entry, Event, Namespace, Policy, State

_REASONS = {"s": "", "c": "", "f": "failed", "t": "timed_out", "i": "invalid_payload"}
_UNKNOWN_SINCE = 7
_KEEP_DEAD_MS = 100 * 366 * 86_400_000
_POLICIES = (Policy(5, 20, 3, 10), Policy(0, 20, 3, 10), Policy(0, 0, 1, 1))

WORKERS = st.integers(0, 3)
IDS = st.sampled_from(["a", "b", "c:d/e"])
COUNTS = st.integers(1, 3)


def _registration(version: str) -> Registration:
    app = App("app")
    for job, (queue, names) in JOBS[version].items():
        app.job(id=job, trigger=event_trigger(list(names)), queue=queue)(_nothing)
    blob = subscriptions_of(app)
    return Registration("app", fingerprint_of(blob), blob, QUEUES)


async def _nothing() -> None:
    """No run is executed here."""


def _some_hold_runs(machine: Any) -> bool:
    return any(machine.hands.values())


def _some_hold_events(machine: Any) -> bool:
    return any(machine.unsent.values())


def _something_is_due(machine: Any) -> bool:
    return bool(machine.namespace.due)


class Machine(RuleBasedStateMachine):
    """One namespace, on the server and in the model."""

    url = ""
    namespace_name = ""

    def __init__(self) -> None:
        super().__init__()
        self.redis: Any = redis.Redis.from_url(self.url)
        self.redis.flushall()
        self.keys = Keys(self.namespace_name)
        self.transport = Transport(self.url, attempts=1)
        self.seen = Seen(self.redis, self.keys)
        self.registrations = {version: _registration(version) for version in JOBS}
        self.queues = {name: reading.queue_stream(self.keys, "app", name) for name in QUEUES}
        self.events_stream = reading.events_stream(self.keys)
        self.names: list[str] = []
        self.unsent: dict[str, list[tuple[EventEntry, Entry]]] = {}
        self.hands: dict[str, list[tuple[Delivery, Entry]]] = {}
        self.last_send: Callable[[], None] | None = None
        self.numbers = itertools.count(1)
        self.namespace = Namespace(_POLICIES[0])
        self.retention = Retention()
        self.routes: Routes | None = None
        self.is_sound = False

    def ask(self, call: Any) -> Any:
        (answer,) = self.transport.run([call])
        return answer

    def name(self, worker: int) -> str:
        return self.names[-1 - worker % len(self.names)]

    def holder(self, worker: int, held: dict[str, list[Any]]) -> str:
        """Returns one of those that have something in hand."""
        holders = [name for name, those in held.items() if those]
        return holders[-1 - worker % len(holders)]

    @invariant()
    def the_server_holds_what_it_should(self) -> None:
        self.is_sound = False
        found, expected = self.seen.facts(self.names, QUEUES), self.namespace.facts()
        wrong = {key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)}
        assert not wrong, "\n".join(f"{key}: {found.get(key)}, not {expected.get(key)}" for key in sorted(wrong))
        self.is_sound = True

    # workers come and go

    @initialize(policy=st.sampled_from(_POLICIES), version=st.sampled_from(sorted(JOBS)))
    def begin(self, policy: Policy, version: str) -> None:
        self.namespace = Namespace(policy)
        hours = (policy.success, policy.failure, policy.client, policy.sender)
        self.retention = Retention(*(hour * 3600.0 for hour in hours))
        self.register(version)
        self.send(["a"], "x", "s", 0, is_large=False)
        self.send(["b"], "x", "c", 1, is_large=True)

    @rule(version=st.sampled_from(sorted(JOBS)))
    def register(self, version: str) -> None:
        name = f"w{next(self.numbers)}"
        self.names.append(name)
        self.unsent[name], self.hands[name] = [], []
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
        ids = self.ask(rescuing.read_held(where, name, "", count))
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
            mine = [pair for pair in self.hands[name] if pair[0].queue.name == queue]
            held = [self.held(queue, delivery.entry, entry) for delivery, entry in mine]
            answer = self.ask(rescuing.release(self.queues[queue], held))
            assert answer == self.namespace.put_back(queue, [entry for _, entry in mine])
        held = [HeldEntry(event.entry) for event, _ in self.unsent[name]]
        answer = self.ask(rescuing.release(self.events_stream, held))
        assert answer == self.namespace.put_back("events", [entry for _, entry in self.unsent[name]])
        self.unsent[name], self.hands[name] = [], []

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

    # events

    @rule(
        ids=st.lists(IDS, min_size=1, max_size=3),
        name=st.sampled_from("xxy"),
        kind=st.sampled_from("csd"),
        hours=st.sampled_from([0, 0, 0, 1, 2]),
        is_large=st.booleans(),
    )
    def send(self, ids: list[str], name: str, kind: str, hours: int, *, is_large: bool) -> None:
        number = next(self.numbers)
        payload = [number, "x" * INLINE_BYTES if is_large else ""]
        given = [SentEvent(name, payload, id=event_id) for event_id in ids]
        options = SendOptions(deliver_after=hours * 3600 if hours else None)
        events = prepare(given, options, now=lambda: datetime.now(UTC), id_kind=kind)
        token = f"call{number}"

        def send() -> None:
            self.send_call(events, token, hours)

        self.last_send = send
        send()

    def send_call(self, events: Sequence[Outgoing], token: str, hours: int) -> None:
        answers = self.ask(sending.send(self.keys, events, token))
        for place, (event, answer) in enumerate(zip(events, answers, strict=True), 1):
            record = Event(event.name, event.id_kind, event.event.payload, (token, place), "delivered")
            expected = self.namespace.send(token, place, event.event_id, record, hours)
            known = self.namespace.events[event.event_id]
            is_other = known.has_body and known.name != event.name and event.id_kind != "d"
            if isinstance(answer, EventConflict):
                assert expected == "conflict" or (expected == "duplicate" and is_other)
                continue
            assert answer.duplicate == (expected == "duplicate")
            assert not (answer.duplicate and is_other)
            if expected == "duplicate" and known.has_body:
                assert answer.payload == known.payload
            elif expected == "new":
                assert (answer.deliver_at is None, answer.delivered_at is None) == (not hours, bool(hours))

    @rule()
    def repeat_the_last_send(self) -> None:
        """As a client does whose reply was lost."""
        if self.last_send is not None:
            self.last_send()

    @rule(event_id=IDS)
    def cancel(self, event_id: str) -> None:
        call = canceling.cancel(self.keys, event_id, self.retention)
        if self.namespace.cancel(event_id) != "missing":
            self.ask(call)
        else:
            with pytest.raises(EventNotFound):
                self.ask(call)

    @rule(event_id=IDS)
    def watch(self, event_id: str) -> None:
        if self.namespace.watch(event_id):
            self.ask(records.watch(self.keys, event_id))
        else:
            with pytest.raises(EventNotFound):
                self.ask(records.watch(self.keys, event_id))

    @precondition(_something_is_due)
    @rule(hours=st.integers(0, 3))
    def wait_and_promote(self, hours: int) -> None:
        self.pass_time(hours)
        self.promote_members(list(self.namespace.due))

    @precondition(_something_is_due)
    @rule(members=st.lists(st.integers(0, 5), max_size=3, unique=True))
    def promote(self, members: list[int]) -> None:
        known = list(self.namespace.due)
        self.promote_members([known[place % len(known)] for place in members] if known else [])

    def promote_members(self, members: Sequence[tuple[str, str]]) -> None:
        members = list(dict.fromkeys(members))
        names = [f"r:{self.queue_of(event, job)}:{event}:app/{job}" if job else f"e:{event}" for event, job in members]
        answer = self.ask(due.promote(self.keys, names, 1000))
        self.namespace.promote(members)
        assert (answer.dropped, answer.foreign, len(answer.ahead)) == (0, [], len(self.namespace.due))

    @rule(worker=WORKERS, count=COUNTS)
    def read_events(self, worker: int, count: int) -> None:
        self.read_events_as(self.name(worker), count)

    def read_events_as(self, name: str, count: int) -> None:
        found = self.ask(reading.read_group(reading.DISPATCH_GROUP, name, self.keys.events, count, None))
        entries = self.namespace.deliver("events", name, count)
        assert len(found) == len(entries)
        for raw, entry in zip(found, entries, strict=True):
            event = decode_event_entry(raw)
            assert event.event_id == entry.event
            self.unsent[name].append((event, entry))

    @rule()
    def read_routes(self) -> None:
        version, apps = self.transport.run(
            [dispatching.read_routes_version(self.keys), dispatching.read_apps(self.keys)]
        )
        stored = self.transport.run([dispatching.read_routes(self.keys, app) for app in apps])
        self.routes = Routes(version, dict(zip(apps, stored, strict=True)))

    @precondition(_some_hold_events)
    @rule(worker=WORKERS, count=COUNTS)
    def dispatch(self, worker: int, count: int) -> None:
        self.dispatch_as(self.holder(worker, self.unsent), count)

    @precondition(_some_hold_events)
    @rule(worker=WORKERS)
    def dispatch_to_a_full_server(self, worker: int) -> None:
        """One event, and only where the queues of its jobs are empty."""
        self.dispatch_as(self.holder(worker, self.unsent), 1, free_first=True)

    @rule(worker=WORKERS, count=COUNTS)
    def hand_out(self, worker: int, count: int) -> None:
        """The way of an event into a worker's hands, without anything in between."""
        name = self.name(worker)
        self.read_routes()
        self.read_events_as(name, count)
        self.dispatch_as(name, 100)
        self.take_as(name, count, QUEUES)

    def dispatch_as(self, name: str, count: int, *, free_first: bool = False) -> None:
        if self.routes is None:
            self.read_routes()
        assert self.routes is not None
        batch = self.readable(name, count, self.routes)
        if not batch:
            return
        version, matched = self.routes.version, [each for each, _ in batch]
        answer = self.ask(dispatching.dispatch(self.keys, matched, version, self.retention, free_first=free_first))
        if isinstance(answer, QueuesFull):
            assert free_first
            assert any(self.namespace.streams[route.queue] for route in matched[0].routes)
            return
        expected = self.namespace.dispatch(int(version), [entry for _, entry in batch], free_first=free_first)
        if isinstance(answer, Dispatched):
            assert answer.events == expected
            del self.unsent[name][: len(batch)]
        else:
            assert expected is None
            self.routes = None

    def readable(self, name: str, count: int, routes: Routes) -> list[tuple[Matched, Entry]]:
        """Returns what the worker can dispatch; events whose body was only in their record are set aside without it."""
        batch, left = [], []
        for event, entry in self.unsent[name][:count]:
            body = self.ask(reading.read_body(self.keys, event.event_id))
            stored = event.event or (decode_event(body) if body else None)
            if stored is not None:
                whole = EventEntry(event.entry, event.event_id, event.size, stored)
                batch.append((Matched(whole, routes.match(stored)), entry))
                left.append((event, entry))
            else:
                bad = BadEntry(event.entry, "unreadable", "no body", event.event_id)
                answer = self.ask(settling.dead_letter(self.keys, self.events_stream, bad, self.retention))
                assert answer == self.namespace.bury(entry)
        self.unsent[name][:count] = left
        return batch

    # runs

    @rule(worker=WORKERS, free=COUNTS, other_first=st.booleans())
    def take(self, worker: int, free: int, other_first: bool) -> None:  # noqa: FBT001 - it is drawn
        self.take_as(self.name(worker), free, QUEUES[::-1] if other_first else QUEUES)

    def take_as(self, name: str, free: int, queues: Sequence[str]) -> None:
        reply = self.ask(reading.take(name, [self.queues[queue] for queue in queues], free))
        taken = {queue.name: entries for queue, entries in reply}
        for queue in queues:
            entries = self.namespace.deliver(queue, name, free)
            free -= len(entries)
            found = taken.get(queue, [])
            assert len(found) == len(entries)
            for raw, entry in zip(found, entries, strict=True):
                delivery = decode_delivery(self.queues[queue], raw)
                assert (delivery.event_id, delivery.job_id) == (entry.event, entry.job)
                assert self.payload_of(delivery) == self.namespace.events[entry.event].payload
                self.hands[name].append((delivery, entry))

    def payload_of(self, delivery: Delivery) -> Any:
        body = delivery.body or self.ask(reading.read_body(self.keys, delivery.event_id))
        return decode_value(decode_event(body).p)

    @precondition(_some_hold_runs)
    @rule(worker=WORKERS, count=COUNTS)
    def start(self, worker: int, count: int) -> None:
        name = self.holder(worker, self.hands)
        pairs = self.hands[name][:count]
        answer = self.ask(settling.started(self.keys, name, [(delivery, 5) for delivery, _ in pairs]))
        assert answer == self.namespace.start([entry for _, entry in pairs])

    @precondition(_some_hold_runs)
    @rule(worker=WORKERS, letters=st.lists(st.sampled_from("ssftci"), min_size=1, max_size=4))
    def settle(self, worker: int, letters: list[str]) -> None:
        self.settle_as(self.holder(worker, self.hands), letters)

    def settle_as(self, name: str, letters: Sequence[str]) -> None:
        pairs = self.hands[name][: len(letters)]
        del self.hands[name][: len(letters)]
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
        name = self.holder(worker, self.hands)
        pairs = self.hands[name][:count]
        del self.hands[name][:count]
        states = [_next_state(entry.state, is_unknown=is_unknown) for _, entry in pairs]
        runs = [
            Retried(delivery, " ".join(map(str, state)), 5, hours * HOUR_MS, b"")
            for (delivery, _), state in zip(pairs, states, strict=True)
        ]
        answer = self.ask(settling.retry(self.keys, name, runs))
        assert answer.missed == self.namespace.retry([entry for _, entry in pairs], hours, states)

    @precondition(_some_hold_runs)
    @rule(worker=WORKERS)
    def bury(self, worker: int) -> None:
        delivery, entry = self.hands[self.holder(worker, self.hands)].pop(0)
        bad = BadEntry(delivery.entry, "unreadable", "no event", delivery.event_id, delivery.job_id)
        answer = self.ask(settling.dead_letter(self.keys, delivery.queue, bad, self.retention))
        assert answer == self.namespace.bury(entry)

    @precondition(lambda self: bool(self.namespace.dead))
    @rule(place=st.integers(0, 9))
    def rerun_a_dead_run(self, place: int) -> None:
        """One that is in `dead`, of this life of its event or of one before."""
        run, _ = self.namespace.dead[place % len(self.namespace.dead)]
        event_id, _, job = run.rpartition(":app/")
        event = self.namespace.events.get(event_id)
        if event is not None and job in event.runs:
            self.rerun(event_id, job, event.runs[job].queue)

    @rule(event_id=IDS, job=st.sampled_from("ab"), queue=st.sampled_from(QUEUES))
    def rerun(self, event_id: str, job: str, queue: str) -> None:
        answer = self.ask(rerunning.rerun(self.keys, event_id, f"app/{job}", queue))
        assert answer[0] == self.namespace.rerun(event_id, job, queue)

    # the end

    def teardown(self) -> None:
        try:
            if self.names and self.is_sound:
                self.drain()
        finally:
            self.transport.close()
            self.redis.close()

    def drain(self) -> None:
        """Every worker dies and a new one does all that is left; then nothing is left but what lasts."""
        for name in self.names:
            self.dispatch_all(name)
        self.pass_hours(LEASE)
        for name in self.names:
            for queue in QUEUES:
                self.rescue_from(name, queue, dead=True, count=100)
        self.register("new")
        while self.namespace.due or any(self.namespace.streams.values()):
            self.pass_hours(max(0, *(hour - self.namespace.now for hour in self.namespace.due.values()), 0))
            self.promote_members(list(self.namespace.due))
            self.dispatch_all(self.names[-1])
            self.take_as(self.names[-1], 100, QUEUES)
            self.settle_as(self.names[-1], "s" * 100)
            self.the_server_holds_what_it_should()
        self.pass_hours(LEASE + max(LOOK_AGAIN, self.namespace.policy.failure))
        for name in self.names:
            assert self.rescue_from(name, "events", dead=True, count=1) == 0
        self.pass_hours(LOOK_AGAIN)
        for name in self.names:
            self.forget(name, dead=True)
        self.the_server_holds_what_it_should()
        assert (self.namespace.events, self.namespace.leases, self.namespace.known) == ({}, {}, {})

    def dispatch_all(self, name: str) -> None:
        """Everything in `events` is dispatched: what the worker has read, and what nobody has."""
        while self.unsent[name] or any(entry.holder is None for entry in self.namespace.streams["events"]):
            self.read_events_as(name, 100)
            self.read_routes()
            self.dispatch_as(name, 100)

    def pass_hours(self, hours: int) -> None:
        self.seen.pass_time(hours)
        self.namespace.pass_time(hours)

    def stream(self, name: str) -> Stream:
        return self.events_stream if name == "events" else self.queues[name]

    def held(self, stream: str, entry_id: str, entry: Entry) -> HeldEntry:
        if stream == "events":
            return HeldEntry(entry_id)
        return HeldEntry(entry_id, self.keys.event(entry.event), f"app/{entry.job}")

    def queue_of(self, event_id: str, job: str) -> str:
        return self.namespace.events[event_id].runs[job].queue


def _next_state(state: State, *, is_unknown: bool) -> State:
    attempt, lost, since, replay = state
    return (attempt, lost, since or _UNKNOWN_SINCE, replay) if is_unknown else (attempt + 1, lost, since, replay)
