"""Reads the runs that are open as one list: those that execute, then those in their queues, then those that wait."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from headrace import Client, HeadraceError, InvalidArgument, Page, RunRecord, RunStatus
from headrace_worker.operate.bulk import Times, only

OPEN: tuple[RunStatus, ...] = ("executing", "queued", "waiting")


class AlreadyFinished(HeadraceError):
    """The run had ended before it was canceled, and stays as it is."""

    def __init__(self, run_id: str, status: str) -> None:
        self.run_id = run_id
        self.status = status
        super().__init__(f"run {run_id!r} is already finished: {status}")


class NotCanceled(HeadraceError):
    """The event was delivered before it was canceled, and goes on."""

    def __init__(self, event_id: str, status: str) -> None:
        self.event_id = event_id
        self.status = status
        hint = "" if status == "settled" else "; --runs cancels its open runs"
        super().__init__(f"event {event_id!r} is {status} and can't be canceled any more{hint}")


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
        status, _, inner = (self._statuses[0] if cursor is None else cursor).partition(":")
        place = next((place for place, each in enumerate(self._statuses) if each == status), None)
        if place is None:
            raise InvalidArgument("cursor", f"{cursor!r} is none that this command has printed")
        state = self._statuses[place]
        page = self._page_of(state, times, inner or None, limit)
        following = f"{state}:{page.cursor}" if page.cursor else None
        if following is None and place + 1 < len(self._statuses):
            following = self._statuses[place + 1]
        cursors: list[str | None] = [f"{state}:{each or ''}" for each in page.cursors]
        return msgspec.structs.replace(page, cursor=following, cursors=cursors)

    def _page_of(self, state: RunStatus, times: Times, cursor: str | None, limit: int) -> Page[RunRecord]:
        is_waiting = state == "waiting"  # these are listed by when they are due
        narrowed = self._filters | {"since": times.since, "until": times.until if is_waiting else times.end}
        if state == "executing":
            narrowed["older_than"] = self._age(times.asked_at)
        page = self._client.list_runs(status=state, cursor=cursor, limit=limit, **narrowed)
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
