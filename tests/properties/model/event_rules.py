"""Rules by which events are sent, promoted, read and dispatched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from headrace import Event as SentEvent
from headrace import EventConflict, EventNotFound
from headrace.calls import canceling, records, sending
from headrace.formats.codec import INLINE_BYTES, decode_event
from headrace.formats.outgoing import Outgoing
from headrace.plans.prepare import SendOptions, prepare
from headrace_worker.app.routes import Routes
from headrace_worker.protocol import dispatching, due, reading, settling
from headrace_worker.protocol.delivery import EventEntry, decode_event_entry
from headrace_worker.protocol.dispatching import Dispatched, Matched, QueuesFull
from headrace_worker.protocol.settling import BadEntry
from tests.properties.model.base import COUNTS, IDS, WORKERS, MachineBase
from tests.properties.model.namespace import Entry, Event


def _some_hold_events(machine: Any) -> bool:
    return any(machine.unsent.values())


def something_is_due(machine: Any) -> bool:
    return bool(machine.namespace.due)


class EventRules(MachineBase):
    """Lets events be sent, canceled, promoted and dispatched."""

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
            record = Event(event.head.name, event.id_kind, event.event.payload, (token, place), "delivered")
            expected = self.namespace.send(token, place, event.event_id, record, hours)
            known = self.namespace.events[event.event_id]
            is_other = known.has_body and known.name != event.head.name and event.id_kind != "d"
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
    def cancel(self, event_id: str, *, pending: bool = False) -> None:
        call = canceling.cancel(self.keys, event_id, self.retention, pending=pending)
        if self.namespace.cancel(event_id, pending=pending) != "missing":
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

    @precondition(something_is_due)
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

    def dispatch_all(self, name: str) -> None:
        """Dispatch everything in `events`, read or not."""
        while self.unsent[name] or any(entry.holder is None for entry in self.namespace.streams["events"]):
            self.read_events_as(name, 100)
            self.read_routes()
            self.dispatch_as(name, 100)

    def readable(self, name: str, count: int, routes: Routes) -> list[tuple[Matched, Entry]]:
        """Return what the worker can dispatch; events whose body was only in their lost record are dead-lettered."""
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
                assert answer == self.namespace.dead_letter(entry)
        self.unsent[name][:count] = left
        return batch
