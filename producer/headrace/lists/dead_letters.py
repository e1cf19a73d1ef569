"""Lists dead letters, groups them, and reads one. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from headrace.calls.call import Call
from headrace.calls.listing import delete_dead_entry, read_dead, read_dead_entry
from headrace.errors import DeadLetterNotFound, HeadraceError
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.lists import arguments
from headrace.lists.bounds import READ, Bounds
from headrace.lists.merge import Merge, Place, read_place, time_of
from headrace.model.event import SEALED, DeadLetter, DeadLetterGroup
from headrace.model.page import Page, Searched
from headrace.plans.plan import Plan
from headrace.plans.read import as_id


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are listed, as the caller has said it; what is None excludes nothing."""

    job: str | None = None
    reason: str | None = None
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_narrow(self) -> bool:
        """Something is asked for beside a time."""
        return any((self.job, self.reason, self.error))

    def has(self, letter: DeadLetter) -> bool:
        """Return whether a dead letter is asked for."""
        return self._may_have(letter) and (self.error is None or self.error in letter.error)

    def leaves_sealed(self, letter: DeadLetter) -> bool:
        """Return whether a dead letter might be asked for, if its error could be opened."""
        return self._may_have(letter) and not self.has(letter) and letter.error_type == SEALED

    def _may_have(self, letter: DeadLetter) -> bool:
        return self.job in (None, letter.job) and self.reason in (None, letter.reason)


def list_dead_letters(
    partitions: Partitions, asked: DeadLetterFilter, cursor: str | None, limit: int, seal: Seal | None = None
) -> Plan[Page[DeadLetter]]:
    """Return a page of dead letters, newest first."""
    arguments.check_limit(limit)
    bounds = Bounds()
    merge = _merge(partitions, asked, cursor, seal, bounds)
    letters: list[DeadLetter] = []
    cursors: list[str | None] = []
    looked_at = not_compared = 0
    last: Place | None = None
    while bounds.round_trips and not merge.is_done():
        for place, letter in (yield from merge.entries(READ if asked.is_narrow else limit - len(letters))):
            looked_at, last = looked_at + 1, place
            not_compared += asked.leaves_sealed(letter)
            if asked.has(letter):
                letters.append(_named(place, letter))
                cursors.append(place.before(len(partitions)).text)
            if len(letters) == limit:
                break
        if len(letters) == limit:
            break
    is_complete = merge.is_done() and looked_at == bounds.entries
    back_to = time_of(last.entry) if last else None
    searched = Searched(looked_at, back_to, complete=is_complete, not_compared=not_compared)
    behind = None if is_complete or last is None else last.text
    return Page(letters, behind, searched, list(bounds.damaged.values()), cursors)


def group_dead_letters(
    partitions: Partitions, asked: DeadLetterFilter, seal: Seal | None = None
) -> Plan[Page[DeadLetterGroup]]:
    """Return the newest dead letters by job, reason and type of error, the largest group first."""
    bounds = Bounds()
    merge = _merge(partitions, asked, None, seal, bounds)
    groups: dict[tuple[str | None, str, str | None], DeadLetterGroup] = {}
    not_compared = 0
    while bounds.round_trips and not merge.is_done():
        for place, letter in (yield from merge.entries(READ)):
            not_compared += asked.leaves_sealed(letter)
            if asked.has(letter):
                alike = (letter.job, letter.reason, letter.error_type)
                groups[alike] = _grown(groups.get(alike), _named(place, letter))
    found = sorted(groups.values(), key=lambda group: -group.count)
    searched = msgspec.structs.replace(merge.searched, not_compared=not_compared)
    return Page(found, None, searched, list(bounds.damaged.values()))


def _grown(group: DeadLetterGroup | None, letter: DeadLetter) -> DeadLetterGroup:
    """Return a group with one older dead letter."""
    if group is not None:
        return msgspec.structs.replace(group, count=group.count + 1, oldest=letter.dead_at)
    return DeadLetterGroup(
        job=letter.job,
        reason=letter.reason,
        error_type=letter.error_type,
        count=1,
        newest=letter.dead_at,
        oldest=letter.dead_at,
        newest_id=letter.id,
    )


def _merge(
    partitions: Partitions, asked: DeadLetterFilter, cursor: str | None, seal: Seal | None, bounds: Bounds
) -> Merge[DeadLetter]:
    arguments.check_job(asked.job)
    arguments.check_text("reason", asked.reason)
    arguments.check_text("error", asked.error)
    behind = None if cursor is None else read_place(cursor, partitions)
    if cursor is not None and behind is None:
        raise arguments.bad_cursor(cursor)
    since, until = arguments.since_id(asked.since), arguments.until_id(asked.until)

    def read(keys: Keys, end: str | None, count: int) -> Call[list[DeadLetter]]:
        return read_dead(keys, end, count, seal, since or "-")

    def end_in(number: int) -> str | None:
        return behind.end_behind(number) if behind else until or None

    return Merge(partitions.all, lambda keys: keys.dead, read, end_in, bounds)


def get_dead_letter(partitions: Partitions, entry_id: str, seal: Seal | None = None) -> Plan[DeadLetter]:
    """Return one dead letter, or raise DeadLetterNotFound."""
    place = read_place(as_id(entry_id), partitions)
    if place is None:
        raise DeadLetterNotFound(entry_id)
    (entries,) = yield [read_dead_entry(partitions.all[place.partition], place.entry, seal)]
    if not entries:
        raise DeadLetterNotFound(entry_id)
    return _named(place, entries[0])


def discard_dead_letter(partitions: Partitions, entry_id: str) -> Plan[None]:
    """Delete one dead letter, or raise DeadLetterNotFound; the record of its run stays as it is."""
    place = read_place(as_id(entry_id), partitions)
    if place is None:
        raise DeadLetterNotFound(entry_id)
    (deleted,) = yield [delete_dead_entry(partitions.all[place.partition], place.entry)]
    if isinstance(deleted, HeadraceError):
        raise deleted
    if not deleted:
        raise DeadLetterNotFound(entry_id)


def _named(place: Place, letter: DeadLetter) -> DeadLetter:
    """Return the dead letter under the id by which the namespace knows it."""
    return letter if not place.partition else msgspec.structs.replace(letter, id=place.text)
