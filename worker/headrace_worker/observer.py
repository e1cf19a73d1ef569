"""What the steps of a worker tell of what they do: facts that they have anyway, once a batch, to whoever counts them.

The observer here makes nothing of them. One that does must be quick, raise nothing and know no payloads.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace_worker.delivery import Delivery, Stream
from headrace_worker.protocol import BadEntry, Dispatched, Retried, Settled


class Observer:
    """Hears what happens in one partition of a worker."""

    def polled(self) -> None:
        """A look for new runs is complete, whatever it gave."""

    def renewed(self) -> None:
        """The lease holds on; told from the lease's own thread."""

    def dispatched(self, asked: int, done: Dispatched) -> None:
        """Events were dispatched; of those `asked` for, the others were not in this worker's hands, or done before."""

    def began(self, deliveries: Sequence[Delivery]) -> None:
        """Runs are in hand and execute."""

    def failed(self, delivery: Delivery) -> None:
        """A run's attempt has raised, or ran out of time."""

    def settled(self, records: Sequence[Settled | Retried], missed: Sequence[int]) -> None:
        """What runs came to is recorded, but for those in the places `missed`, which are not this worker's any more."""

    def buried(self, stream: Stream, bad: BadEntry) -> None:
        """An entry that can't be handled is set aside in `dead`."""

    def released(self, stream: Stream, entries: int) -> None:
        """So many entries of this worker's hands are back in their stream."""

    def rescued(self, stream: Stream, entries: int) -> None:
        """So many entries that another worker held are back in their stream."""

    def promoted(self, members: int) -> None:
        """So many members of `due` are in their streams."""
