"""Opens the sealed event of a run, and applies the job's filters to it. Pure, as far as the codec is.

A dispatcher that can't open an event makes runs whatever the filters say. So the filters are applied here, where the
key is.
"""

from __future__ import annotations

from headrace import RunError
from headrace.formats.codec import StoredEvent, open_event
from headrace.formats.seal import Seal
from headrace.model.values import decode_value
from headrace_worker.app.filters import compile_filter
from headrace_worker.app.job import Job


class NotMatched(Exception):
    """The job's trigger does not match the opened event; `error` is the error in the run's record."""

    def __init__(self, name: str) -> None:
        message = f"the opened event does not pass the `{name}` of the job's trigger, so the function was not called"
        self.error = RunError("NotMatched", message)
        super().__init__(message)


def open_for(job: Job, event: StoredEvent, event_id: str, seal: Seal | None) -> StoredEvent:
    """Return the event as it was sent.

    Raises:
        SealedEvent: there is no codec, or it can't open the event.
        NotMatched: the event does not pass the filters of the job's trigger.
        UndecodableEvent: the event is damaged.
    """
    opened = open_event(event, event_id, seal)
    if opened.j is not None:
        return opened  # it was sent to this job whatever its trigger
    trigger = job.trigger
    for name, definition, raw in (
        ("filter", trigger.filter, opened.p),
        ("context_filter", trigger.context_filter, opened.c),
    ):
        if definition and not compile_filter(definition, at=name)(decode_value(raw)):
            raise NotMatched(name)
    return opened
