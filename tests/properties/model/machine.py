"""Draws what happens in a namespace, lets it happen on a real server and in the model, and compares them.

The scripts are called as the packages call them. A worker here is a name and what was delivered to it; it may go on
with that whatever has become of its lease, as one that stood still and comes back would.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from headrace import Retention
from tests.properties.model.base import COUNTS, POLICIES, WORKERS
from tests.properties.model.event_rules import something_is_due
from tests.properties.model.living import JOBS, LEASE
from tests.properties.model.namespace import LOOK_AGAIN, QUEUES, UNDISPATCHED, Namespace, Policy
from tests.properties.model.operator_rules import OperatorRules
from tests.properties.model.worker_rules import WorkerRules


class Machine(WorkerRules, OperatorRules):
    """One namespace, on the server and in the model."""

    @invariant()
    def the_server_holds_what_it_should(self) -> None:
        self.is_sound = False
        found, expected = self.seen.facts(self.names, QUEUES), self.namespace.facts()
        wrong = {key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)}
        assert not wrong, "\n".join(f"{key}: {found.get(key)}, not {expected.get(key)}" for key in sorted(wrong))
        self.is_sound = True

    @initialize(policy=st.sampled_from(POLICIES), version=st.sampled_from(sorted(JOBS)))
    def begin(self, policy: Policy, version: str) -> None:
        self.namespace = Namespace(policy)
        hours = (policy.success, policy.failure, policy.client, policy.sender)
        self.retention = Retention(*(hour * 3600.0 for hour in hours))
        self.register(version)
        self.send(["a"], "x", "s", 0, is_large=False)
        self.send(["b"], "x", "c", 1, is_large=True)

    @precondition(something_is_due)
    @rule(hours=st.integers(0, 3))
    def wait_and_promote(self, hours: int) -> None:
        self.pass_time(hours)
        self.promote_members(list(self.namespace.due))

    @rule(worker=WORKERS, count=COUNTS)
    def hand_out(self, worker: int, count: int) -> None:
        """Bring an event to a worker as a run, without anything in between."""
        name = self.name(worker)
        self.read_routes()
        self.read_events_as(name, count)
        self.dispatch_as(name, 100)
        self.take_as(name, count, QUEUES)

    def teardown(self) -> None:
        try:
            if self.names and self.is_sound:
                self.drain()
        finally:
            self.transport.close()
            self.redis.close()

    def drain(self) -> None:
        """Every worker dies and a new one does all that is left; then nothing is left but what lasts."""
        self.undo_controls()
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
        self.pass_hours(LEASE + max(LOOK_AGAIN, UNDISPATCHED))
        for name in self.names:
            assert self.rescue_from(name, "events", dead=True, count=1) == 0
        self.pass_hours(LOOK_AGAIN)
        for name in self.names:
            self.forget(name, dead=True)
        self.the_server_holds_what_it_should()
        assert (self.namespace.events, self.namespace.leases, self.namespace.known) == ({}, {}, {})
