"""Examples of a job's payload: checked at its definition, for tests and for triggering the job by hand. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace import PayloadError
from headrace.formats.keys import is_name
from headrace.model.typed import event_name_of
from headrace.model.values import encode
from headrace_worker.app.job import Job
from headrace_worker.errors import JobError


class Example(msgspec.Struct, frozen=True):
    """A payload under a name.

    Attributes:
        event: the name of an event that may have it, to which the job subscribes.
        payload: as it was given.
    """

    event: str
    payload: Any


def checked_examples(job: Job, given: Mapping[str, Any]) -> dict[str, Example]:
    """Return the examples of a job by their names.

    Raises:
        JobError: a name is none, or a payload does not fit the job.
    """
    for name in given:
        if not is_name(name):
            raise JobError(job.id, f"examples: {name!r} is no name: 1 to 64 of A-Z a-z 0-9 _ . - are allowed")
    return {name: _checked(job, name, payload) for name, payload in given.items()}


def parsed(job: Job, example: Example) -> Any:
    """Return an example's payload as the job's function gets it."""
    parse = job.parsers.get(example.event, job.parse)
    return example.payload if parse is None else parse(msgspec.Raw(encode(example.payload)))


def _checked(job: Job, name: str, payload: Any) -> Example:
    own = event_name_of(type(payload))
    if own is not None and own not in job.trigger.names:
        raise JobError(job.id, f"examples: {name} is of {own!r} events, to which the job does not subscribe")
    faults = []
    for event in job.trigger.names if own is None else (own,):
        example = Example(event, payload)
        try:
            encode(payload)
            parsed(job, example)
        except PayloadError as exc:
            faults.append(str(exc))
        except Exception as exc:  # a payload may have code of its own
            raise JobError(job.id, f"examples: {name} can't be sent: {exc}") from exc
        else:
            return example
    raise JobError(job.id, f"examples: {name} does not fit the job's payload: {faults[0]}")
