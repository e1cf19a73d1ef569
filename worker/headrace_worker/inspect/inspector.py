"""The client that shows workers, queues and counts. Its user needs to read what workers have written."""

from __future__ import annotations

from datetime import timedelta

from headrace import Client, Page
from headrace_worker.inspect.jobs import RegisteredJob, find_job
from headrace_worker.inspect.queues import QueueInfo, get_queue, list_queues
from headrace_worker.inspect.tallies import Stats, read_stats
from headrace_worker.inspect.workers import WorkerDetail, WorkerInfo, get_worker, list_workers


class Inspector(Client):
    """A client that looks at workers and queues, too. Something foreign under a key counts as nothing."""

    def list_workers(self, *, cursor: str | None = None, limit: int = 100) -> Page[WorkerInfo]:
        """Return a page of the workers of the namespace, by name.

        It looks at 10,000 leases of a partition at most, those that end last: `searched` says whether there are more.

        Args:
            cursor: the `cursor` of the page before.
            limit: 1 to 1000.

        Raises:
            InvalidArgument: an argument breaks its rule.
        """
        return self._run(list_workers(self.partitions, cursor, limit), partial=True)

    def get_worker(self, name: str) -> WorkerDetail:
        """Return a worker and the runs that it has; raise UnknownWorker."""
        return self._run(get_worker(self.partitions, name), partial=True)

    def list_queues(self) -> Page[QueueInfo]:
        """Return the queues of the namespace, by name, all on one page."""
        return self._run(list_queues(self.partitions), partial=True)

    def get_queue(self, queue: str) -> QueueInfo:
        """Return one queue, `<app>/<queue>`; raise QueueNotFound."""
        return self._run(get_queue(self.partitions, queue), partial=True)

    def find_job(self, job: str) -> RegisteredJob:
        """Return one job, `<app>/<job id>`, as it is registered; raise UnknownJob."""
        return self._run(find_job(self.partitions, job), partial=True)

    def get_stats(self, since: float | timedelta) -> Stats:
        """Return what became of runs in the last so many seconds: a minute to a day. Raise InvalidArgument."""
        return self._run(read_stats(self.partitions, since), partial=True)
