"""What an act on many is for is chosen page by page, and no page is read that it does not need."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import ceil
from typing import Any

import msgspec
import pytest

from headrace import Page, Searched
from headrace_worker.operate import bulk
from headrace_worker.operate.bulk import Chosen, Rest, Times, choose, only, read_cursor
from headrace_worker.operate.pace import Pace

LONG = 5_000
PAGE = bulk._PAGE
REST = Rest("dead discard", "", Times(datetime(2026, 1, 31, tzinfo=UTC)))


class _Item(msgspec.Struct, frozen=True):
    id: str
    number: int


class _LongList:
    """A list of many, which counts the pages that are read of it."""

    def __init__(self, is_asked_for: Callable[[int], bool] = lambda _: True) -> None:
        self.pages = 0
        self.entries: list[int] = []
        self._is_asked_for = is_asked_for

    def read(self, _: Times, cursor: str | None, limit: int) -> Page[Any]:
        self.pages += 1
        begin = 0 if cursor is None else LONG - int(cursor.partition("-")[0])
        numbers = range(begin, min(begin + limit, LONG))
        end = None if numbers.stop == LONG else _cursor(numbers.stop)
        items = [_Item(f"i{number}", number) for number in numbers]
        cursors = [cursor, *(_cursor(number) for number in numbers[1:])]
        page = Page(items, end, Searched(len(numbers), None, complete=end is None), [], cursors)
        return only(page, lambda item: self._is_asked_for(item.number))

    def choose(self, most: int, rest: Rest = REST, *, oldest_first: bool = False) -> Chosen:
        return choose(
            self.read, most, rest, pace=Pace("full"), oldest_first=oldest_first, on_page=self.entries.append
        )  # fmt: skip


def _cursor(number: int) -> str:
    return f"{LONG - number}-0~0"


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("most", [1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 1_000])
def test_no_page_is_read_once_enough_are_found(most: int, *, oldest_first: bool) -> None:
    """A count of a million would take too long to ask; there are more, whatever is behind."""
    listed = _LongList()
    chosen = listed.choose(most, oldest_first=oldest_first)
    assert (len(chosen.ids), chosen.more) == (most, True)
    assert listed.pages == len(listed.entries) == ceil(most / PAGE)
    assert sum(listed.entries) == listed.pages * PAGE


@pytest.mark.parametrize("each", [2, 7, PAGE, 3 * PAGE])
def test_what_a_filter_passes_over_is_not_counted(each: int) -> None:
    """The list is read until so many are found."""
    listed = _LongList(lambda number: number % each == each - 1)
    chosen = listed.choose(10)
    assert chosen.ids == [f"i{number * each - 1}" for number in range(1, 11)]
    assert listed.pages == ceil(10 * each / PAGE)


def test_a_list_is_read_to_its_end_where_fewer_are_found() -> None:
    """And no further; nothing more is said to be there."""
    listed = _LongList(lambda number: number < 3)
    chosen = listed.choose(4)
    assert (chosen.ids, chosen.more) == (["i0", "i1", "i2"], False)
    assert listed.pages == LONG / PAGE


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_cursor_reads_no_more_than_it_needs(*, oldest_first: bool) -> None:
    """It begins where the first command has ended, and stops as that did."""
    first = _LongList().choose(2 * PAGE, oldest_first=oldest_first)
    cursor = first.cursor(len(first.ids))
    assert cursor is not None
    listed = _LongList()
    second = listed.choose(2 * PAGE, read_cursor(REST.verb, "", cursor), oldest_first=oldest_first)
    assert sorted(second.ids) == sorted(f"i{number}" for number in range(2 * PAGE, 4 * PAGE))
    assert listed.pages == 2
