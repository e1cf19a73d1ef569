"""Tells at each scrape how much waits on the server: read then, at most once a second, and never waited for long.

It must not fail a scrape: where something can't be read there are no depths, and `headrace_server_up` says so.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from headrace.calls.call import Call
from headrace.connect import open_transport
from headrace.formats.partitions import Partitions
from headrace_worker import protocol
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger

log = get_logger("headrace.metrics")

_READ_EVERY_S = 1.0
_REPLY_TIMEOUT_S = 2.0
_UP = "headrace_server_up"
_TEXTS = {
    _UP: "Whether the server has answered, and let the depths be read.",
    "headrace_queue_entries": "Runs that wait in a queue; those in a worker's hands are not counted.",
    "headrace_events_entries": "Events that are not dispatched yet.",
    "headrace_due_entries": "Delayed events, and runs that wait for their next attempt.",
    "headrace_dead_entries": "Dead letters.",
}
_QUEUE = ("namespace", "app", "queue")


class _Part(NamedTuple):
    """A call whose result is added to a metric, or taken from it."""

    name: str
    queue: str
    call: Call[int]
    sign: int = 1


class Depths(Collector):
    """How much there is in a namespace's queues, in `events`, `due` and `dead`, over all its partitions."""

    def __init__(self, url: str, partitions: Partitions) -> None:
        """Nothing is connected yet; raises ConfigurationError if the URL can't be read."""
        self._partitions = partitions
        self._transport = open_transport(url, attempts=1, reply_timeout_s=_REPLY_TIMEOUT_S)
        self._turn = threading.Lock()
        self._read_at = 0.0
        self._last: list[GaugeMetricFamily] = []
        self._told = ""

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Returns the metrics without values, so that no server is asked when they are registered."""
        return [_family(name) for name in _TEXTS]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Returns what there is on the server, as of the last second."""
        with self._turn:
            if not self._last or monotonic() - self._read_at >= _READ_EVERY_S:
                self._last = self._read()
                self._read_at = monotonic()
            return self._last

    def close(self) -> None:
        """The connections are closed; a later scrape opens new ones."""
        self._transport.close()

    def _read(self) -> list[GaugeMetricFamily]:
        fault = ""
        totals: dict[tuple[str, str], int] = defaultdict(int)
        try:
            parts = list(self._parts())
            for part, count in zip(parts, self._transport.run([part.call for part in parts]), strict=True):
                totals[part.name, part.queue] += part.sign * count
        except Exception as exc:  # noqa: BLE001 - whatever it is, the rest of the scrape is answered
            fault = str(exc) or type(exc).__name__
            totals.clear()
        if fault and fault != self._told:
            log.warning("how much waits on the server can't be read for metrics", error=fault)
        self._told = fault
        totals[_UP, ""] = int(not fault)
        return self._families(totals)

    def _parts(self) -> Iterator[_Part]:
        keys = self._partitions.all
        for each in keys:
            yield _Part("headrace_events_entries", "", protocol.count_entries(each.events))
            yield _Part("headrace_due_entries", "", protocol.count_due(each))
            yield _Part("headrace_dead_entries", "", protocol.count_entries(each.dead))
        for each, names in zip(keys, self._transport.run([protocol.read_queues(each) for each in keys]), strict=True):
            for name in names:
                app, _, queue = name.partition("/")
                stream = protocol.queue_stream(each, app, queue)
                yield _Part("headrace_queue_entries", name, protocol.count_entries(stream.key))
                yield _Part("headrace_queue_entries", name, protocol.count_held(stream), -1)

    def _families(self, totals: dict[tuple[str, str], int]) -> list[GaugeMetricFamily]:
        families = {name: _family(name) for name in _TEXTS}
        namespace = self._partitions.namespace
        for (name, queue), count in totals.items():
            # Entries settle between the two counts of a queue, so that there may be fewer than none.
            families[name].add_metric([namespace, *(queue.split("/", 1) if queue else ())], max(count, 0))
        return list(families.values())


def _family(name: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, _TEXTS[name], labels=_QUEUE if name == "headrace_queue_entries" else _QUEUE[:1])
