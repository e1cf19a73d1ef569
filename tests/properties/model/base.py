"""One namespace, on the server and in the model, and what a test holds of its workers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from headrace import Retention
from headrace.formats.keys import Keys
from headrace.transport.single import Transport
from headrace_worker import App, event_trigger
from headrace_worker.app.routes import Routes, fingerprint_of, subscriptions_of
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Delivery, EventEntry, Stream
from headrace_worker.protocol.leases import Registration
from headrace_worker.protocol.rescuing import PendingEntry
from tests.properties.model.facts import Seen
from tests.properties.model.living import JOBS
from tests.properties.model.namespace import QUEUES, Entry, Namespace, Policy

POLICIES = (Policy(5, 20, 3, 10), Policy(0, 20, 3, 10), Policy(0, 0, 1, 1))
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


class MachineBase(RuleBasedStateMachine):
    """Holds a namespace, on the server and in the model, and what was delivered to each worker."""

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
        self.in_flight: dict[str, list[tuple[Delivery, Entry]]] = {}
        self.last_send: Callable[[], None] | None = None
        self.numbers = itertools.count(1)
        self.namespace = Namespace(POLICIES[0])
        self.retention = Retention()
        self.routes: Routes | None = None
        self.is_sound = False

    def ask(self, call: Any) -> Any:
        (answer,) = self.transport.run([call])
        return answer

    def name(self, worker: int) -> str:
        return self.names[-1 - worker % len(self.names)]

    def holder(self, worker: int, held: dict[str, list[Any]]) -> str:
        """Return one of the workers with pending entries."""
        holders = [name for name, those in held.items() if those]
        return holders[-1 - worker % len(holders)]

    def pass_hours(self, hours: int) -> None:
        self.seen.pass_time(hours)
        self.namespace.pass_time(hours)

    def stream(self, name: str) -> Stream:
        return self.events_stream if name == "events" else self.queues[name]

    def held(self, stream: str, entry_id: str, entry: Entry) -> PendingEntry:
        if stream == "events":
            return PendingEntry(entry_id)
        return PendingEntry(entry_id, self.keys.event(entry.event), f"app/{entry.job}")

    def queue_of(self, event_id: str, job: str) -> str:
        return self.namespace.events[event_id].runs[job].queue
