"""Reads the events that can still be canceled as one list: those that are delayed, then those that were delivered."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from headrace import Client, EventRecord, HeadraceError, Page
from headrace_worker.operate.bulk import Times, only
from headrace_worker.operate.in_turn import ReadPage, read_in_turn

_TICK = timedelta(milliseconds=1)


class NotCanceled(HeadraceError):
    """The event was delivered before it was canceled, and goes on."""

    def __init__(self, event_id: str, status: str) -> None:
        self.event_id = event_id
        self.status = status
        hint = "" if status == "settled" else "; --runs cancels its open runs"
        super().__init__(f"event {event_id!r} is {status} and can't be canceled any more{hint}")


class OpenEvents:
    """Delayed events, from where they stand, so that none is left out; then, if asked for, what is open of others.

    Narrowed by when they were sent, they come from the index of what was sent, which alone knows that.
    """

    def __init__(self, client: Client, filters: dict[str, Any], *, runs: bool) -> None:
        """Read nothing yet.

        Args:
            filters: arguments of `Client.list_events`.
            runs: events with open runs, and those that no worker has looked at, are among them.
        """
        self._client = client
        self._filters = filters
        self._runs = runs
        self._later: _SentLater | None = None

    def read(self, times: Times, cursor: str | None, limit: int) -> Page[EventRecord]:
        """Return a page; its cursor says in which list it goes on."""
        sent = self._filters | {"since": times.since, "until": times.end}

        def read_delayed(cursor: str | None, limit: int) -> Page[EventRecord]:
            if times.since or times.until:
                return self._client.list_events(state="delayed", cursor=cursor, limit=limit, **sent)
            now = self._filters | {"since": None, "until": None}
            page = self._client.list_events(state="delayed", cursor=cursor, limit=limit, **now)
            return self._without_later(page, times.asked_at)

        def read_delivered(cursor: str | None, limit: int) -> Page[EventRecord]:
            return self._client.list_events(state=("dispatched", "pending"), cursor=cursor, limit=limit, **sent)

        lists: dict[str, ReadPage[EventRecord]] = {"delayed": read_delayed}
        if self._runs:
            lists["delivered"] = read_delivered
        return read_in_turn(lists, cursor, limit)

    def _without_later(self, page: Page[EventRecord], moment: datetime) -> Page[EventRecord]:
        """Return a page without the events that were sent after a moment."""
        if not page.items:
            return page
        later = self._later = self._later or _SentLater(self._client, self._filters.get("name"), moment)
        later.look()
        return only(page, lambda event: not later.has(event))


class _SentLater:
    """The events that were sent after a moment, which only the index of what was sent knows.

    Where so much was sent meanwhile that it does not go back to the moment, an event's own time tells, by the clock of
    its sender: an act must be possible on a busy server, too.
    """

    def __init__(self, client: Client, name: str | None, moment: datetime) -> None:
        self._client = client
        self._name = name
        self._since = self._later = moment + _TICK
        self._ids: set[str] = set()
        self._is_known = True

    def look(self) -> None:
        """Note those that were sent until now."""
        now = self._client.server_time()
        cursor: str | None = None
        while self._is_known:
            page = self._client.list_events(name=self._name, since=self._since, cursor=cursor, limit=1000)
            self._is_known = page.searched.remembered_since is None
            self._ids.update(event.id for event in page.items)
            if (cursor := page.cursor) is None:
                break
        self._since = now

    def has(self, event: EventRecord) -> bool:
        """Return whether an event is one of them."""
        return event.id in self._ids or not (self._is_known or event.timestamp < self._later)
