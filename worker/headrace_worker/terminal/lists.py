"""Lists on the command line: their options, and how their pages are printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec

from headrace import Page, Searched
from headrace_worker.terminal.options import F, option, time_options, together
from headrace_worker.terminal.output import counted, print_json, print_note, print_table, shown

T = TypeVar("T")

_EVERY_PAGE = 200


class Paging(msgspec.Struct, frozen=True):
    """Which pages of a list are printed.

    Attributes:
        every: all pages, from the cursor on.
    """

    limit: int
    cursor: str | None
    every: bool
    since: datetime | None = None
    until: datetime | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What each page is asked for with, but for its cursor."""
        times = {"since": self.since, "until": self.until}
        given = {name: time for name, time in times.items() if time is not None}
        return {"limit": _EVERY_PAGE if self.every else self.limit, **given}


def list_options(happened: str | None, *, ahead: bool = False) -> Callable[[F], F]:
    """Give the command the options of a list, passed as a `Paging`.

    Args:
        happened: see `time_options`, as is `ahead`; None for a list by name, which takes no times.
    """
    pages = click.IntRange(1, 1000)
    times = [] if happened is None else [time_options(happened, ahead=ahead)]
    options = together(
        *times,
        option("--limit", metavar="N", type=pages, default=20, show_default=True, help="How many on a page, about."),
        option("--cursor", metavar="CURSOR", help="Go on behind the page that gave this cursor."),
        option("--all", "every", is_flag=True, help="Every page; with --json a line of JSON for each item."),
    )

    def add(command: Any) -> Any:
        def call(*args: Any, **given: Any) -> Any:
            paging = Paging(**{name: given.pop(name) for name in Paging.__struct_fields__ if name in given})
            return command(*args, paging=paging, **given)

        call.__name__, call.__doc__ = command.__name__, command.__doc__
        call.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
        return options(call)

    return add


def print_list(
    noun: str,
    read: Callable[..., Page[T]],
    paging: Paging,
    columns: Sequence[str],
    row: Callable[[T], Sequence[Any]],
    *,
    as_json: bool,
    if_none: Callable[[], object] = lambda: None,
) -> None:
    """Print a page of a list, or every page; what can't be read, and how far a page looked, on standard error.

    Args:
        if_none: is called where the first page of the list is empty, to say whether that is because of what was named.
    """
    cursor, is_first, not_compared = paging.cursor, True, 0
    while True:
        page = read(cursor=cursor, **paging.arguments)
        if not (page.items or page.damaged or cursor) and is_first:
            if_none()
        cursor = page.cursor
        not_compared += page.searched.not_compared
        if not as_json:
            print_table(columns, map(row, page.items), head=is_first)
        elif paging.every:
            for item in page.items:
                print_json(item)
        else:
            print_page(noun, page)
            return
        note_damaged(page)
        if cursor is None or not paging.every:
            note_not_compared(not_compared)
        if cursor is None:
            _print_end(noun, page.searched)
            return
        if not paging.every:
            if len(page.items) < paging.limit:
                print_note(looked_at(page))
            print_note(f"more: --cursor {cursor}")
            return
        is_first = False


def _print_end(noun: str, searched: Searched) -> None:
    if not searched.complete:
        print_note("there are more than this list can show")
    if searched.remembered_since is not None:
        print_note(remembered_since(noun, searched.remembered_since))


def note_damaged(page: Page[Any]) -> None:
    """Say what of a page can't be read."""
    for each in page.damaged:
        print_note(f"{each.id} can't be read: {each.error}")


def note_not_compared(count: int) -> None:
    """Say how many dead letters were left out as the text that was asked for could not be looked for in them."""
    if count:
        letters = counted(count, "dead letters")
        print_note(f"not compared: {letters}, whose errors are sealed; give the --codec that they were sealed with")


def print_page(noun: str, page: Page[Any]) -> None:
    """Print a page as one line of JSON, with its items under their noun."""
    print_json({noun: page.items, "damaged": page.damaged, "cursor": page.cursor, "searched": page.searched})


def looked_at(page: Page[Any]) -> str:
    """Return how far a page looked, in words."""
    searched = page.searched
    entries = "1 entry" if searched.entries == 1 else f"{searched.entries:,} entries"
    return f"looked at {entries}" + (f", as far as {shown(searched.back_to)}" if searched.back_to else "")


def remembered_since(noun: str, moment: datetime) -> str:
    """Return since when a list has all of them, in words."""
    return f"{noun} are listed since {shown(moment)}; older ones are found by their ids alone ('headrace index')"
