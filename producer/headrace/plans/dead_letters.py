"""Lists and reads dead letters. Pure."""

from __future__ import annotations

import msgspec

from headrace.calls.call import Call
from headrace.calls.listing import read_dead, read_dead_entry
from headrace.errors import DeadLetterNotFound, InvalidArgument
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace.model.event import DeadLetter, DeadLetterPage
from headrace.plans.listing import Merge, Place, check_limit, read_place
from headrace.plans.plan import Plan
from headrace.plans.read import as_id


def list_dead_letters(
    partitions: Partitions, cursor: str | None, limit: int, seal: Seal | None = None
) -> Plan[DeadLetterPage]:
    """Return a page of dead letters, newest first."""
    check_limit(limit)
    behind = None if cursor is None else read_place(cursor, partitions)
    if cursor is not None and behind is None:
        raise InvalidArgument("cursor", f"{cursor!r} is none that a listing has returned")

    def read(keys: Keys, end: str | None) -> Call[list[DeadLetter]]:
        return read_dead(keys, end, limit, seal)

    merge = Merge(partitions, read, limit, lambda number: behind.end_behind(number) if behind else None)
    entries = yield from merge.entries(limit)
    letters = [_named(place, letter) for place, letter in entries]
    return DeadLetterPage(letters, letters[-1].id if len(letters) == limit else None)


def get_dead_letter(partitions: Partitions, entry_id: str, seal: Seal | None = None) -> Plan[DeadLetter]:
    """Return one dead letter, or raise DeadLetterNotFound."""
    place = read_place(as_id(entry_id), partitions)
    if place is None:
        raise DeadLetterNotFound(entry_id)
    (entries,) = yield [read_dead_entry(partitions.all[place.partition], place.entry, seal)]
    if not entries:
        raise DeadLetterNotFound(entry_id)
    return _named(place, entries[0])


def _named(place: Place, letter: DeadLetter) -> DeadLetter:
    """Return the dead letter under the id by which the namespace knows it."""
    return letter if not place.partition else msgspec.structs.replace(letter, id=place.text)
