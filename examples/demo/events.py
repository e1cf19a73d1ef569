"""The events that the demo sends."""

from __future__ import annotations

from pathlib import Path

import msgspec

from headrace import Event

DUE_AFTER_S = 3.0
CANCELED_AFTER_S = 30.0
"""When the canceled event would be due: so late that a slow machine cancels it in time, too."""
_BATCH_EVENTS = 5


class DemoEvents(msgspec.Struct, frozen=True):
    """The events, in the order in which they are sent.

    Attributes:
        webhooks: GitHub's sample payloads, unchanged.
        other_branch: a pull request like one of the webhooks, but not against the default branch.
        delayed: is delivered after `DUE_AFTER_S`.
        canceled: is canceled before it is due.
    """

    webhooks: list[Event]
    other_branch: Event
    delayed: Event
    canceled: Event

    @property
    def immediate(self) -> list[Event]:
        """The events that are sent without a delay."""
        return [*self.webhooks, self.other_branch]

    @property
    def batches(self) -> list[list[Event]]:
        """The events without a delay, a few at a time, so that a viewer can follow."""
        events = self.immediate
        return [events[start : start + _BATCH_EVENTS] for start in range(0, len(events), _BATCH_EVENTS)]

    @property
    def total(self) -> int:
        """How many events are sent."""
        return len(self.immediate) + 2


def load_events(folder: Path) -> DemoEvents:
    """Return the events, made from the webhooks in a folder."""
    decoder = msgspec.json.Decoder(Event)
    webhooks = [decoder.decode(line) for line in (folder / "webhooks.ndjson").read_bytes().splitlines()]
    opened = next(event for event in webhooks if event.name == "github.pull_request.opened")
    base = {**opened.payload["pull_request"]["base"], "ref": "release-1"}
    pull_request = {**opened.payload["pull_request"], "base": base}
    number = {"number": opened.payload["number"]}
    return DemoEvents(
        webhooks,
        msgspec.structs.replace(opened, payload={**opened.payload, "pull_request": pull_request}),
        Event("review.due", number, id="review-due", source="demo"),
        Event("review.due", number, id="review-due-canceled", source="demo"),
    )
