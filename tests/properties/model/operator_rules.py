"""Rules by which an operator cancels runs, has them run again, pauses and limits queues, and disables jobs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from headrace.calls import canceling, controlling
from headrace_worker.protocol import switching
from tests.properties.model.base import IDS, WORKERS
from tests.properties.model.event_rules import EventRules
from tests.properties.model.living import JOBS
from tests.properties.model.namespace import QUEUES
from tests.properties.model.run_rules import RunRules

_JOBS = sorted(JOBS["new"])


def _runs(machine: Any, statuses: str) -> list[tuple[str, str]]:
    events = machine.namespace.events.items()
    return [(event_id, job) for event_id, event in events for job, run in event.runs.items() if run.status in statuses]


class OperatorRules(EventRules, RunRules):
    """Lets an operator interfere."""

    @precondition(lambda self: bool(_runs(self, "qxw")))
    @rule(place=st.integers(0, 9), queued=st.booleans())
    def cancel_an_open_run(self, place: int, *, queued: bool) -> None:
        """Queued, waiting or executing; its worker goes on with it, and settles it all the same."""
        runs = _runs(self, "qxw")
        self.cancel_run(*runs[place % len(runs)], queued=queued)

    @precondition(lambda self: bool(_runs(self, "sftic")))
    @rule(place=st.integers(0, 9))
    def cancel_a_run_that_has_ended(self, place: int) -> None:
        runs = _runs(self, "sftic")
        self.cancel_run(*runs[place % len(runs)], queued=False)

    def cancel_run(self, event_id: str, job: str, *, queued: bool) -> None:
        queue = self.queue_of(event_id, job)
        call = canceling.cancel_run(self.keys, event_id, f"app/{job}", queue, "", self.retention, queued=queued)
        assert self.ask(call)[0] == self.namespace.cancel_run(event_id, job, queued=queued)

    @rule(event_id=IDS)
    def cancel_an_event_with_its_runs(self, event_id: str) -> None:
        """As a client does: the event, if it has no runs yet, then each run that is open."""
        self.cancel(event_id, pending=True)
        for each, job in _runs(self, "qxw"):
            if each == event_id:
                self.cancel_run(event_id, job, queued=False)

    @precondition(lambda self: bool(_runs(self, "c")))
    @rule(place=st.integers(0, 9), canceled=st.booleans())
    def rerun_a_canceled_run(self, place: int, *, canceled: bool) -> None:
        """It runs again if that is asked for, and only then."""
        runs = _runs(self, "c")
        event_id, job = runs[place % len(runs)]
        self.rerun(event_id, job, self.queue_of(event_id, job), canceled=canceled)

    @rule(queue=st.sampled_from(QUEUES), is_paused=st.booleans())
    def pause_or_resume(self, queue: str, *, is_paused: bool) -> None:
        self.ask(controlling.control(self.keys, f"app/{queue}", pause="pause" if is_paused else "resume"))
        if is_paused:
            self.namespace.paused.add(queue)
        else:
            self.namespace.paused.discard(queue)

    @rule(queue=st.sampled_from(QUEUES), limit=st.sampled_from(["1", "2", "none", "declared"]))
    def limit(self, queue: str, limit: str) -> None:
        self.ask(controlling.control(self.keys, f"app/{queue}", limit=limit))
        if limit == "declared":
            self.namespace.limits.pop(queue, None)
        else:
            self.namespace.limits[queue] = limit

    @rule(worker=WORKERS, limit=st.sampled_from(["1", "2"]), paused=st.sampled_from([(), QUEUES[:1], QUEUES[1:]]))
    def hand_out_by_a_limit(self, worker: int, limit: str, paused: Collection[str]) -> None:
        """Bring all events to queues that are limited, and some paused too, and take all that these give."""
        name = self.name(worker)
        for queue in QUEUES:
            self.limit(queue, limit)
            self.pause_or_resume(queue, is_paused=queue in paused)
        self.dispatch_all(name)
        self.take_as(name, 100, QUEUES)

    @rule(job=st.sampled_from(_JOBS))
    def disable(self, job: str) -> None:
        """Events that are dispatched from now on make no run of it, whatever routes their dispatchers know."""
        answer = self.ask(switching.disable(self.keys, "app", job, "because"))
        assert answer.is_new == self.namespace.switch(job, disabled=True)

    @rule(job=st.sampled_from(_JOBS))
    def enable(self, job: str) -> None:
        answer = self.ask(switching.enable(self.keys, "app", job))
        assert (answer is not None) == self.namespace.switch(job, disabled=False)

    @rule()
    def undo_controls(self) -> None:
        for queue in QUEUES:
            self.pause_or_resume(queue, is_paused=False)
            self.limit(queue, "declared")
        for job in _JOBS:
            self.enable(job)
