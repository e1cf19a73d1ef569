"""Reads the runs that are open as one list: those that execute, then those in their queues, then those that wait."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from headrace import Client, HeadraceError, Page, RunRecord, RunStatus
from headrace_worker.operate.bulk import Times, only
from headrace_worker.operate.in_turn import ReadPage, read_in_turn

OPEN: tuple[RunStatus, ...] = ("executing", "queued", "waiting")


class AlreadyFinished(HeadraceError):
    """The run had ended before it was canceled, and stays as it is."""

    def __init__(self, run_id: str, status: str) -> None:
        self.run_id = run_id
        self.status = status
        super().__init__(f"run {run_id!r} is already finished: {status}")


class OpenRuns:
    """The lists of some open states, one after the other; each is read from where such runs stand, so none is left out.

    A run that waits behind another one of its ordering key is in none of them, unless its event is named.
    """

    def __init__(self, client: Client, statuses: Sequence[RunStatus], filters: dict[str, Any]) -> None:
        """Read nothing yet.

        Args:
            filters: arguments of `Client.list_runs`.
        """
        self._client = client
        self._statuses = list(dict.fromkeys(statuses)) or list(OPEN)
        self._filters = filters

    def read(self, times: Times, cursor: str | None, limit: int) -> Page[RunRecord]:
        """Return a page; its cursor says in which list it goes on."""
        if self._filters.get("event_id") is not None:
            return self._client.list_runs(status=self._statuses, limit=limit, **self._filters)
        lists: dict[str, ReadPage[RunRecord]] = {each: partial(self._page_of, each, times) for each in self._statuses}
        return read_in_turn(lists, cursor, limit)

    def _page_of(self, status: RunStatus, times: Times, cursor: str | None, limit: int) -> Page[RunRecord]:
        is_waiting = status == "waiting"  # these are listed by when they are due
        narrowed = self._filters | {"since": times.since, "until": times.until if is_waiting else times.end}
        if status == "executing":
            narrowed["older_than"] = self._age(times.asked_at)
        page = self._client.list_runs(status=status, cursor=cursor, limit=limit, **narrowed)
        return only(page, lambda run: _began_before(run, times.asked_at)) if is_waiting else page

    def _age(self, moment: datetime) -> float | None:
        """Return for how many seconds runs have been executing now that had been for as long as asked for at a moment.

        Runs that were queued then are asked for as well, if those are: they may execute by now.
        """
        older_than: float | None = self._filters.get("older_than")
        if older_than is None and "queued" in self._statuses:
            return None
        since_s = (self._client.server_time() - moment).total_seconds()
        return (older_than or 0.0) + max(since_s, 0.0)


def _began_before(run: RunRecord, moment: datetime) -> bool:
    started_at = run.attempts[0].started_at if run.attempts else None
    return started_at is None or started_at <= moment
