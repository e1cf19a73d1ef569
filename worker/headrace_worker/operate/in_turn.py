"""Reads several lists as one, each to its end: those that have what an act on many is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from headrace import InvalidArgument, Page

T = TypeVar("T")
ReadPage = Callable[[str | None, int], Page[T]]
"""Reads a page of a list, from a cursor on, of at most so many."""


def read_in_turn(lists: Mapping[str, ReadPage[T]], cursor: str | None, limit: int) -> Page[T]:
    """Return a page of the lists, one after the other; its cursor says in which of them it goes on."""
    names = list(lists)
    name, _, inner = (names[0] if cursor is None else cursor).partition(":")
    if name not in lists:
        raise InvalidArgument("cursor", f"{cursor!r} is none that this command has printed")
    page = lists[name](inner or None, limit)
    following = f"{name}:{page.cursor}" if page.cursor else next(iter(names[names.index(name) + 1 :]), None)
    cursors: list[str | None] = [f"{name}:{each or ''}" for each in page.cursors]
    return msgspec.structs.replace(page, cursor=following, cursors=cursors)
