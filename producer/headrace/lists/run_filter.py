"""Which runs a list asks for, as it was checked. Pure."""

from __future__ import annotations

import msgspec

from headrace.model.event import FINAL_STATUSES, RunRecord


class ChosenRuns(msgspec.Struct, frozen=True, kw_only=True):
    """A filter that was checked.

    Attributes:
        statuses: None for any.
        queue: `<app>/<queue>`.
        older_than_ms: for how long a run must have been executing.
        since, until: the ids of the oldest entry that counts, and of one behind the newest; empty for none.
    """

    job: str | None = None
    statuses: frozenset[str] | None = None
    event_name: str | None = None
    queue: str | None = None
    worker: str | None = None
    older_than_ms: int | None = None
    since: str = ""
    until: str = ""

    @property
    def only(self) -> str | None:
        """The one state that is asked for; None for several."""
        (only, *more) = self.statuses or (None,)
        return None if more else only

    @property
    def is_final(self) -> bool:
        """The index of settled runs has all that is asked for; it does not know the names of their events."""
        return self.statuses is not None and self.statuses <= FINAL_STATUSES and self.event_name is None

    @property
    def is_narrow(self) -> bool:
        """Something is asked for beside a time."""
        return any((self.job, self.statuses, self.event_name, self.queue, self.worker))

    @property
    def app(self) -> str | None:
        """The app of the job or of the queue that is asked for; None for any."""
        named = self.job or self.queue
        return named.partition("/")[0] if named else None

    def may_be_of(self, job: str) -> bool:
        """Return whether a run of this job may be asked for."""
        return self.job in (None, job) and self.app in (None, job.partition("/")[0])

    def is_of_queue(self, app: str, queue: str) -> bool:
        """Return whether runs in a queue may be asked for."""
        return self.queue in (None, f"{app}/{queue}") and self.app in (None, app)

    def has(self, run: RunRecord) -> bool:
        """Return whether a run is asked for, as far as its record says."""
        return (
            self.may_be_of(run.job)
            and self.is_of_queue(run.job.partition("/")[0], run.queue)
            and (self.statuses is None or run.status in self.statuses)
            and self.worker in (None, run.worker)
            and self.event_name in (None, run.event_name)
        )
