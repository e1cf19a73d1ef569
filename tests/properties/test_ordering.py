"""Whatever dispatchers and workers do in whatever order, runs of an ordering key keep theirs, one at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import Event, Retention
from headrace.calls import rerunning, sending
from headrace.plans.prepare import SendOptions, prepare
from headrace_worker.app.routes import Route
from headrace_worker.protocol import dispatching, due, leases, reading, rescuing, settling
from headrace_worker.protocol.delivery import Delivery, decode_delivery, decode_event_entry
from headrace_worker.protocol.dispatching import EventsBehind, Matched
from headrace_worker.protocol.leases import Registration
from headrace_worker.protocol.rescuing import PendingEntry
from headrace_worker.protocol.settling import Retried, Settled
from tests.scripts.state import Keyspace

_ROUTE = Route("app/job", "app", "default")
_RETENTION = Retention(success=60, failure=60, dedupe_client=60, dedupe_sender=60)
_DISPATCHERS = ("d1", "d2")

_keys = st.sampled_from(["a", "b", ""])
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), _keys),
        st.tuples(st.sampled_from(["read", "dispatch", "give_back"]), st.sampled_from(_DISPATCHERS)),
        st.tuples(st.sampled_from(["take", "look", "promote", "queue_next", "die", "rerun"]), st.just("")),
        st.tuples(st.sampled_from(["settle", "retry", "release", "delete"]), st.integers(0, 2)),
    ),
    min_size=20,
    max_size=60,
)


class Model:
    """What was sent, which worker holds what, and the first deliveries of each key in their order.

    Settler and leader are in two minds each: what a settle has told is queued later, if at all, and what a look has
    shown is promoted later, by whatever time others may have moved it.
    """

    def __init__(self, keyspace: Keyspace, version: str, first_id: int) -> None:
        self.keyspace = keyspace
        self.keys = keyspace.keys
        self.version = version
        self.ids = count(first_id)
        self.sent: dict[str, list[str]] = {"a": [], "b": [], "": []}
        self.ended: dict[str, list[str]] = {"a": [], "b": [], "": []}
        self.events: dict[str, list[Any]] = {name: [] for name in _DISPATCHERS}
        self.runs: list[Delivery] = []
        self.in_turn: list[str] = []
        self.ahead: list[str] = []
        self.deleted: set[str] = set()
        self.lost: list[tuple[str, str]] = []

    def step(self, name: str, argument: Any) -> None:
        getattr(self, name)(argument)
        for key in ("a", "b"):
            held = [run for run in self.runs if run.ordering_key == key]
            assert len(held) <= 1, f"two runs of {key} at once"
            assert self.ended[key] == self.sent[key][: len(self.ended[key])]
            assert [run.event_id for run in held] in ([], self.sent[key][len(self.ended[key]) :][:1])

    def send(self, key: str) -> None:
        event_id = f"e{next(self.ids)}"
        event = Event("step", id=event_id)
        options = SendOptions(ordering_key=key or None)
        self.keyspace.ask(sending.send(self.keys, prepare([event], options, now=lambda: datetime.now(UTC)), event_id))
        self.sent[key].append(event_id)

    def read(self, name: str, most: int = 2) -> None:
        call = reading.read_group(reading.DISPATCH_GROUP, name, self.keys.events, most, None)
        self.events[name] += [decode_event_entry(entry) for entry in self.keyspace.ask(call)[0]]

    def read_all(self, name: str) -> None:
        self.read(name, 100)

    def dispatch(self, name: str) -> None:
        batch = [Matched(entry, [_ROUTE]) for entry in self.events[name]]
        (answer,) = self.keyspace.ask(dispatching.dispatch(self.keys, batch, self.version, _RETENTION))
        if not isinstance(answer, EventsBehind):
            self.events[name] = []

    def give_back(self, name: str) -> None:
        held = [PendingEntry(each.entry) for each in self.events[name]]
        self.keyspace.ask(rescuing.release(reading.events_stream(self.keys), held))
        self.events[name] = []

    def take(self, _: str) -> None:
        queue = reading.queue_stream(self.keys, "app", "default")
        (taken,) = self.keyspace.ask(reading.take(self.keys, "w", [reading.Share(queue, 2)], 2))
        for _queue, entries in taken.entries:
            self.runs += [decode_delivery(queue, entry) for entry in entries]

    def look(self, _: str) -> None:
        (looked,) = self.keyspace.ask(due.promote(self.keys, [], 100))
        self.ahead = [due.member for due in looked.ahead]

    def promote(self, _: str) -> None:
        self.keyspace.ask(due.promote(self.keys, self.ahead, 0))

    def queue_next(self, _: str) -> None:
        """The settler goes on."""
        self.keyspace.ask(due.promote(self.keys, self.in_turn, 0))
        self.in_turn = []

    def die(self, _: str) -> None:
        """Settler and leader are others now, who know nothing."""
        self.in_turn, self.ahead = [], []

    def delete(self, place: int) -> None:
        """Another program deletes an entry of the queue, pending or not."""
        queue = reading.queue_stream(self.keys, "app", "default")
        for entry_id, fields in self.keyspace.entries(queue.key)[place : place + 1]:
            self.keyspace.admin.xdel(queue.key, entry_id)
            run = decode_delivery(queue, (entry_id, [part for pair in fields.items() for part in pair]))
            if run.entry in (held.entry for held in self.runs):
                self.deleted.add(run.entry)
            else:
                self.lost.append((run.event_id, run.ordering_key))

    def rerun(self, _: str) -> None:
        """An operator retries a lost run and, in error, one that is not lost."""
        for run in self.runs:
            assert self.ask_again(run.event_id, run.ordering_key) == "refused"
        for event_id, key in self.lost:
            assert self.ask_again(event_id, key) == "queued"
            assert self.ask_again(event_id, key) == "refused"
        self.lost.clear()

    def ask_again(self, event_id: str, key: str) -> str:
        ((answer, _),) = self.keyspace.ask(rerunning.rerun(self.keys, event_id, _ROUTE.job, _ROUTE.queue, key))
        return str(answer)

    def settle(self, place: int) -> None:
        for run in self.runs[place : place + 1]:
            settled = Settled(run, "s" if place % 2 else "f", 0, "" if place % 2 else "failed", b"")
            (recorded,) = self.keyspace.ask(settling.settle(self.keys, "w", [settled], _RETENTION))
            self.in_turn += recorded.in_turn
            self.ended[run.ordering_key].append(run.event_id)
            self.runs.remove(run)

    def retry(self, place: int) -> None:
        for run in self.runs[place : place + 1]:
            self.keyspace.ask(settling.retry(self.keys, "w", [Retried(run, "2 0 0 0", 0, 0, b"")]))
            self.runs.remove(run)

    def release(self, place: int) -> None:
        for run in self.runs[place : place + 1]:
            held = PendingEntry(run.entry, self.keys.event(run.event_id), run.job)
            self.keyspace.ask(rescuing.release(run.queue, [held]))
            self.runs.remove(run)
            if run.entry in self.deleted:
                self.lost.append((run.event_id, run.ordering_key))

    def drain(self) -> None:
        """Everything goes on until nothing is left; what can't be dispatched goes back, as a dispatcher does it."""
        for turn in range(10 * sum(map(len, self.sent.values())) + 10):
            for name in _DISPATCHERS:
                self.read(name, 100)  # two by two the same pairs could come back for ever
                self.events[name].sort(key=lambda entry: int(entry.event_id[1:]))
                for step in ("dispatch", "give_back"):
                    self.step(step, name)
            self.step("take", "")
            self.step(("settle", "release", "settle", "retry")[turn % 4], 0)
            for step in ("rerun", "look", "promote"):
                self.step(step, "")
            if turn > 3 and list(map(len, self.ended.values())) == list(map(len, self.sent.values())):
                return


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(_keys, max_size=8), steps=_steps)
def test_runs_of_an_ordering_key_keep_their_order(
    first: list[str], steps: list[tuple[str, Any]], url: str, namespace: str
) -> None:
    """Each is delivered when those before it have settled, and in the end all have, and nothing is left of the keys."""
    keyspace = Keyspace(url, namespace)
    (version,) = keyspace.ask(leases.register(keyspace.keys, "w", 60_000, Registration("app", "f", b"", ("default",))))
    model = Model(keyspace, version, first_id=0)
    begin = [*(("send", key) for key in first), ("read_all", "d1"), ("dispatch", "d1")]
    for name, argument in [*begin, *steps]:
        model.step(name, argument)
    model.drain()
    assert {key: sorted(ids) for key, ids in model.ended.items()} == {
        key: sorted(ids) for key, ids in model.sent.items()
    }
    left = [key for kind in ("order", "turns") for key in keyspace.admin.keys(f"{keyspace.keys.prefix}{kind}:*")]
    assert left == []
    keyspace.admin.flushall()
    keyspace.close()
