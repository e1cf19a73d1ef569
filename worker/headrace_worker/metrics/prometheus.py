"""Counts what a worker does, for Prometheus: a batch of facts costs a few additions, not some for each run.

Needs the extra `metrics`. No label ever holds a text from outside: neither names nor ids of events, and no job but
those of the worker's app.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from headrace import ConfigurationError
from headrace.formats.codec import STATUS_OF
from headrace.formats.keys import Keys
from headrace_worker.app.app import App
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.membership.observer import Observer, guarded
from headrace_worker.protocol.delivery import Delivery, Stream
from headrace_worker.protocol.dispatching import Dispatched
from headrace_worker.protocol.settling import BadEntry, Retried, Settled
from headrace_worker.run.outcome import LOST, SEALED, UNKNOWN_JOB

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ModuleNotFoundError as exc:
    needed = 'metrics need the package prometheus-client: pip install "headrace-worker[metrics]"'
    raise ConfigurationError(needed) from exc

from headrace_worker.clock import monotonic
from headrace_worker.metrics import metric_files

log = get_logger("headrace.metrics")

_BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800)
_UNKNOWN = "(unknown)"
"""Stands for a job that the worker's app does not have; no job can have this name."""
_NOT_CALLED = frozenset({LOST, UNKNOWN_JOB, SEALED, "invalid_payload"})
_RETRIED = "w"
_FINAL = ("succeeded", "failed", "timed_out", "canceled", "invalid_payload")
_JOB = ("namespace", "app", "job")
_QUEUE = ("namespace", "app", "queue")


class _Durations(Histogram):
    """A histogram that takes many durations at once.

    prometheus-client observes one value a call, which costs several times as much (see "Why not" in docs/design.md). So
    this class adds to the histogram's own parts. A release that names the parts differently makes this class slower,
    not wrong.
    """

    def observe_all(self, counts: Mapping[float, int]) -> None:
        """Observe each duration as often as it is counted, with one addition for each bucket."""
        try:
            bounds, buckets, total = self._upper_bounds, self._buckets, self._sum
        except AttributeError:
            for seconds in Tally(counts).elements():
                self.observe(seconds)
            return
        by_bucket: Tally[int] = Tally()
        for seconds, count in counts.items():
            by_bucket[bisect_left(bounds, seconds)] += count
        for place, count in by_bucket.items():
            buckets[place].inc(count)
        total.inc(sum(seconds * count for seconds, count in counts.items()))


