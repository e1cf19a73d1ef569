"""Does one thing to many: what is chosen is fixed before anything is counted, asked or done. No output.

    choose → (the caller asks) → small portions, with rests → what is left, and where to go on

What is chosen are ids, so nothing that comes between the question and the answer is touched. Nor does a command that
goes on touch it: the cursor holds the moment of the first command.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from typing import Any, TypeVar

import msgspec

from headrace import HeadraceError, InvalidArgument, Page, StillExecuting
from headrace.lists.merge import rank_of_cursor
from headrace_worker.operate.pace import Pace

_PAGE = 50
_OTHER_FILTERS = "this cursor goes on with other filters: give those of its first command, and its namespace"
T = TypeVar("T")


class Times(msgspec.Struct, frozen=True, array_like=True):
    """The times of an act, the same for each command that goes on with it.

    Attributes:
        asked_at: when it was first asked for, by the server's clock; nothing that came later is touched.
        since: only what came at this time or later, if that was asked for.
        until: only what came at this time or before, if that was asked for.
    """

    asked_at: datetime
    since: datetime | None = None
    until: datetime | None = None

    @property
    def end(self) -> datetime:
        """The last time that counts."""
        return self.asked_at if self.until is None else min(self.until, self.asked_at)


class Stretch(msgspec.Struct, frozen=True, array_like=True):
    """A part of a list: from one cursor, or its begin, to the item at another one, or its end."""

    first: str | None = None
    last: str | None = None

    def has(self, cursor: str | None) -> bool:
        """Return whether it has the item at a cursor, which is one that begins no earlier than it."""
        return cursor is None or self.last is None or rank_of_cursor(cursor) <= rank_of_cursor(self.last)


class Rest(msgspec.Struct, frozen=True, array_like=True):
    """What an act is still for; as text it is the cursor that commands print and take.

    Attributes:
        asked: a digest of what was asked for; a cursor goes on with that only.
    """

    verb: str
    asked: str
    times: Times
    stretches: list[Stretch] = msgspec.field(default_factory=lambda: [Stretch()])

    @property
    def cursor(self) -> str:
        """Return it as text."""
        return urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def digest(asked: Mapping[str, Any]) -> str:
    """Return a short text that differs for acts that choose by other filters.

    Of `since` and `until` it has only whether they are given: 2h names another time in each command.
    """
    of = {key: key in {"since", "until"} or value for key, value in asked.items()}
    return sha256(msgspec.json.encode(of, order="sorted")).hexdigest()[:12]


def read_cursor(verb: str, asked: str, cursor: str) -> Rest:
    """Return what is left of an act, or raise InvalidArgument.

    Args:
        asked: the digest of what is asked for now.
    """
    try:
        rest = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=Rest)
        for each in rest.stretches:
            each.has(each.last)
    except (ValueError, msgspec.MsgspecError):
        raise InvalidArgument("cursor", f"{cursor!r} is none that this command has printed") from None
    if rest.verb != verb:
        raise InvalidArgument("cursor", f"this one goes on with `{rest.verb}`")
    if rest.asked != asked:
        raise InvalidArgument("cursor", _OTHER_FILTERS)
    return rest


class _Item(msgspec.Struct, frozen=True):
    """One that is chosen, where it stands in its list, and in which stretch that was read."""

    id: str
    cursor: str | None
    stretch: int


class Chosen(msgspec.Struct, frozen=True):
    """What a bulk act is for.

    Attributes:
        ids: in the order in which it is done to them.
        more: there are more than were asked for, or may be.
        remembered_since: what is older was asked for, too, and the list does not know it any more; None if it has all.
        not_compared: so many were left out as they are sealed, and can't be opened to look for what was asked for.
    """

    ids: list[str]
    more: bool = False
    remembered_since: datetime | None = None
    not_compared: int = 0
    _rest: Rest | None = None
    _items: list[_Item] = []
    _is_reversed: bool = False

    @classmethod
    def of(cls, ids: Sequence[str]) -> Chosen:
        """Return ids that were named."""
        return cls(list(ids))

    @property
    def times(self) -> dict[str, datetime | None]:
        """Return the `since` and `until` by which they were chosen; nothing for ids that were named."""
        return {} if self._rest is None else {"since": self._rest.times.since, "until": self._rest.times.until}

    def cursor(self, done: int) -> str | None:
        """Return where to go on after the first so many; None if nothing is left, and for ids that were named."""
        if self._rest is None or not (self.more or done < len(self.ids)):
            return None
        left = self._items[: len(self._items) - done] if self._is_reversed else self._items[done:]
        groups = [list(group) for _, group in groupby(left, lambda item: item.stretch)]
        behind = self._rest.stretches
        if self._is_reversed:
            within = [Stretch(group[0].cursor, group[-1].cursor) for group in groups]
        else:  # such a list is one stretch, to its end
            within, behind = ([Stretch(left[0].cursor)], []) if left else ([], behind)
        return msgspec.structs.replace(self._rest, stretches=within + behind).cursor


def choose(
    read: Callable[[Times, str | None, int], Page[Any]],
    most: int,
    rest: Rest,
    *,
    pace: Pace,
    oldest_first: bool = False,
    on_page: Callable[[int], object] = lambda _: None,
) -> Chosen:
    """Return the ids of what a list has, at most so many.

    Args:
        read: reads a page of the list, from a cursor on, of at most so many.
        most: reading ends when so many are found, or at the end of the list, which may be of any length.
        rest: which part of the list.
        pace: how fast it is read.
        oldest_first: return them in the reverse order of the list, which has the newest first. Of more than `most`
            these are the newest: to find the oldest, the whole list would always have to be read.
        on_page: is called with how many entries each page has looked at.
    """
    found: dict[str, _Item] = {}
    left = list(rest.stretches)
    remembered_since, not_compared = None, 0
    while left and len(found) < most:
        stretch = left[0]
        pace.rest()
        with pace.step():
            page = _read(read, rest.times, stretch.first)
        on_page(page.searched.entries)
        not_compared += page.searched.not_compared
        if page.cursor is None:
            remembered_since = page.searched.remembered_since
        number = len(rest.stretches) - len(left)
        for item, cursor in zip(page.items, page.cursors, strict=True):
            if stretch.has(cursor):
                found.setdefault(item.id, _Item(item.id, cursor, number))
        goes_on = page.cursor is not None and stretch.has(page.cursor)
        left[:1] = [Stretch(page.cursor, stretch.last)] if goes_on else []
    items = list(found.values())
    if over := items[most:]:
        number = over[0].stretch
        left = [Stretch(over[0].cursor, rest.stretches[number].last), *rest.stretches[number + 1 :]]
    items = items[:most]
    ids = [item.id for item in (reversed(items) if oldest_first else items)]
    behind = msgspec.structs.replace(rest, stretches=left)
    return Chosen(ids, bool(left), remembered_since, not_compared, behind, items, oldest_first)


def _read(read: Callable[[Times, str | None, int], Page[T]], times: Times, cursor: str | None) -> Page[T]:
    try:
        return read(times, cursor, _PAGE)
    except InvalidArgument as exc:
        if exc.field != "cursor":
            raise
        raise InvalidArgument("cursor", "it is none that this command has printed") from None


def only(page: Page[T], is_asked_for: Callable[[T], bool]) -> Page[T]:
    """Return a page with some of its items."""
    kept = [pair for pair in zip(page.items, page.cursors, strict=True) if is_asked_for(pair[0])]
    return msgspec.structs.replace(page, items=[item for item, _ in kept], cursors=[cursor for _, cursor in kept])


class LeftOut(msgspec.Struct, frozen=True):
    """It was not done to this one, as was asked for."""


class Result(msgspec.Struct, frozen=True):
    """What became of one of them; `error` says why nothing did."""

    id: str
    ok: bool
    error: str | None
    came_to: Any = None

    @property
    def is_left_out(self) -> bool:
        """Nothing was to be done to it."""
        return isinstance(self.came_to, LeftOut)


class Counts(msgspec.Struct):
    """How many it was done to, it could not be done to, and were left out, so far.

    Attributes:
        going: of those that failed, the runs that are canceled and whose functions go on.
    """

    done: int = 0
    failed: int = 0
    left_out: int = 0
    going: int = 0

    @property
    def total(self) -> int:
        """How many of those that are chosen are over."""
        return self.done + self.failed + self.left_out

    def add(self, came_to: Any) -> None:
        """Count one more."""
        match came_to:
            case LeftOut():
                self.left_out += 1
            case HeadraceError():
                self.failed += 1
                self.going += isinstance(came_to, StillExecuting)
            case _:
                self.done += 1


Act = Callable[[Sequence[str]], Sequence[Any]]
"""Does it to a portion; returns for each id what it has come to, LeftOut, or its HeadraceError."""


def carry_out(
    chosen: Chosen, act: Act, *, pace: Pace, is_interrupted: Callable[[], bool] = lambda: False
) -> Iterator[Result]:
    """Do it to all that is chosen, portion by portion, and yield what became of each.

    Args:
        pace: how fast, and how many at once.
        is_interrupted: is asked while it rests and before each portion; if it says so, that was all.
    """
    for first in range(0, len(chosen.ids), pace.portion):
        pace.rest(is_interrupted)
        if is_interrupted():
            return
        portion = chosen.ids[first : first + pace.portion]
        with pace.step(len(portion)):
            done = act(portion)
        for each, came_to in zip(portion, done, strict=True):
            failed = isinstance(came_to, HeadraceError)
            yield Result(each, not failed, str(came_to) if failed else None, came_to)
