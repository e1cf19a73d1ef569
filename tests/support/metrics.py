"""Reads metrics as Prometheus does: over HTTP, with its own parser."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.processes import Process


class Scrape:
    """What one scrape gave."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the series of that name, without its prefix, that have these labels; 0 if none has."""
        return sum(sample.value for sample in self._found(f"headrace_{name}", labels))

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is such a series."""
        return any(self._found(f"headrace_{name}", labels))

    def _found(self, name: str, labels: dict[str, str]) -> Iterable[Sample]:
        return (each for each in self.samples if each.name == name and labels.items() <= each.labels.items())


def served_at(worker: Process) -> str:
    """Return the URL at which a worker process serves its metrics, once it does."""
    return worker.wait_for_line(r'"url": "(http://\S+)"', 20)[1]


def scrape(url: str) -> Scrape:
    """Return what the endpoint gives."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        return Scrape(answer.read().decode())


def scrape_here(registry: CollectorRegistry) -> Scrape:
    """Return what a scrape of a registry of this process gives."""
    return Scrape(generate_latest(registry).decode())
