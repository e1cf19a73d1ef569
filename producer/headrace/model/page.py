"""A page of a list, and how far it looked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class DamagedEntry(msgspec.Struct, frozen=True):
    """What a list names and can't show.

    Attributes:
        id: the run's or, where nothing of it can be read, the event's or a key; of routes the app's name.
        error: why it can't be read; of routes in which partition, too.
    """

    id: str
    error: str


class Searched(msgspec.Struct, frozen=True):
    """How far a page looked.

    Attributes:
        entries: how many entries of the list were looked at, whether they are asked for or not.
        back_to: the time of the last of them; None where there was none, and of a list by name.
        complete: there is nothing behind this page.
        remembered_since: of an index that may have dropped its oldest entries, if the list was asked for what is older,
            too: the time from which on it has all; what is older is found by its id. None if nothing is left out so.
        not_compared: of dead letters by their errors, those that may be asked for and whose errors are sealed and
            can't be opened here, so that they are left out.
    """

    entries: int
    back_to: datetime | None
    complete: bool
    remembered_since: datetime | None = None
    not_compared: int = 0


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. It is bounded in what it looks at, so it may hold few items, or none, and not be the last.

    Attributes:
        items: in the order of the list.
        cursor: asks for the next page; None on the last.
        searched: how far the page looked.
        damaged: what stands among the items and can't be read, as something else has written there.
        cursors: for each event, run or dead letter, the cursor from which the list goes on with it; None is its begin.
    """

    items: list[T]
    cursor: str | None
    searched: Searched
    damaged: list[DamagedEntry] = []
    cursors: list[str | None] = []


def whole(items: Sequence[T], damaged: Sequence[DamagedEntry] = ()) -> Page[T]:
    """Return the one page of a list by name that is shown whole."""
    return Page(list(items), None, Searched(len(items), None, complete=True), list(damaged))
