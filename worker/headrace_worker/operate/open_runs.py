"""Reads the runs that are open as one list: those behind others, those that execute, those in queues, those that wait.

Those that wait behind another one of their ordering key come first: once that one is canceled, the next of them begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from headrace import Client, HeadraceError, Page, RunRecord, RunStatus
from headrace_worker.operate.bulk import Times, only
from headrace_worker.operate.in_turn import ReadPage, read_in_turn

_MARKED_WITHIN = timedelta(seconds=1)
"""So long after a run has begun its record says when, if the run goes on."""
OPEN: tuple[RunStatus, ...] = ("executing", "queued", "waiting")


class AlreadyFinished(HeadraceError):
    """The run had ended before it was canceled, and stays as it is."""

    def __init__(self, run_id: str, status: str) -> None:
        self.run_id = run_id
        self.status = status
        super().__init__(f"run {run_id!r} is already finished: {status}")


class OpenRuns:
    """The lists of some open states, one after the other: each from where such runs stand, so that none is left out."""

    def __init__(
        self, client: Client, statuses: Sequence[RunStatus], filters: dict[str, Any], *, behind: bool | None = None
    ) -> None:
        """Read nothing yet.

        Args:
            filters: arguments of `Client.list_runs`.
            behind: runs that wait behind another one of their ordering key, too; None: if waiting ones are asked for.
        """
        self._client = client
        self._statuses = list(dict.fromkeys(statuses)) or list(OPEN)
        self._filters = filters
        is_narrowed = filters.get("worker") is not None or filters.get("older_than") is not None
        self._behind = ("waiting" in self._statuses and not is_narrowed) if behind is None else behind

    def read(self, times: Times, cursor: str | None, limit: int) -> Page[RunRecord]:
        """Return a page; its cursor says in which list it goes on."""
        if self._filters.get("event_id") is not None:
            return self._client.list_runs(status=self._statuses, limit=limit, **self._filters)
        lists: dict[str, ReadPage[RunRecord]] = {"behind": partial(self._page_behind, times)} if self._behind else {}
        lists |= {each: partial(self._page_of, each, times) for each in self._statuses}
        return read_in_turn(lists, cursor, limit)

    def _page_behind(self, times: Times, cursor: str | None, limit: int) -> Page[RunRecord]:
        narrowed = self._filters | {"since": times.since, "until": times.end}
        return self._client.list_runs(status="waiting", behind=True, cursor=cursor, limit=limit, **narrowed)

    def _page_of(self, status: RunStatus, times: Times, cursor: str | None, limit: int) -> Page[RunRecord]:
        is_waiting = status == "waiting"  # these are listed by when they are due
        narrowed = self._filters | {"since": times.since, "until": times.until if is_waiting else times.end}
        if status != "executing":
            narrowed["older_than"] = None
        page = self._client.list_runs(status=status, cursor=cursor, limit=limit, **narrowed)
        if is_waiting:
            return only(page, lambda run: _began_before(run, times.asked_at))
        return self._executing_at(page, times.asked_at) if status == "executing" else page

    def _executing_at(self, page: Page[RunRecord], moment: datetime) -> Page[RunRecord]:
        """Return the runs of a page that had been executing for as long as is asked for at a moment.

        Where those that were queued then are asked for as well, these may execute by now.
        """
        older_than: float | timedelta | None = self._filters.get("older_than")
        if not page.items or (older_than is None and "queued" in self._statuses):
            return page
        age = older_than if isinstance(older_than, timedelta) else timedelta(seconds=older_than or 0)
        begun, unmarked_since = moment - age, self._client.server_time() - _MARKED_WITHIN
        return only(page, lambda run: run.started_at <= begun if run.started_at else unmarked_since <= begun)


def _began_before(run: RunRecord, moment: datetime) -> bool:
    started_at = run.attempts[0].started_at if run.attempts else None
    return started_at is None or started_at <= moment
