"""The definition of a queue: how many of its runs may be in flight, and its weight beside other queues. No I/O."""

from __future__ import annotations

import msgspec

from headrace import ConfigurationError
from headrace.formats.keys import check_name
from headrace.plans.queues import MAX_LIMIT
from headrace_worker.errors import DefinitionError

MAX_WEIGHT = 1_000


class Queue(msgspec.Struct, frozen=True):
    """A queue of an app, for `App.job(queue=)`.

    Attributes:
        name: unique in the app.
        concurrency: how many of its runs may be in flight at once, over all workers; None for any number.
        weight: how many runs a worker takes from it for each run of a queue with weight 1, while both have some.
    """

    name: str
    concurrency: int | None = None
    weight: int = 1

    def __post_init__(self) -> None:
        """Refuse, with DefinitionError, what can't be."""
        try:
            check_name("queue", self.name)
        except ConfigurationError as exc:
            raise DefinitionError(str(exc)) from exc
        for field, value, most in (("concurrency", self.concurrency, MAX_LIMIT), ("weight", self.weight, MAX_WEIGHT)):
            is_none = value is None and field == "concurrency"
            if not is_none and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most):
                rule = f"must be a whole number from 1 to {most:,}"
                raise DefinitionError(f"queue {self.name!r}: {field} {rule}, not {value!r}")
