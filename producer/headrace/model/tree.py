"""An event with what came of it: its runs, the events that they sent, and so on."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from headrace.model.event import EventRecord


class EventTree(msgspec.Struct, frozen=True, kw_only=True):
    """An event and what came of it, as far as it is remembered and was asked for.

    Attributes:
        record: None if the event is not remembered any more, or can't be read.
        error: why its record can't be read.
        sent: the events that each of its runs has sent, by the run's id; see `RunRecord.sent_events`.
        left_out: events that its runs have sent and that are not in `sent`, as the tree is deep or large enough.
    """

    id: str
    record: EventRecord | None
    error: str | None = None
    sent: dict[str, list[EventTree]] = {}
    left_out: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out, here and below."""
        return all(not each.left_out for each in self.walk())

    def walk(self) -> Iterator[EventTree]:
        """Return this event and all below it, each before what came of it."""
        yield self
        for below in self.sent.values():
            for each in below:
                yield from each.walk()
