"""What the demonstration sends, and where it finds it."""

from __future__ import annotations

from pathlib import Path

import msgspec

import headrace_worker
from headrace import ConfigurationError, Event

DUE_AFTER_S = 3.0
CANCELED_AFTER_S = 30.0
"""When the canceled event would have been due: late enough that no slow machine lets it through."""
_BATCH_EVENTS = 5


def example_folder() -> Path:
    """Returns `examples/github` of the checkout that this package is installed from, or raises ConfigurationError."""
    folder = Path(headrace_worker.__file__).resolve().parents[2] / "examples" / "github"
    if (folder / "jobs.py").is_file() and (folder / "webhooks.ndjson").is_file():
        return folder
    raise ConfigurationError(
        "the demonstration runs in a checkout of the project, and this installation is not of one: "
        "get the source and run `make demo` there"
    )


class Programme(msgspec.Struct, frozen=True):
    """The events, in the order in which they are sent.

    Attributes:
        webhooks: GitHub's sample payloads as they are.
        other_branch: a pull request made from one of them, that is not against the default branch.
        due: what a job shall see only after `DUE_AFTER_S`.
        canceled: what would be due later, and is canceled before.
    """

    webhooks: list[Event]
    other_branch: Event
    due: Event
    canceled: Event

    @property
    def now(self) -> list[Event]:
        """What is sent for now."""
        return [*self.webhooks, self.other_branch]

    @property
    def batches(self) -> list[list[Event]]:
        """What is sent for now, a few at a time, so that there is something to see."""
        events = self.now
        return [events[start : start + _BATCH_EVENTS] for start in range(0, len(events), _BATCH_EVENTS)]


def load(folder: Path) -> Programme:
    """Returns the programme with the webhooks of the folder."""
    decoder = msgspec.json.Decoder(Event)
    webhooks = [decoder.decode(line) for line in (folder / "webhooks.ndjson").read_bytes().splitlines()]
    opened = next(event for event in webhooks if event.name == "github.pull_request.opened")
    base = {**opened.payload["pull_request"]["base"], "ref": "release-1"}
    pull_request = {**opened.payload["pull_request"], "base": base}
    number = {"number": opened.payload["number"]}
    return Programme(
        webhooks,
        msgspec.structs.replace(opened, payload={**opened.payload, "pull_request": pull_request}),
        Event("review.due", number, id="review-due", source="demo"),
        Event("review.due", number, id="review-due-canceled", source="demo"),
    )
