"""Lists events, from the index of what was sent or, if only delayed ones are asked for, from `due`. Pure.

It tells which were sent since, too.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec

from headrace.calls import records
from headrace.calls.call import Call
from headrace.calls.indexing import IndexEntry, read_index, read_index_behind
from headrace.calls.records import FoundEvent
from headrace.errors import DamagedRecord, HeadraceError, InvalidArgument
from headrace.formats.due import DueName
from headrace.formats.outgoing import MAX_TEXT
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.lists import arguments
from headrace.lists.bounds import READ, Bounds
from headrace.lists.due import DueRow
from headrace.lists.due_records import list_records
from headrace.lists.index import Indexed, SentIndex, look_through
from headrace.lists.merge import entry_rank, time_of
from headrace.model.event import EVENT_STATES, EventRecord, EventState, ListedEvent
from headrace.model.page import DamagedEntry, Page
from headrace.plans.plan import Plan
from headrace.plans.read import is_wrong_type


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are listed, as the caller has said it; what is None excludes nothing."""

    name: str | None = None
    source: str | None = None
    account_id: str | None = None
    state: EventState | Collection[EventState] | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_events(
    partitions: Partitions, asked: EventFilter, cursor: str | None, limit: int, *, seal: Seal | None = None
) -> Plan[Page[EventRecord]]:
    """Return a page of events, newest first by when they were first sent; of delayed ones alone the soonest first."""
    listed, bounds = _Listed(asked), Bounds()
    arguments.check_limit(limit)
    since, until = arguments.since_id(asked.since), arguments.until_id(asked.until)
    if listed.is_delayed_only and not (since or until):  # `due` does not know when they were sent
        return (yield from list_records(partitions, _Delayed(listed, seal), cursor, limit))
    is_narrow = any((asked.name, asked.source, asked.account_id, asked.state))
    index = SentIndex(since, until, asked.name, is_narrow=is_narrow)

    def read(indexed: Indexed) -> Call[Any]:
        return records.as_answer(records.read_found(indexed.keys, indexed.id, seal))

    behind, searched = yield from look_through(partitions, index, cursor, limit, read, listed, bounds)
    damaged = [*listed.damaged, *bounds.damaged.values()]
    return Page(listed.events, behind, searched, damaged, listed.cursors)


def check_names(name: object) -> frozenset[str] | None:
    """Return the names that are asked for; None for any."""
    names = (name,) if isinstance(name, str) else name
    if names is None:
        return None
    if not isinstance(names, Collection) or not all(isinstance(each, str) for each in names):
        raise InvalidArgument("name", f"must be a string, several of them, or None, not {name!r}")
    for each in names:
        if not 1 <= len(each) <= MAX_TEXT:
            raise InvalidArgument("name", f"must have 1 to {MAX_TEXT} characters, not {len(each)}")
    return frozenset(names)


def latest(partitions: Partitions) -> Plan[dict[int, str]]:
    """Return the id of the newest entry of the index in each partition, from which a follower goes on."""
    answers = yield [read_index(keys.recent, None, 1) for keys in partitions.all]
    pages: list[list[IndexEntry]] = [_raised(each) for each in answers]
    return {keys.partition: page[0].id if page else "0-0" for keys, page in zip(partitions.all, pages, strict=True)}


def sent_since(partitions: Partitions, places: dict[int, str]) -> Plan[list[ListedEvent]]:
    """Return the events that were sent behind the places, oldest first, and move the places on behind them."""
    answers = yield [read_index_behind(keys.recent, places[keys.partition], READ) for keys in partitions.all]
    entries: list[tuple[tuple[int, int], IndexEntry]] = []
    for keys, answer in zip(partitions.all, answers, strict=True):
        page: list[IndexEntry] = _raised(answer)
        entries += [(entry_rank(entry.id), entry) for entry in page]
        if page:
            places[keys.partition] = page[-1].id
    entries.sort(key=lambda each: each[0])
    return [ListedEvent(*pair, time_of(entry.id)) for _, entry in entries for pair in entry.pairs[::-1]]


def _raised(answer: Any) -> Any:
    if isinstance(answer, HeadraceError):
        raise answer
    return answer


class _Listed:
    """The events of a page so far, each once, and those that can't be read."""

    def __init__(self, asked: EventFilter) -> None:
        for field in ("name", "source", "account_id"):
            arguments.check_text(field, getattr(asked, field))
        self.events: list[EventRecord] = []
        self.cursors: list[str | None] = []
        self.damaged: list[DamagedEntry] = []
        self._asked = asked
        self._states = _check_states(asked.state)
        self._seen: set[str] = set()

    @property
    def count(self) -> int:
        return len(self.events) + len(self.damaged)

    def add(self, indexed: Indexed, answer: Any) -> None:
        """Add the event if it is asked for; one whose record is gone is left out."""
        if indexed.id in self._seen:
            return
        self._seen.add(indexed.id)
        if isinstance(answer, DamagedRecord) or is_wrong_type(answer):
            self.damaged.append(DamagedEntry(indexed.id, str(answer)))
        elif isinstance(answer, HeadraceError):
            raise answer
        elif answer is not None and self.has(answer):
            self.events.append(msgspec.structs.replace(answer.record, sent_at=time_of(indexed.entry)))
            self.cursors.append(indexed.own_cursor)

    @property
    def is_delayed_only(self) -> bool:
        """No other state is asked for."""
        return self._states == frozenset({"delayed"})

    def has(self, found: FoundEvent) -> bool:
        """Return whether an event is asked for, whenever it was sent."""
        record = found.record
        return (
            self._asked.name in (None, record.name)
            and self._asked.source in (None, record.source)
            and self._asked.account_id in (None, record.account_id)
            and (self._states is None or bool(self._states & found.states))
        )


class _Delayed:
    """The events in `due` that are asked for, whenever they are due."""

    def __init__(self, listed: _Listed, seal: Seal | None) -> None:
        self.since_ms: int | None = None
        self.until_ms: int | None = None
        self._listed, self._seal = listed, seal

    def may_have(self, name: DueName) -> bool:
        """Return whether it is an event."""
        return not name.job

    def read(self, row: DueRow, name: DueName) -> Call[FoundEvent | None]:
        """Read an event."""
        return records.read_found(row.keys, name.event_id, self._seal)

    def item(self, record: FoundEvent) -> EventRecord | None:
        """Return the event, if it is asked for."""
        return record.record if self._listed.has(record) else None


def _check_states(given: object) -> frozenset[str] | None:
    if given is None:
        return None
    states = (given,) if isinstance(given, str) else given
    if not isinstance(states, Collection) or not states:
        raise InvalidArgument("state", f"must be one of {', '.join(EVENT_STATES)}, or several of them, not {given!r}")
    for state in states:
        if state not in EVENT_STATES:
            raise InvalidArgument("state", f"{state!r} is none of {', '.join(EVENT_STATES)}")
    return frozenset(states)
