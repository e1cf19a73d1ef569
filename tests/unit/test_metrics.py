"""Facts become metrics: what is added in batches is what would have been added one by one, under bounded names."""

from __future__ import annotations

import random
import time
from collections import Counter as Tally

import pytest
from prometheus_client import CollectorRegistry, Histogram

from headrace.formats.codec import RunState
from headrace.formats.keys import Keys
from headrace_worker import App, event_trigger
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.observer import Observer, guarded
from headrace_worker.metrics.prometheus import Metrics, _Counting
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.dispatching import Dispatched
from headrace_worker.protocol.settling import BadEntry, Retried, Settled
from tests.support.metrics import Scrape, scrape_here


class _Setup:
    """An app with the jobs `a` and `b`, and what counts for it."""

    def __init__(self) -> None:
        app = App("app")
        for job in ("a", "b"):

            @app.job(id=job, trigger=event_trigger("x"))
            async def function() -> None: ...

        self.keys = Keys("prod")
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.observer = self.metrics.watch(app, self.keys, InFlight(7))
        self.queue = reading.queue_stream(self.keys, "app", "default")
        self.events = reading.events_stream(self.keys)

    def delivery(self, job: str = "a", state: RunState | None = None, queued_ms: int = 1_000) -> Delivery:
        return Delivery(self.queue, f"{queued_ms}-0", "e", job, state or RunState(), b"", 0)

    @property
    def seen(self) -> Scrape:
        return scrape_here(self.registry)


@pytest.fixture
def setup() -> _Setup:
    return _Setup()


def test_durations_added_at_once_count_as_observed_singly(setup: _Setup) -> None:
    """In every bucket, at its very bound and beyond the last."""
    many = setup.metrics.execution.labels("prod", "app", "a")
    bounds = [each for each in many._upper_bounds if each != float("inf")]
    drawn = [random.expovariate(1) for _ in range(200)] + [0.0, 5_000.0, *bounds]
    one = Histogram("one", "One by one.", registry=None, buckets=many._upper_bounds)
    for seconds in [*drawn, *drawn[:50]]:
        one.observe(seconds)
    many.observe_all(Tally([*drawn, *drawn[:50]]))
    assert [bucket.get() for bucket in many._buckets] == [bucket.get() for bucket in one._buckets]
    assert many._sum.get() == pytest.approx(one._sum.get())


def test_durations_are_observed_singly_if_adding_fails(setup: _Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a release of prometheus-client that has renamed the parts of a histogram."""
    many = setup.metrics.execution.labels("prod", "app", "a")
    seen: list[float] = []
    monkeypatch.delattr(many, "_sum")
    monkeypatch.setattr(many, "observe", seen.append)
    many.observe_all(Tally([0.5, 0.1, 0.5]))
    assert sorted(seen) == [0.1, 0.5, 0.5]


def test_ends_are_counted_by_job_and_status(setup: _Setup) -> None:
    """Each with its dead letter where it is one; the dropped are stale and nothing else."""
    ends = [
        Settled(setup.delivery("a"), "s", 20, "", b""), Settled(setup.delivery("a"), "s", 30, "", b""),
        Settled(setup.delivery("b"), "f", 40, "failed", b""), Settled(setup.delivery("b"), "c", 0, "", b""),
        Settled(setup.delivery("b"), "s", 50, "", b""), Settled(setup.delivery("a"), "f", 0, "lost", b""),
    ]  # fmt: skip
    setup.observer.settled(ends, [1, 4])
    seen = setup.seen
    counts = {("a", "succeeded"): 1, ("a", "failed"): 1, ("b", "failed"): 1, ("b", "canceled"): 1}
    assert {key: seen.sum("runs_settled_total", job=key[0], status=key[1]) for key in counts} == counts
    assert seen.sum("runs_settled_total") == 4
    assert [seen.sum("settles_stale_total", job=job) for job in "ab"] == [1, 1]
    assert [seen.sum("dead_letters_total", reason=reason) for reason in ("failed", "lost")] == [1, 1]
    assert seen.sum("run_execution_seconds_sum") == pytest.approx(0.06)
    assert seen.sum("run_execution_seconds_count") == 3  # a lost run was not called


def test_a_wait_for_another_worker_is_no_retry(setup: _Setup) -> None:
    """Only what is attempted again is."""
    state = RunState(attempt=2)
    waits = [
        Retried(setup.delivery(state=state), RunState(attempt=3).text(), 5, 100, b""),
        Retried(setup.delivery(state=state), RunState(attempt=2, unknown_since_ms=9).text(), 0, 100, b""),
    ]
    setup.observer.settled(waits, [])
    assert setup.seen.sum("runs_retried_total", job="a") == setup.seen.sum("run_execution_seconds_count") == 1


def test_jobs_that_the_app_does_not_have_share_one_name(setup: _Setup) -> None:
    """However many entries name however many."""
    setup.observer.began([setup.delivery(f"evil-{number}") for number in range(5)])
    setup.observer.failed(setup.delivery("evil-5"), ValueError())
    setup.observer.settled([Settled(setup.delivery("evil-6"), "f", 0, "unknown_job", b"")], [])
    setup.observer.dead_lettered(setup.queue, BadEntry("1-0", "unreadable", "", "e", "evil-7"))
    seen = setup.seen
    assert "evil" not in seen.text
    assert seen.sum("attempts_begun_total", job="(unknown)") == 5


def test_a_wait_is_measured_by_the_servers_clock(setup: _Setup) -> None:
    """Before that is known none is; one that seems to have begun before it was queued did not wait."""
    server_ahead_s = 1_000_000.0
    queued_ms = round((time.monotonic() + server_ahead_s) * 1000) - 60_000
    run, early = setup.delivery(queued_ms=queued_ms), setup.delivery(queued_ms=queued_ms + 3_600_000)
    setup.observer.began([run])
    assert setup.seen.sum("run_wait_seconds_count") == 0
    setup.observer.renewed(server_ahead_s)
    setup.observer.began([run, early])
    assert setup.seen.sum("run_wait_seconds_count") == 2
    assert 60 <= setup.seen.sum("run_wait_seconds_sum") < 120


def test_what_happens_to_entries_is_counted_by_their_streams(setup: _Setup) -> None:
    """Events have no queue."""
    for stream in (setup.queue, setup.events):
        setup.observer.rescued(stream, 3)
        setup.observer.released(stream, 2)
    setup.observer.promoted(4)
    setup.observer.dispatched(10, Dispatched(6, 12, 1))
    seen = setup.seen
    assert seen.sum("runs_rescued_total", app="app", queue="default") == seen.sum("runs_rescued_total") == 3
    assert seen.sum("events_rescued_total") == 3
    assert seen.sum("runs_released_total", app="app", queue="default") == seen.sum("runs_released_total") == 2
    names = ("due_promoted_total", "events_dispatched_total", "runs_queued_total", "dispatches_stale_total")
    assert [seen.sum(name) for name in names] == [4, 6, 12, 3]


def test_an_observer_that_counts_hears_of_everything() -> None:
    """Nothing that a step tells is left to the one that makes nothing of it."""
    told = {name for name in vars(Observer) if not name.startswith("_")}
    assert told <= set(vars(_Counting))
    assert told <= set(vars(type(guarded(Observer()))))