class Metrics:
    """The metrics of this process's workers: pass them to each `Worker`, and serve the registry as you like.

    If PROMETHEUS_MULTIPROC_DIR is set, they are kept in files in that folder, which outlive the process. Make them
    before other metrics, which are then safe from a full disk, too.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register every metric; a registry takes them once."""
        metric_files.keep_room()

        def counter(name: str, text: str, labels: Sequence[str] = _JOB) -> Counter:
            return Counter(f"headrace_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, mode: Literal["livesum", "livemin"], labels: Sequence[str]) -> Gauge:
            return Gauge(f"headrace_{name}", text, labels, registry=registry, multiprocess_mode=mode)

        def durations(name: str, text: str) -> _Durations:
            return _Durations(f"headrace_{name}", text, _JOB, registry=registry, buckets=_BOUNDS_S)

        everywhere, of_partition = ("namespace",), ("namespace", "app", "partition")
        self.dispatched = counter("events_dispatched_total", "Events dispatched.", everywhere)
        self.queued = counter("runs_queued_total", "Runs made of events by dispatch.", everywhere)
        self.stale_dispatches = counter(
            "dispatches_stale_total", "Events to dispatch that other workers had dispatched.", everywhere
        )
        self.promoted = counter("due_promoted_total", "Delayed events and waiting runs that became due.", everywhere)
        self.begun = counter("attempts_begun_total", "Attempts begun.")
        self.failed = counter("attempts_failed_total", "Attempts that raised, or ran out of time.")
        self.settled = counter("runs_settled_total", "Runs recorded as ended, by status.", (*_JOB, "status"))
        self.retried = counter("runs_retried_total", "Runs recorded as waiting for their next attempt.")
        self.stale = counter(
            "settles_stale_total", "Outcomes dropped: another worker had the run by then, or it was recorded."
        )
        self.dead = counter("dead_letters_total", "Runs and entries moved to dead, by reason.", (*_JOB, "reason"))
        self.released = counter("runs_released_total", "Runs released without an outcome.", _QUEUE)
        self.rescued = counter("runs_rescued_total", "Runs taken from dead workers.", _QUEUE)
        self.rescued_events = counter(
            "events_rescued_total", "Undispatched events taken from other workers.", everywhere
        )
        self.execution = durations("run_execution_seconds", "How long an attempt executed.")
        self.wait = durations("run_wait_seconds", "From a run's entry into its queue to its start.")
        self.runs_in_flight = gauge("runs_in_flight", "Runs that take a slot.", "livesum", ("namespace", "app"))
        self.slots = gauge("slots", "Runs that can be executed at once.", "livesum", ("namespace", "app"))
        self.last_poll = gauge(
            "last_poll_timestamp_seconds", "When a look for new runs was last complete.", "livemin", of_partition
        )
        self.last_renewal = gauge(
            "last_renewal_timestamp_seconds", "When the lease was last renewed.", "livemin", of_partition
        )

    def watch(self, app: App, keys: Keys, in_flight: InFlight) -> Observer:
        """Return the observer of a worker in one partition; none of its failures reaches the worker."""
        try:
            return guarded(_Counting(self, app, keys, in_flight))
        except BaseException:  # of a library: the worker works without metrics
            log.exception("metrics can't be counted, the worker goes on without them")
            return Observer()


class _Counting(Observer):
    def __init__(self, metrics: Metrics, app: App, keys: Keys, in_flight: InFlight) -> None:
        self._metrics = metrics
        self._jobs = app.jobs
        self._in_flight = in_flight
        self._server_ahead_s: float | None = None
        self._namespace = keys.namespace
        self._app = app.name
        where = (self._namespace, self._app, str(keys.partition))
        self._runs_in_flight = metrics.runs_in_flight.labels(*where[:2])
        self._last_poll, self._last_renewal = metrics.last_poll.labels(*where), metrics.last_renewal.labels(*where)
        metrics.slots.labels(*where[:2]).set(in_flight.slots)
        self.polled()
        self._last_renewal.set(time.time())
        for job in app.jobs:  # a rate needs the 0 before the first count
            names: list[tuple[str, ...]] = [(job,)]
            for each in (metrics.begun, metrics.failed, metrics.retried, metrics.stale):
                self._add(each, dict.fromkeys(names, 0))
            self._add(metrics.settled, {(job, status): 0 for status in _FINAL})

    def polled(self) -> None:
        self._last_poll.set(time.time())
        self._runs_in_flight.set(len(self._in_flight.runs))
        if fault := metric_files.take_fault():
            log.warning("metrics can't be kept for now: those without room are in memory only", error=fault)

    def renewed(self, server_ahead_s: float) -> None:
        self._server_ahead_s = server_ahead_s
        self._last_renewal.set(time.time())

    def dispatched(self, requested: int, done: Dispatched) -> None:
        metrics, namespace = self._metrics, self._namespace
        metrics.dispatched.labels(namespace).inc(done.events)
        metrics.queued.labels(namespace).inc(done.runs)
        metrics.stale_dispatches.labels(namespace).inc(requested - done.events - done.lost)

    def began(self, deliveries: Sequence[Delivery]) -> None:
        # Most runs of a batch came into their queue at once, so the loop has few turns.
        alike = Tally((delivery.job_id, delivery.entry.partition("-")[0]) for delivery in deliveries)
        ahead_s = self._server_ahead_s
        now_s = None if ahead_s is None else monotonic() + ahead_s
        begun: Tally[tuple[str, ...]] = Tally()
        waits: dict[str, Tally[float]] = defaultdict(Tally)
        for (job_id, queued_ms), count in alike.items():
            job = self._job(job_id)
            begun[job,] += count
            if now_s is not None:
                waits[job][max(now_s - int(queued_ms) / 1000, 0.0)] += count
        self._add(self._metrics.begun, begun)
        self._observe(self._metrics.wait, waits)
        self._runs_in_flight.set(len(self._in_flight.runs))

    def failed(self, delivery: Delivery, exc: BaseException) -> None:  # noqa: ARG002 - counted, not described
        self._add(self._metrics.failed, {(self._job(delivery.job_id),): 1})

    def settled(self, records: Sequence[Settled | Retried], missed: Sequence[int]) -> None:
        metrics, dropped = self._metrics, set(missed)
        kept = [record for place, record in enumerate(records) if place not in dropped] if dropped else records
        added: dict[Counter, Tally[tuple[str, ...]]] = defaultdict(Tally)
        called: dict[str, Tally[float]] = defaultdict(Tally)
        for place in dropped:
            added[metrics.stale][self._job(records[place].delivery.job_id),] += 1
        for (job_id, letter, reason, elapsed_ms), count in Tally(map(_end_of, kept)).items():
            job = self._job(job_id)
            if letter == _RETRIED:
                added[metrics.retried][job,] += count
            elif letter:
                added[metrics.settled][job, STATUS_OF[letter]] += count
            if reason:
                added[metrics.dead][job, reason] += count
            if letter and reason not in _NOT_CALLED:
                called[job][elapsed_ms / 1000] += count
        for counter, counts in added.items():
            self._add(counter, counts)
        self._observe(metrics.execution, called)
        self._runs_in_flight.set(len(self._in_flight.runs))

    def dead_lettered(self, stream: Stream, bad: BadEntry) -> None:
        app = stream.app
        self._metrics.dead.labels(self._namespace, app, self._job(bad.job_id) if app else "", bad.reason).inc()

    def released(self, stream: Stream, entries: int) -> None:
        if stream.name:
            self._metrics.released.labels(self._namespace, stream.app, stream.name).inc(entries)

    def rescued(self, stream: Stream, entries: int) -> None:
        if stream.name:
            self._metrics.rescued.labels(self._namespace, stream.app, stream.name).inc(entries)
        else:
            self._metrics.rescued_events.labels(self._namespace).inc(entries)

    def promoted(self, members: int) -> None:
        self._metrics.promoted.labels(self._namespace).inc(members)

    def _job(self, job_id: str) -> str:
        return job_id if job_id in self._jobs else _UNKNOWN

    def _add(self, counter: Counter, counts: Mapping[tuple[str, ...], int]) -> None:
        for labels, count in counts.items():
            counter.labels(self._namespace, self._app, *labels).inc(count)

    def _observe(self, durations: _Durations, by_job: Mapping[str, Mapping[float, int]]) -> None:
        for job, counts in by_job.items():
            durations.labels(self._namespace, self._app, job).observe_all(counts)


def _end_of(record: Settled | Retried) -> tuple[str, str, str, int]:
    """Return what is counted of a record: job, status letter, reason and ms. Many records of a batch share them.

    A run that waits for a worker with its job or its key has no letter: it was not attempted.
    """
    if isinstance(record, Settled):
        return record.delivery.job_id, record.letter, record.reason, record.elapsed_ms
    is_attempted = record.state.partition(" ")[0] != str(record.delivery.state.attempt)
    return record.delivery.job_id, _RETRIED if is_attempted else "", "", record.elapsed_ms
