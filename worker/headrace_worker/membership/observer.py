"""What the steps of a worker report, once a batch, to an observer that counts it: facts that they have anyway.

The observer here ignores the facts. An observer that counts must be quick, know no payloads, and be `guarded`:
counting must not stop the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from headrace.formats.keys import Keys
from headrace_worker.app.app import App
from headrace_worker.logs.logger import get_logger
from headrace_worker.membership.in_flight import InFlight
from headrace_worker.protocol.delivery import Delivery, Stream
from headrace_worker.protocol.dispatching import Dispatched
from headrace_worker.protocol.settling import BadEntry, Retried, Settled

log = get_logger("headrace.metrics")


class Observer:
    """Receives what happens in one partition of a worker."""

    def polled(self) -> None:
        """Note a completed look for new runs, whatever it found."""

    def renewed(self, server_ahead_s: float) -> None:
        """Note a renewed lease; called in the lease's own thread.

        Args:
            server_ahead_s: the server's time less the monotonic clock's, off by at most the renewal's round trip.
        """

    def dispatched(self, requested: int, done: Dispatched) -> None:
        """Note dispatched events; the rest of the `requested` were not pending here any more, or dispatched before."""

    def began(self, deliveries: Sequence[Delivery]) -> None:
        """Note runs that are in flight and execute."""

    def failed(self, delivery: Delivery, exc: BaseException) -> None:
        """Note an attempt that raised or ran out of time."""

    def settled(self, records: Sequence[Settled | Retried], missed: Sequence[int]) -> None:
        """Note recorded outcomes, except at the places `missed`: those runs are not this worker's any more."""

    def dead_lettered(self, stream: Stream, bad: BadEntry) -> None:
        """Note an entry that can't be handled and is moved to `dead`."""

    def released(self, stream: Stream, entries: int) -> None:
        """Note pending entries of this worker that are back in their stream."""

    def rescued(self, stream: Stream, entries: int) -> None:
        """Note pending entries of another worker that are back in their stream."""

    def promoted(self, members: int) -> None:
        """Note members of `due` that are in their streams now."""


class ObserverSource(Protocol):
    """Makes the observers of a worker, one for each partition."""

    def watch(self, app: App, keys: Keys, in_flight: InFlight) -> Observer:
        """Return the observer of a worker in a partition."""


def guarded(observer: Observer) -> Observer:
    """Return an observer that passes every fact on to this one, and drops what it raises.

    The log names each kind of failure once.
    """
    return _Guarded(observer)


class _Guarded(Observer):
    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._reported: set[tuple[str, type[BaseException]]] = set()

    def polled(self) -> None:
        self._notify(self._observer.polled)

    def renewed(self, server_ahead_s: float) -> None:
        self._notify(self._observer.renewed, server_ahead_s)

    def dispatched(self, requested: int, done: Dispatched) -> None:
        self._notify(self._observer.dispatched, requested, done)

    def began(self, deliveries: Sequence[Delivery]) -> None:
        self._notify(self._observer.began, deliveries)

    def failed(self, delivery: Delivery, exc: BaseException) -> None:
        self._notify(self._observer.failed, delivery, exc)

    def settled(self, records: Sequence[Settled | Retried], missed: Sequence[int]) -> None:
        self._notify(self._observer.settled, records, missed)

    def dead_lettered(self, stream: Stream, bad: BadEntry) -> None:
        self._notify(self._observer.dead_lettered, stream, bad)

    def released(self, stream: Stream, entries: int) -> None:
        self._notify(self._observer.released, stream, entries)

    def rescued(self, stream: Stream, entries: int) -> None:
        self._notify(self._observer.rescued, stream, entries)

    def promoted(self, members: int) -> None:
        self._notify(self._observer.promoted, members)

    def _notify(self, receive: Callable[..., None], *facts: object) -> None:
        try:
            receive(*facts)
        except BaseException as exc:
            kind = receive.__name__, type(exc)
            if kind not in self._reported:
                self._reported.add(kind)
                log.exception("what a worker does could not be counted", fact=receive.__name__)
