"""Does one thing to many: what is chosen is fixed before anything is counted, asked or done. No output.

    choose → (the caller asks) → batches of 200, at most so many a second → what is left, and where to go on

What is chosen are ids, so nothing that comes between the question and the answer is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from headrace import HeadraceError, Page

BATCH = 200
_PAGE = 200


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


class Chosen(msgspec.Struct, frozen=True):
    """What a bulk act is for.

    Attributes:
        ids: in the order in which it is done to them.
        cursors: for each, the cursor of the page that it was on: from there a list goes on with it.
        more: there are more than were asked for.
        cursor: where the list goes on behind the last of them, if there are more.
    """

    ids: list[str]
    cursors: list[str | None]
    more: bool = False
    cursor: str | None = None

    @classmethod
    def of(cls, ids: Sequence[str]) -> Chosen:
        """Return ids that were named."""
        return cls(list(ids), [None] * len(ids))


def choose(
    read: Callable[..., Page[Any]], most: int, cursor: str | None = None, *, oldest_first: bool = False
) -> Chosen:
    """Return the ids of what a list has, at most so many.

    Args:
        read: reads a page of the list; takes `cursor` and `limit`.
        most: reading ends there; the list may be of any length.
        cursor: where the list begins.
        oldest_first: return them in the reverse order of the list, which has the newest first. Of more than `most`
            these are the newest: to find the oldest, a list of any length would have to be read before the question.
    """
    ids: list[str] = []
    cursors: list[str | None] = []
    while True:
        page = read(cursor=cursor, limit=_PAGE)
        found: list[_HasId] = page.items
        ids += [each.id for each in found]
        cursors += [cursor] * len(found)
        following = page.cursor
        if following is None or len(ids) >= most:
            break
        cursor = following
    more = len(ids) > most or following is not None
    behind = cursors[most] if len(ids) > most else following
    ids, cursors = ids[:most], cursors[:most]
    if oldest_first:
        ids.reverse()
        cursors = [None] * len(ids)  # those that are done leave such a list: it goes on from its begin
        behind = None
    return Chosen(ids, cursors, more, behind)


class Result(msgspec.Struct, frozen=True):
    """What became of one of them; `error` says why nothing did."""

    id: str
    ok: bool
    error: str | None
    came_to: Any = None


Act = Callable[[Sequence[str]], Sequence[Any]]
"""Does it to a batch; returns for each id what it has come to, or its HeadraceError."""


def carry_out(
    chosen: Chosen,
    act: Act,
    *,
    rate: float | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Result]:
    """Do it to all that is chosen, batch by batch, and yield what became of each; end between two batches on request.

    Args:
        rate: at most so many a second; None for as fast as it goes.
        is_interrupted: is asked before each batch.
        sleep: waits for so many seconds.
    """
    size = BATCH if rate is None else max(min(BATCH, int(rate)), 1)
    for first in range(0, len(chosen.ids), size):
        if is_interrupted():
            return
        began = time.monotonic()
        batch = chosen.ids[first : first + size]
        for each, came_to in zip(batch, act(batch), strict=True):
            failed = isinstance(came_to, HeadraceError)
            yield Result(each, not failed, str(came_to) if failed else None, came_to)
        left_s = 0.0 if rate is None else len(batch) / rate - (time.monotonic() - began)
        if left_s > 0 and first + size < len(chosen.ids):
            sleep(left_s)
