"""Whatever dispatchers and workers do in whatever order, runs of an ordering key keep theirs, one at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import Event, Retention, calls
from headrace.outgoing import SendOptions, prepare
from headrace_worker import protocol
from headrace_worker.delivery import Delivery, decode_delivery, decode_event_entry
from headrace_worker.protocol import EventsBehind, HeldEntry, Matched, Registration, Retried, Settled
from headrace_worker.route import Route
from tests.scripts.state import World

_ROUTE = Route("app/job", "app", "default")
_RETENTION = Retention(success_s=60, failure_s=60, dedupe_client_s=60, dedupe_sender_s=60)
_DISPATCHERS = ("d1", "d2")

_steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(["a", "b", ""])),
        st.tuples(st.sampled_from(["read", "dispatch", "give_back"]), st.sampled_from(_DISPATCHERS)),
        st.tuples(st.sampled_from(["take", "promote"]), st.just("")),
        st.tuples(st.sampled_from(["settle", "retry", "release"]), st.integers(0, 5)),
    ),
    max_size=60,
)


class Model:
    """What was sent, what is in whose hands, and the first deliveries of each key in their order."""

    def __init__(self, world: World, version: str, first_id: int) -> None:
        self.world = world
        self.keys = world.keys
        self.version = version
        self.ids = count(first_id)
        self.sent: dict[str, list[str]] = {"a": [], "b": [], "": []}
        self.ended: dict[str, list[str]] = {"a": [], "b": [], "": []}
        self.events: dict[str, list[Any]] = {name: [] for name in _DISPATCHERS}
        self.runs: list[Delivery] = []

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
        self.world.ask(calls.send(self.keys, prepare([event], options, now=lambda: datetime.now(UTC)), event_id))
        self.sent[key].append(event_id)

    def read(self, name: str, most: int = 2) -> None:
        call = protocol.read_group(protocol.DISPATCH_GROUP, name, self.keys.events, most, None)
        self.events[name] += [decode_event_entry(entry) for entry in self.world.ask(call)[0]]

    def dispatch(self, name: str) -> None:
        batch = [Matched(entry, [_ROUTE]) for entry in self.events[name]]
        (answer,) = self.world.ask(protocol.dispatch(self.keys, batch, self.version, _RETENTION))
        if not isinstance(answer, EventsBehind):
            self.events[name] = []

    def give_back(self, name: str) -> None:
        held = [HeldEntry(each.entry) for each in self.events[name]]
        self.world.ask(protocol.release(protocol.events_stream(self.keys), held))
        self.events[name] = []

    def take(self, _: str) -> None:
        queue = protocol.queue_stream(self.keys, "app", "default")
        for _queue, entries in self.world.ask(protocol.take("w", [queue], 2))[0]:
            self.runs += [decode_delivery(queue, entry) for entry in entries]

    def promote(self, _: str) -> None:
        (looked,) = self.world.ask(protocol.promote(self.keys, [], 100))
        self.world.ask(protocol.promote(self.keys, [due.member for due in looked.ahead], 0))

    def settle(self, place: int) -> None:
        for run in self.runs[place : place + 1]:
            settled = Settled(run, "s" if place % 2 else "f", 0, "" if place % 2 else "failed", b"")
            self.world.ask(protocol.settle(self.keys, "w", [settled], _RETENTION))
            self.ended[run.ordering_key].append(run.event_id)
            self.runs.remove(run)

    def retry(self, place: int) -> None:
        for run in self.runs[place : place + 1]:
            self.world.ask(protocol.retry(self.keys, "w", [Retried(run, "2 0 0 0", 0, 0, b"")]))
            self.runs.remove(run)

    def release(self, place: int) -> None:
        for run in self.runs[place : place + 1]:
            held = HeldEntry(run.entry, self.keys.event(run.event_id), run.job)
            self.world.ask(protocol.release(run.queue, [held]))
            self.runs.remove(run)

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
            self.step("promote", "")
            if turn > 3 and list(map(len, self.ended.values())) == list(map(len, self.sent.values())):
                return


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps)
def test_runs_of_an_ordering_key_keep_their_order(steps: list[tuple[str, Any]], url: str, namespace: str) -> None:
    """Each is delivered when those before it have settled, and in the end all have, and nothing is left of the keys."""
    world = World(url, namespace)
    (version,) = world.ask(protocol.register(world.keys, "w", 60_000, Registration("app", "f", b"", ("default",))))
    model = Model(world, version, first_id=0)
    for name, argument in steps:
        model.step(name, argument)
    model.drain()
    assert {key: sorted(ids) for key, ids in model.ended.items()} == {
        key: sorted(ids) for key, ids in model.sent.items()
    }
    left = [key for kind in ("order", "turns") for key in world.admin.keys(f"{world.keys.prefix}{kind}:*")]
    assert left == []
    world.admin.flushall()
    world.close()
