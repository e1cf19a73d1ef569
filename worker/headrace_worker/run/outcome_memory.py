"""Remembers recent outcomes, so that a run whose record got lost is recorded again and not called again.

Records get lost when a server goes back to older data, when a group is made again, or when a settle and its reply are
lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace_worker.clock import monotonic
from headrace_worker.membership.in_flight import InFlightRun
from headrace_worker.protocol.delivery import Delivery, Key
from headrace_worker.protocol.settling import STOPPED, Retried, Settled

REMEMBERED_S = 30.0
REMEMBERED_RUNS = 10_000
REMEMBERED_BYTES = 824
"""A longer outcome is not remembered."""
_BODY_BYTES = 200
"""A longer body is not remembered: no record needs it."""


class OutcomeMemory:
    """The records of the latest runs, by the keys of their deliveries: half of `REMEMBERED_RUNS` at least."""

    def __init__(self) -> None:
        self._latest: dict[Key, tuple[float, Settled | Retried]] = {}
        self._before: dict[Key, tuple[float, Settled | Retried]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._latest or key in self._before

    def remember(self, runs: Sequence[InFlightRun], records: Sequence[Settled | Retried]) -> None:
        """Remember the records of these runs."""
        now = monotonic()
        for run, record in zip(runs, records, strict=True):
            if len(record.outcome) > REMEMBERED_BYTES or (type(record) is Settled and record.letter == STOPPED):
                continue  # a run that was stopped may be called again here: nothing of it was recorded
            kept, delivery = record, record.delivery
            if kept.trail is not None:
                kept = msgspec.structs.replace(kept, trail=None)
            if delivery.body is not None and len(delivery.body) > _BODY_BYTES:
                kept = msgspec.structs.replace(kept, delivery=msgspec.structs.replace(delivery, body=None))
            self._latest[run.key] = (now, kept)
        if len(self._latest) > REMEMBERED_RUNS // 2:
            self._before, self._latest = self._latest, {}

    def recall(self, delivery: Delivery) -> Settled | Retried | None:
        """Return the record of the run of this delivery; None if it is unknown, or too long ago."""
        known = self._latest.get(delivery.key) or self._before.get(delivery.key)
        if known is None or monotonic() - known[0] > REMEMBERED_S:
            return None
        # A server that was emptied may give an entry's id once more.
        return known[1] if known[1].delivery.run_id == delivery.run_id else None
