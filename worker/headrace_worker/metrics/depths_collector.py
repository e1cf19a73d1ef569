"""Adds to each scrape how much waits on the server: read at the scrape, at most once a second, within a short time.

A failed read does not fail the scrape: the depths are left out, and `headrace_server_up` is 0.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from headrace.connect import open_transport
from headrace.formats.partitions import Partitions
from headrace_worker.clock import monotonic
from headrace_worker.inspect.depths import Depths, read_depths
from headrace_worker.logs.logger import get_logger

log = get_logger("headrace.metrics")

_READ_EVERY_S = 1.0
_REPLY_TIMEOUT_S = 2.0
_UP = "headrace_server_up"
_QUEUES = "headrace_queue_entries"
_TEXTS = {
    _UP: "Whether the server has answered, and let the depths be read.",
    _QUEUES: "Runs that wait in a queue; in-flight runs are not counted.",
    "headrace_events_entries": "Events that are not dispatched yet.",
    "headrace_due_entries": "Delayed events, and runs that wait for their next attempt.",
    "headrace_dead_entries": "Dead letters.",
}
_LABELS = ("namespace", "app", "queue")


class DepthsCollector(Collector):
    """The depths of a namespace as gauges."""

    def __init__(self, url: str, partitions: Partitions) -> None:
        """Connect to nothing yet; raise ConfigurationError if the URL can't be read."""
        self._partitions = partitions
        self._transport = open_transport(url, attempts=1, reply_timeout_s=_REPLY_TIMEOUT_S)
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._last: list[GaugeMetricFamily] = []
        self._logged_fault = ""

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the metrics without values, so that their registration needs no server."""
        return [_family(name) for name in _TEXTS]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the depths as of the last second."""
        with self._lock:
            if not self._last or monotonic() - self._read_at >= _READ_EVERY_S:
                self._last = self._families(self._read())
                self._read_at = monotonic()
            return self._last

    def close(self) -> None:
        """Close the connections; a later scrape opens new ones."""
        self._transport.close()

    def _read(self) -> Depths | None:
        """Return the depths; if they can't be read, log why, once, and return None."""
        try:
            depths = self._run()
        except Exception as exc:  # noqa: BLE001 - the rest of the scrape is answered in any case
            fault = str(exc) or type(exc).__name__
            if fault != self._logged_fault:
                log.warning("how much waits on the server can't be read for metrics", error=fault)
            self._logged_fault = fault
            return None
        self._logged_fault = ""
        return depths

    def _run(self) -> Depths:
        plan = read_depths(self._partitions)
        calls = next(plan)
        while True:
            try:
                calls = plan.send(self._transport.run(calls))
            except StopIteration as end:
                depths: Depths = end.value
                return depths

    def _families(self, depths: Depths | None) -> list[GaugeMetricFamily]:
        families = {name: _family(name) for name in _TEXTS}
        namespace = self._partitions.namespace
        families[_UP].add_metric([namespace], int(depths is not None))
        if depths is not None:
            for name in ("events", "due", "dead"):
                families[f"headrace_{name}_entries"].add_metric([namespace], getattr(depths, name))
            for queue, count in depths.queues.items():
                families[_QUEUES].add_metric([namespace, *queue.split("/", 1)], count)
        return list(families.values())


def _family(name: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, _TEXTS[name], labels=_LABELS if name == _QUEUES else _LABELS[:1])
