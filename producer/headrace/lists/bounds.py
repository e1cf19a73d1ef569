"""What a page may cost, and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from headrace.calls.call import Call
from headrace.errors import DamagedRecord, HeadraceError, ServerError
from headrace.model.ids import run_id
from headrace.model.page import DamagedEntry
from headrace.plans.plan import Plan
from headrace.plans.read import is_wrong_type

ROUND_TRIPS: Final = 4
"""Open runs may take one more, executing ones behind many others, and queued ones behind those of a limited queue; and
those behind others in lines three more."""
READ: Final = 500
"""The most entries that one read of a stream returns, so that it holds the server up for a few ms at most."""
ENTRIES: Final = ROUND_TRIPS * READ
RECORDS: Final = 500
LEAST: Final = 20
"""A read of fewer entries or records costs as much."""


class Bounds:
    """What is left of the round trips and of the records that a page may cost, and what it could not read.

    Attributes:
        entries: how many entries of the list the page has looked at.
        beside: calls that go with the next round trip.
        answers_beside: the answers to them.
    """

    def __init__(self) -> None:
        self.round_trips = ROUND_TRIPS
        self.records = RECORDS
        self._share = RECORDS
        self.entries = 0
        self.damaged: dict[str, DamagedEntry] = {}
        self.beside: Sequence[Call[Any]] = ()
        self.answers_beside: list[Any] = []

    def ask(self, calls: Sequence[Call[Any]]) -> Plan[list[Any]]:
        """Return the answers to calls that go in one round trip."""
        self.round_trips -= 1
        beside, self.beside = self.beside, ()
        answers = yield [*calls, *beside]
        self.answers_beside += answers[len(calls) :]
        return answers[: len(calls)]

    def records_for(self, wanted: int) -> int:
        """Return how many records to read next; 0 if the page may read no more.

        First as many as are wanted; where these were not enough, the share of each round trip that was left then.
        """
        if not self.round_trips:
            return 0
        if self.records < RECORDS:
            return min(self._share, self.records)
        self._share = -(-RECORDS // self.round_trips)
        return min(max(wanted, LEAST), self._share)

    def rows(self, key: str, answer: Any) -> list[Any]:
        """Return what was read of a key: nothing where there is no such key; name a key of another type as damaged."""
        if not isinstance(answer, HeadraceError):
            found: list[Any] = answer
            return found
        if is_wrong_type(answer):
            self.note(key, answer)
        elif not is_missing(answer):
            raise answer
        return []

    def record(self, event_id: str, job: str, answer: Any) -> Any:
        """Return what was read of an event or, if a job is named, of its run; None where it is gone or damaged."""
        if is_wrong_type(answer):  # then nothing of the event can be read
            self.note(event_id, answer)
        elif isinstance(answer, DamagedRecord):
            self.note(run_id(event_id, job) if job else event_id, answer)
        elif isinstance(answer, HeadraceError):
            raise answer
        else:
            return answer
        return None

    def note(self, entry_id: str, error: object) -> None:
        """Name something that can't be read."""
        self.damaged[entry_id] = DamagedEntry(entry_id, str(error))


def is_missing(answer: object) -> bool:
    """Return whether the server has refused a call because there is no such stream."""
    return isinstance(answer, ServerError) and "no such key" in str(answer)
